# SPDX-License-Identifier: MIT
"""Module registry_login."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_login
version_added: 0.1.0
short_description: Prove that a host can log in to a registry, and keep the login if asked to
description:
  - Resolves the name of the registry, then logs in by C(docker login), so with the engine's own trust. The login goes
    into a temporary folder that is removed again; nothing stays.
  - Says what is wrong in words that name the setting to look at.
  - With O(user) the login is kept for that user, by the user's own C(docker login). It is kept in a credential store
    if the user has one. A login that is there already is left alone.
  - The password goes over standard input, never on a command line.
attributes:
  check_mode:
    support: partial
    description: Logs in nowhere. Whether a login would be kept is predicted.
  diff_mode:
    support: none
    description: A login is a secret.
  platform:
    description: Linux with the command line of Docker.
options:
  registry:
    description: The registry as image references name it, C(host[:port]).
    type: str
    required: true
  username:
    description: Name to log in with.
    type: str
    required: true
  password:
    description: Password to log in with.
    type: str
    required: true
  user:
    description: User of the host who keeps the login. Empty means that it is not kept.
    type: str
    default: ""
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.registry_client
"""

EXAMPLES = r"""
- name: Prove that this host may pull and push
  selfhosted.trigger_dev.registry_login:
    registry: registry.example.com
    username: trigger
    password: "{{ vault_registry_password }}"

- name: Keep the login
  selfhosted.trigger_dev.registry_login:
    registry: registry.example.com
    username: ci
    password: "{{ vault_ci_password }}"
    user: gitlab-runner
"""

RETURN = r"""
registry_login:
  description: The login.
  returned: success
  type: dict
  contains:
    registry:
      description: The registry.
      type: str
      returned: success
    username:
      description: Name that was logged in with.
      type: str
      returned: success
    addresses:
      description: Addresses that the registry's name has on this host. Empty in check mode.
      type: list
      elements: str
      returned: success
    user:
      description: User of the host who keeps the login, empty if it is not kept.
      type: str
      returned: success
"""

import base64
import binascii
import json
import pwd
import re
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._registry import RegistryError, host_of

Resolve = Callable[[str], Sequence[str]]

# What the engine says -> what it means, with {registry}, {username} and {addresses} filled in. The first fit counts.
MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"no such program",
        "Docker's command line is missing on this host. Install Docker.",
    ),
    (
        r"Docker daemon|permission denied",
        "The Docker Engine of this host cannot be used by the user who logs in. Is it running, and is the user in the "
        "group docker?",
    ),
    (
        r"unknown authority|certificate signed by",
        "This host does not know the CA of {registry}'s certificate. If it is a private one, set gateway_tls or "
        "gateway_ca_file (for an external registry registry_client_ca_file).",
    ),
    (
        r"certificate is (?:not )?valid|any IP SANs|has expired|not yet valid|remote error: tls",
        "What answers at {registry} shows no certificate that is valid for it. Check trigger_registry_host, the "
        "certificate, and the clock of this host.",
    ),
    (
        r"HTTP response to HTTPS client",
        "{registry} speaks plain http, and this host's engine expects https. Set trigger_registry_insecure_enabled to "
        "true, or give the registry a certificate.",
    ),
    (
        r"no such host|name resolution|server misbehaving",
        "The engine does not resolve the name of {registry}. Have it in the DNS, or set registry_client_address.",
    ),
    (
        r"connection refused|no route to host|network is unreachable",
        "Nothing listens at {registry} ({addresses}). Check trigger_registry_host, trigger_registry_port and "
        "registry_client_address, and that the registry is deployed.",
    ),
    (
        r"i/o timeout|deadline exceeded|Client\.Timeout|no end after",
        "{registry} ({addresses}) does not answer. Check trigger_registry_host, registry_client_address, and firewalls "
        "on the way.",
    ),
    (
        r"status: 5\d\d",
        "What answers at {registry} ({addresses}) does not reach the registry behind it. Is the registry deployed?",
    ),
    (
        r"\b401\b|unauthorized|incorrect username or password|access denied|no basic auth",
        "{registry} refuses the login of {username}. Check registry_client_username and registry_client_password (of "
        "the generated logins: trigger_registry_username and trigger_secrets.registry_password, on workers "
        "trigger_registry_pull_username and trigger_secrets.registry_pull_password), and deploy the registry after a "
        "change.",
    ),
)


