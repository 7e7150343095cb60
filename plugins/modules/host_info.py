# SPDX-License-Identifier: MIT
"""Module host_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
version_added: 0.1.0
short_description: Look at a host, and whether it can reach what it will have to call
description:
  - Reads processors, memory, free disk space, architecture, clock and listening ports of the host, and tries to connect
    to each of the given addresses. Nothing is sent to them.
  - Tells what of the given files is there, and what Docker Engine has, see O(engine).
  - One task for all of it, because each task on each host costs about a second.
  - Needs nothing but Python on the host, in particular no Docker Engine. It judges nothing; the filter
    P(selfhosted.trigger_dev.host_problems#filter) does.
options:
  paths:
    description:
      - Absolute paths whose file systems are looked at.
      - Where a path does not exist yet, its nearest existing parent counts.
    type: list
    elements: path
    default: []
  addresses:
    description:
      - Addresses to connect to, by any name. Each is C(http://host[:port]), C(https://host[:port]) or C(host[:port]).
      - Without a port, V(80) is tried for C(http) and V(443) for everything else.
    type: dict
    default: {}
  sources:
    description:
      - Hosts (names or IP addresses), by any name, for which to tell the address from which this host would call them.
      - It is what the host's routing table says, and no packet is sent. Where addresses are translated on the way,
        the other side sees another one.
      - Of a host with several addresses the first IPv4 address that has a route counts, then the first other one.
    type: dict
    default: {}
  timeout:
    description:
      - Seconds that a connection may take. All are tried at once. A resolver gets twice as long,
        because it asks its second server only after a while.
    type: int
    default: 3
  asked_at:
    description:
      - Unix time of the controller when it asks, in seconds.
      - Given back in RV(host.clock), so that the clocks can be compared.
      - Unset means that the host's own time is given back.
    type: float
  engine:
    description:
      - Ask Docker Engine for its state, its published ports and its networks. Nothing is told where there is no
        C(docker).
      - The folders in which it keeps images are looked at like those of O(paths).
    type: bool
    default: false
  images:
    description: References of images of which to tell those that the engine lacks.
    type: list
    elements: str
    default: []
  globs:
    description: Absolute paths with wildcards, of which to tell the files and folders that are there.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Measure this host
  selfhosted.trigger_dev.host_info:
    paths: [/opt/trigger, /var/lib/docker]
    addresses:
      trigger_api_origin: https://trigger.example.com
      trigger_registry_host: registry.example.com:5000
    sources:
      control: control.example.com
    asked_at: "{{ now().timestamp() }}"
    engine: true
    globs: [/opt/trigger/*/compose.yml]
  register: measured
"""

RETURN = r"""
host:
  description: What was measured.
  returned: success
  type: dict
  contains:
    architecture:
      description: Architecture as Docker names it.
      type: str
      returned: always
      sample: amd64
    cpus:
      description: Number of processors that programs may use.
      type: int
      returned: always
    memory_mib:
      description: Memory in MiB, without what the kernel keeps for itself.
      type: int
      returned: always
    mtu:
      description: Largest packet of the interface that the default route of IPv4 leads through; 0 without such a route.
      type: int
      returned: always
      sample: 1500
    machine:
      description:
        - Text that two hosts have in common only if they are the same machine, until its next start.
        - Clones of a machine have different ones. Empty where the kernel does not tell.
      type: str
      returned: always
      sample: 3c1f5a4e-8d0f-4c8e-9a53-0d1d8a1f5a77 net:[4026531840] pid:[4026531836]
    apparmor:
      description: Whether AppArmor is enabled in the kernel, and programs of this host can load profiles.
      type: bool
      returned: always
    disks:
      description: One entry for each of O(paths), and with O(engine) for its folders.
      type: list
      elements: dict
      returned: always
      contains:
        path:
          description: The path as given.
          type: str
          returned: always
        free_mib:
          description: Space in MiB that programs may still use there.
          type: int
          returned: always
    addresses:
      description: One entry for each of O(addresses), by its name.
      type: dict
      returned: always
      contains:
        host:
          description: Name or IP address.
          type: str
          returned: always
        port:
          description: Port that was tried.
          type: int
          returned: always
        state:
          description:
            - V(connected) and V(refused) come from the other host.
            - V(timeout) means that nothing came back. V(unreachable) means that there is no way to it or that it is
              forbidden. V(unresolved) means that the name has no address here.
          type: str
          returned: always
          choices: [connected, refused, timeout, unreachable, unresolved]
        reason:
          description: What the system said. Empty when connected.
          type: str
          returned: always
    sources:
      description:
        - IP address of this host towards each of O(sources), by its name. Empty when that host has no address here,
          or there is no route to any.
      type: dict
      returned: always
      sample: {control: 192.0.2.17}
    listening:
      description: TCP ports that programs of this host listen on, on any address.
      type: list
      elements: int
      returned: always
      sample: [22, 8030]
    own_addresses:
      description: IPv4 addresses of the host, on which it can listen. Empty where the kernel does not tell them.
      type: list
      elements: str
      returned: always
      sample: [127.0.0.1, 192.0.2.17]
    found:
      description: Paths that match one of O(globs).
      type: list
      elements: str
      returned: always
    engine:
      description: What C(docker info) says. Empty without O(engine), and where there is no C(docker).
      type: dict
      returned: always
    missing_images:
      description: Those of O(images) that the engine does not have. Empty where no engine answers.
      type: list
      elements: str
      returned: always
    published:
      description: Ports of this host that running containers publish.
      type: list
      elements: dict
      returned: always
      contains:
        port:
          description: The port.
          type: int
          returned: always
        project:
          description: Compose project of the container. Empty for one that Compose has not made.
          type: str
          returned: always
    networks:
      description: Networks that a role of this collection has made, by the label C(dev.trigger.ansible/role).
      type: dict
      returned: always
      sample: {trigger-runner: supervisor}
    clock:
      description: Unix times in seconds.
      type: dict
      returned: always
      contains:
        asked_at:
          description: O(asked_at), or the same as RV(host.clock.began_at).
          type: float
          returned: always
        began_at:
          description: Time of the host when the module began.
          type: float
          returned: always
        ended_at:
          description: Time of the host when the module ended.
          type: float
          returned: always
"""

