# SPDX-License-Identifier: MIT
"""Module registry_image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_image
version_added: 0.1.0
short_description: Push an image to a registry that lacks it
description:
  - Pushes an image of this host's engine, which pulls it first if need be. An image that the registry holds under that
    name is left alone.
  - A registry of this host that publishes no port is reached with O(container). The module then passes connections on
    to the container, from a port of C(127.0.0.1) that is open while the module runs. Engines trust that address
    without TLS, and machines nearby do not reach a port that no container publishes.
  - The login goes into a temporary folder that is removed again. The password goes over standard input.
attributes:
  check_mode:
    support: partial
    description: Sends no request, and predicts no push.
  diff_mode:
    support: none
    description: An image has no text.
  platform:
    description: Linux with the command line of Docker.
options:
  registry:
    description: The registry, C(host[:port]). Not used with O(container).
    type: str
    default: ""
  container:
    description: Name of the container on this host that runs the registry.
    type: str
    default: ""
  container_port:
    description: Port of plain http in that container.
    type: int
    default: 5000
  insecure:
    description: The registry speaks plain http, and the engine was told so.
    type: bool
    default: false
  name:
    description: Name of the image in the registry, C(path:tag).
    type: str
    required: true
  source:
    description: Reference of the image that is pushed.
    type: str
    required: true
  zstd_name:
    description:
      - Name in the same repository, C(path:tag), of the same image with one more layer, which is compressed with zstd.
        It is written where it is missing. Empty for none.
      - Engines with the classic image store push gzip only, so the module writes this layer over the HTTP interface of
        the registry.
    type: str
    default: ""
  username:
    description: Name to log in with.
    type: str
    required: true
  password:
    description: Password to log in with.
    type: str
    required: true
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.registry_login
"""

EXAMPLES = r"""
- name: Push the image by which workers prove that they can pull
  selfhosted.trigger_dev.registry_image:
    container: trigger-registry-trigger-registry-1
    name: trigger/probe:1
    source: docker.io/library/registry:2.8.3
    zstd_name: trigger/probe:1-zstd
    username: trigger
    password: "{{ vault_registry_password }}"
"""

RETURN = r"""
registry_image:
  description: The image.
  returned: success
  type: dict
  contains:
    name:
      description: Its name in the registry.
      type: str
      returned: success
    source:
      description: What it was, or would have been, pushed from.
      type: str
      returned: success
"""

import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._container_address import container_address
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._registry import RegistryError, host_of
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._registry_api import Registry, add_zstd_layer

CHUNK_BYTES = 65536
CONNECT_SECONDS = 10
# A push of some tens of MB, on a slow disk.
PUSH_SECONDS = 600


@dataclass(frozen=True)
class Parameters:
    registry: str
    container: str
    container_port: int
    insecure: bool
    name: str
    source: str
    zstd_name: str
    username: str
    password: str


def parameters(params: Mapping[str, Any]) -> Parameters:
    given = Parameters(**params)
    if bool(given.registry) == bool(given.container):
        raise RegistryError("Set either registry or container.")
    if given.registry:
        host_of(given.registry)
    if given.zstd_name and given.zstd_name.rpartition(":")[0] != given.name.rpartition(":")[0]:
        raise RegistryError("name and zstd_name must differ in the tag only.")
    return given


class _Passing(socketserver.BaseRequestHandler):
    """Passes one connection on, both ways, until both ends have said all."""

    server: _Passage

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.target, CONNECT_SECONDS) as far:
            far.settimeout(None)
            back = threading.Thread(target=_copy, args=(far, self.request), daemon=True)
            back.start()
            _copy(self.request, far)
            back.join()


class _Passage(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def passage(host: str, port: int) -> Iterator[str]:
    """Open a port of the loopback that leads there; gives its address."""
    with _Passage((host, port)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def address_of(container: str, runner: Run) -> str:
    found, done = container_address(container, runner)
    if not found:
        why = f" ({done.error})" if done.code != 0 else ""
        raise RegistryError(
            f"The container {container} of the registry does not run on this host{why}. Deploy the registry."
        )
    return found


def bring(wanted: Parameters, registry: str, runner: Run) -> bool:
    """Push the image unless the registry holds it; says whether it was pushed."""
    target = f"{registry}/{wanted.name}"
    insecure = ["--insecure"] if wanted.insecure or wanted.container else []
    with tempfile.TemporaryDirectory(prefix="registry-image-") as folder:
        own = ["docker", "--config", folder]

        def must(docker: list[str], *words: str, stdin: str = "", timeout: float = 60) -> None:
            done = runner([*docker, *words], stdin=stdin, timeout=timeout)
            if done.code != 0:
                said = " ".join(done.error.split()).replace(wanted.password, "***")
                raise RegistryError(f"docker {words[0]}: {said[-600:]}")

        must(own, "login", "--username", wanted.username, "--password-stdin", registry, stdin=wanted.password)
        if runner([*own, "manifest", "inspect", *insecure, target]).code == 0:
            return False
        if runner(["docker", "image", "inspect", wanted.source]).code != 0:
            # With the logins of the user who runs the module.
            must(["docker"], "pull", "--quiet", wanted.source, timeout=PUSH_SECONDS)
        must(own, "tag", wanted.source, target)
        try:
            must(own, "push", "--quiet", target, timeout=PUSH_SECONDS)
        finally:
            must(own, "image", "rm", "--no-prune", target)
    return True


def add_zstd(wanted: Parameters, registry: str) -> bool:
    """Write the image with a layer in zstd unless the registry holds it; says whether it was written."""
    repository, _, tag = wanted.zstd_name.rpartition(":")
    plain = bool(wanted.insecure or wanted.container)
    api = Registry(registry, repository, wanted.username, wanted.password, plain=plain)
    if api.manifest(tag) is not None:
        return False
    add_zstd_layer(api, wanted.name.rpartition(":")[2], tag)
    return True


def both(wanted: Parameters, registry: str, runner: Run) -> bool:
    """Bring what the registry lacks of the two; says whether it lacked any."""
    pushed = bring(wanted, registry, runner)
    return bool(wanted.zstd_name and add_zstd(wanted, registry)) or pushed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "default": ""},
            "container": {"type": "str", "default": ""},
            "container_port": {"type": "int", "default": 5000},
            "insecure": {"type": "bool", "default": False},
            "name": {"type": "str", "required": True},
            "source": {"type": "str", "required": True},
            "zstd_name": {"type": "str", "default": ""},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    changed = False
    try:
        wanted = parameters(module.params)
        if module.check_mode:
            pass
        elif wanted.container:
            with passage(address_of(wanted.container, run), wanted.container_port) as registry:
                changed = both(wanted, registry, run)
        else:
            changed = both(wanted, wanted.registry, run)
    except (RegistryError, ServiceError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, registry_image={"name": wanted.name, "source": wanted.source})


if __name__ == "__main__":
    main()