@dataclass(frozen=True)
class Parameters:
    registry: str
    host: str
    username: str
    password: str
    user: str


@dataclass(frozen=True)
class Account:
    name: str
    home: Path

    @property
    def folder(self) -> Path:
        return self.home / ".docker"

    def command(self, *words: str) -> list[str]:
        """Give the command as this user runs it."""
        return ["runuser", "-u", self.name, "--", "env", f"HOME={self.home}", *words]


def parameters(params: Mapping[str, Any]) -> Parameters:
    given = Parameters(
        params["registry"], host_of(params["registry"]), params["username"], params["password"], params["user"]
    )
    if not given.username or not given.password:
        raise RegistryError(
            "A login needs a name and a password. Set registry_client_username and registry_client_password."
        )
    return given


def account(name: str) -> Account:
    try:
        return Account(name, Path(pwd.getpwnam(name).pw_dir))
    except KeyError:
        raise RegistryError(f"There is no user {name} on this host. Check registry_client_user.") from None


def resolve(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def addresses(wanted: Parameters, resolver: Resolve) -> Sequence[str]:
    try:
        return resolver(wanted.host)
    except (OSError, UnicodeError) as error:
        raise RegistryError(
            f"{wanted.host}, the host of the registry, has no address here "
            f"({getattr(error, 'strerror', None) or error}). Have it in the DNS, or set registry_client_address to the "
            "IPv4 address of the registry's host."
        ) from error


def meaning(text: str, wanted: Parameters, found: Sequence[str]) -> str:
    """Put what the engine said into words that name a setting; its own words follow."""
    said = " ".join(text.split()).replace(wanted.password, "***")
    for pattern, words in MEANINGS:
        if re.search(pattern, text, re.IGNORECASE):
            told = words.format(registry=wanted.registry, username=wanted.username, addresses=", ".join(found))
            return f"{told} Docker says: {said[-600:]}"
    return f"The login to {wanted.registry} failed. Docker says: {said[-600:]}"


def login(wanted: Parameters, folder: str) -> list[str]:
    words = ["login", "--username", wanted.username, "--password-stdin", wanted.registry]
    return ["docker", "--config", folder, *words]


def verify_login(runner: Run, wanted: Parameters, found: Sequence[str]) -> None:
    """Log in without leaving anything behind."""
    with tempfile.TemporaryDirectory(prefix="registry-login-") as folder:
        done = runner(login(wanted, folder), stdin=wanted.password)
    if done.code != 0:
        raise RegistryError(meaning(done.error, wanted, found))


def is_stored(runner: Run, wanted: Parameters, owner: Account) -> bool:
    """Say whether this very login is the user's already."""
    try:
        config = json.loads((owner.folder / "config.json").read_text(encoding="utf-8"))
        store = config.get("credHelpers", {}).get(wanted.registry) or config.get("credsStore")
        if store:
            done = runner(owner.command(f"docker-credential-{store}", "get"), stdin=wanted.registry)
            entry = json.loads(done.stdout) if done.code == 0 else {}
            return (entry.get("Username"), entry.get("Secret")) == (wanted.username, wanted.password)
        encoded = config.get("auths", {}).get(wanted.registry, {}).get("auth", "")
        return base64.b64decode(encoded).decode() == f"{wanted.username}:{wanted.password}"
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError, binascii.Error):  # nothing that could be a login
        return False


def store_login(runner: Run, wanted: Parameters, owner: Account) -> None:
    done = runner(owner.command(*login(wanted, str(owner.folder))), stdin=wanted.password)
    if done.code != 0:
        raise RegistryError(f"{owner.name} cannot keep the login. {meaning(done.error, wanted, [])}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "user": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    found: Sequence[str] = []
    changed = False
    try:
        wanted = parameters(module.params)
        owner = account(wanted.user) if wanted.user else None
        if not module.check_mode:
            found = addresses(wanted, resolve)
            verify_login(run, wanted, found)
        if owner is not None and not is_stored(run, wanted, owner):
            changed = True
            if not module.check_mode:
                store_login(run, wanted, owner)
    except RegistryError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(
        changed=changed,
        registry_login={
            "registry": wanted.registry,
            "username": wanted.username,
            "addresses": list(found),
            "user": wanted.user,
        },
    )


if __name__ == "__main__":
    main()