import glob
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _python  # noqa: F401 (first of all)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._apparmor import ENABLED, PROFILES, kernel_has_it
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import NO_PROGRAM, Run, run

# Names of the kernel -> names of Docker.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEMORY = Path("/proc/meminfo")
ROUTES = Path("/proc/net/route")
INTERFACES = Path("/sys/class/net")
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
TREE = Path("/proc/net/fib_trie")
# A leaf of that file, and what the kernel says below it of an address of its own.
OWN = re.compile(r"[|]-- ([0-9.]+)\n(?:\s+/[0-9]+ .*\n)*?\s+/32 host LOCAL$", re.MULTILINE)
LISTENS = "0A"  # state of a socket, as these files have it
# From engine 29 on images are usually in the store of containerd.
CONTAINERD = "/var/lib/containerd"
NOTHING: Mapping[str, Any] = {"engine": {}, "missing_images": [], "published": [], "networks": {}}
PROJECT, ROLE = "com.docker.compose.project", "dev.trigger.ansible/role"
BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACES = Path("/proc/self/ns")
RESOLVER_FACTOR = 2
# Port of the discard service; a route has no port, but the call wants one.
ANY_PORT = 9
# The best comes first: of several IP addresses one that answers is enough.
STATES = ("connected", "refused", "timeout", "unreachable", "unresolved")


@dataclass(frozen=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True)
class Parameters:
    paths: Sequence[str]
    addresses: Mapping[str, Address]
    sources: Mapping[str, str]
    timeout: int
    asked_at: float | None
    engine: bool = False
    images: Sequence[str] = ()
    globs: Sequence[str] = ()


@dataclass(frozen=True)
class Disk:
    path: str
    free_mib: int


@dataclass(frozen=True)
class Reach:
    host: str
    port: int
    state: str
    reason: str


# Host and port -> IP addresses; IP address, port and seconds -> a connection that is closed at once; IP address of
# another host -> address of this host towards it.
Resolve = Callable[[Address], Sequence[str]]
Connect = Callable[[str, int, float], None]
Route = Callable[[str], str]


@dataclass(frozen=True)
class Network:
    resolve: Resolve
    connect: Connect
    route: Route


def address(text: str) -> Address:
    """Read scheme://host[:port] or host[:port]."""
    parts = urlsplit(text if "://" in text else f"//{text}")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} has no usable port: {error}") from error
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    return Address(parts.hostname, port or (80 if parts.scheme == "http" else 443))


def parameters(params: Mapping[str, Any]) -> Parameters:
    for option in ("paths", "globs"):
        relative = [path for path in params[option] if not path.startswith("/")]
        if relative:
            raise ValueError(f"{option} must be absolute: {', '.join(relative)}")
    if params["timeout"] < 1:
        raise ValueError("timeout must be at least 1 second")
    addresses = {name: address(str(text)) for name, text in params["addresses"].items()}
    sources = {name: str(host) for name, host in params["sources"].items()}
    same = {name: params[name] for name in ("paths", "timeout", "asked_at", "engine", "images", "globs")}
    return Parameters(addresses=addresses, sources=sources, **same)


def architecture(machine: str) -> str:
    return ARCHITECTURES.get(machine, machine)


def memory_mib(meminfo: str) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB$", meminfo, re.MULTILINE)
    if not found:
        raise ValueError(f"{MEMORY} does not tell the memory")
    return int(found[1]) // 1024


def default_mtu(routes: str, interfaces: Path) -> int:
    """Find the MTU of the first default route in /proc/net/route: interface, destination, gateway, flags, ..., mask."""
    rows = [line.split() for line in routes.splitlines()[1:]]
    names = [row[0] for row in rows if len(row) > 7 and row[1] == "00000000" and row[7] == "00000000"]
    try:
        return int((interfaces / names[0] / "mtu").read_text()) if names else 0
    except OSError:
        return 0


def machine(boot: Path, namespaces: Path) -> str:
    """Name the running kernel and what of it is seen here.

    Not by /etc/machine-id, which clones have in common. Containers with an init of their own share a kernel, and are
    told apart by their namespaces.
    """
    try:
        return " ".join([boot.read_text().strip(), *(os.readlink(namespaces / name) for name in ("net", "pid"))])
    except OSError:
        return ""


def disk(path: str) -> Disk:
    existing = Path(path)
    while not existing.exists():
        existing = existing.parent
    system = os.statvfs(existing)
    return Disk(path, system.f_bavail * system.f_frsize // 2**20)


def listening(tables: Sequence[str]) -> list[int]:
    """Find the ports in /proc/net/tcp: number, local address:port, remote one, state, ..."""
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return sorted({int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == LISTENS})


def own_addresses(tree: str) -> list[str]:
    """Find the addresses of this host in /proc/net/fib_trie, which has each twice."""
    return list(dict.fromkeys(OWN.findall(tree)))


def published(runner: Run) -> list[dict[str, Any]]:
    """List the ports that containers are to publish: one that is being started again has none at the moment."""
    ids = runner(["docker", "ps", "--quiet"]).stdout.split()
    # One that is gone by now makes it fail, and the others are told all the same.
    rows = json.loads(runner(["docker", "container", "inspect", *ids]).stdout or "[]") if ids else []
    found = {
        (int(binding["HostPort"]), str((row["Config"]["Labels"] or {}).get(PROJECT, "")))
        for row in rows
        for bindings in (row["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings or []
        if binding["HostPort"].isdigit()
    }
    return [{"port": port, "project": project} for port, project in sorted(found)]


def networks(runner: Run) -> dict[str, str]:
    label = '{{.Name}} {{.Label "' + ROLE + '"}}'
    listed = runner(["docker", "network", "ls", "--filter", f"label={ROLE}", "--format", label]).stdout
    return {name: role for name, _, role in (line.partition(" ") for line in listed.splitlines())}


def engine(runner: Run, images: Sequence[str]) -> Mapping[str, Any]:
    """Tell what the engine has. `docker info` says something of one that does not answer, too."""
    done = runner(["docker", "info", "--format", "{{json .}}"])
    if done.code == NO_PROGRAM:
        return NOTHING
    if done.code != 0 and not done.stdout.strip():
        raise ValueError(f"docker info: {done.error}")
    info = json.loads(done.stdout)
    if done.code != 0 or not info.get("ServerVersion"):
        # Newer command lines tell on standard error alone that no engine answers, and some end with 0.
        errors = info.get("ServerErrors") or [text for text in [done.stderr.strip()] if text]
        return {**NOTHING, "engine": {**info, "ServerErrors": errors}}
    return {
        "engine": info,
        "missing_images": [one for one in images if runner(["docker", "image", "inspect", one]).code != 0],
        "published": published(runner),
        "networks": networks(runner),
    }


def resolve(target: Address) -> list[str]:
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def connect(ip: str, port: int, timeout: float) -> None:
    socket.create_connection((ip, port), timeout=timeout).close()


def route(ip: str) -> str:
    """Connect a datagram socket: that looks up the route and sends nothing."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((ip, ANY_PORT))
        return str(datagrams.getsockname()[0])


def attempt(ip: str, port: int, timeout: float, connector: Connect) -> tuple[str, str]:
    """Put what comes of one connection into one word and one reason."""
    try:
        connector(ip, port, timeout)
    except (TimeoutError, socket.timeout):  # not the same before Python 3.10
        return "timeout", f"no answer within {timeout:.0f} s"
    except OSError as error:
        state = "refused" if isinstance(error, ConnectionRefusedError) else "unreachable"
        return state, error.strerror or str(error)
    return "connected", ""


def reach(target: Address, timeout: float, network: Network, tell: Callable[[Reach], None]) -> None:
    """Tell how far it got, each time that it got further."""
    try:
        ips = network.resolve(target)
    except (OSError, UnicodeError) as error:
        tell(Reach(target.host, target.port, "unresolved", getattr(error, "strerror", None) or str(error)))
        return
    tell(Reach(target.host, target.port, "timeout", f"no answer within {timeout:.0f} s"))
    tries = [attempt(ip, target.port, timeout, network.connect) for ip in ips]
    tell(Reach(target.host, target.port, *min(tries, key=lambda one: STATES.index(one[0]))))


def source(host: str, network: Network) -> str:
    """Find the address of this host towards another one."""
    try:
        ips = network.resolve(Address(host, ANY_PORT))
    except (OSError, UnicodeError):
        return ""
    for ip in sorted(ips, key=lambda ip: ":" in ip):
        with suppress(OSError):
            return network.route(ip)
    return ""


def all_at_once(jobs: Sequence[Callable[[], None]], patience: float) -> None:
    """Do all jobs, and go on without those that are late."""
    # Nothing ends a thread that waits for a resolver: daemons do not keep the module from ending.
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def look_around(wanted: Parameters, network: Network) -> tuple[dict[str, Reach], dict[str, str]]:
    """Try all addresses and sources; a name whose resolver does not answer in time has no address."""
    patience = wanted.timeout * RESOLVER_FACTOR
    slow = f"the resolver did not answer within {patience} s"
    reached = {name: Reach(one.host, one.port, "unresolved", slow) for name, one in wanted.addresses.items()}
    sources = dict.fromkeys(wanted.sources, "")

    def look(name: str, target: Address) -> None:
        reach(target, wanted.timeout, network, lambda known: reached.update({name: known}))

    def find(name: str, host: str) -> None:
        sources[name] = source(host, network)

    jobs = [partial(look, *pair) for pair in wanted.addresses.items()]
    jobs += [partial(find, *pair) for pair in wanted.sources.items()]
    all_at_once(jobs, patience + wanted.timeout)
    return dict(reached), dict(sources)


def measure(wanted: Parameters, network: Network, clock: Callable[[], float], runner: Run) -> dict[str, Any]:
    began_at = clock()
    reached, sources = look_around(wanted, network)
    asked = engine(runner, wanted.images) if wanted.engine else NOTHING
    folders = [asked["engine"].get("DockerRootDir"), CONTAINERD] if asked["engine"] else []
    return {
        **asked,
        "listening": listening([path.read_text() for path in SOCKETS if path.exists()]),
        "own_addresses": own_addresses(TREE.read_text() if TREE.exists() else ""),
        "found": sorted({path for pattern in wanted.globs for path in glob.glob(pattern)}),
        "architecture": architecture(os.uname().machine),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": memory_mib(MEMORY.read_text()),
        "disks": [asdict(disk(path)) for path in dict.fromkeys([*wanted.paths, *filter(None, folders)])],
        "addresses": {name: asdict(row) for name, row in reached.items()},
        "sources": sources,
        "mtu": default_mtu(ROUTES.read_text() if ROUTES.exists() else "", INTERFACES),
        "machine": machine(BOOT, NAMESPACES),
        "apparmor": kernel_has_it(ENABLED, PROFILES),
        "clock": {
            "asked_at": began_at if wanted.asked_at is None else wanted.asked_at,
            "began_at": began_at,
            "ended_at": clock(),
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "addresses": {"type": "dict", "default": {}},
            "sources": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 3},
            "asked_at": {"type": "float"},
            "engine": {"type": "bool", "default": False},
            "images": {"type": "list", "elements": "str", "default": []},
            "globs": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        host = measure(parameters(module.params), Network(resolve, connect, route), time.time, run)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"Cannot measure the host: {error}")
    module.exit_json(changed=False, host=host)


if __name__ == "__main__":
    main()
