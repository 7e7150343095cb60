# SPDX-License-Identifier: MIT
"""Module host_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
version_added: 0.1.0
short_description: Measure a host, and whether it can reach what it will have to call
description:
  - Reads processors, memory, free disk space, architecture and clock of the host, and tries to connect to each of the
    given addresses. Nothing is sent to them.
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
    apparmor:
      description: Whether AppArmor is enabled in the kernel, and programs of this host can load profiles.
      type: bool
      returned: always
    disks:
      description: One entry for each of O(paths).
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

# Names of the kernel -> names of Docker.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEMORY = Path("/proc/meminfo")
ROUTES = Path("/proc/net/route")
INTERFACES = Path("/sys/class/net")
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
    relative = [path for path in params["paths"] if not path.startswith("/")]
    if relative:
        raise ValueError(f"paths must be absolute: {', '.join(relative)}")
    if params["timeout"] < 1:
        raise ValueError("timeout must be at least 1 second")
    addresses = {name: address(str(text)) for name, text in params["addresses"].items()}
    sources = {name: str(host) for name, host in params["sources"].items()}
    return Parameters(params["paths"], addresses, sources, params["timeout"], params["asked_at"])


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


def disk(path: str) -> Disk:
    existing = Path(path)
    while not existing.exists():
        existing = existing.parent
    system = os.statvfs(existing)
    return Disk(path, system.f_bavail * system.f_frsize // 2**20)


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


def measure(wanted: Parameters, network: Network, clock: Callable[[], float]) -> dict[str, Any]:
    began_at = clock()
    reached, sources = look_around(wanted, network)
    return {
        "architecture": architecture(os.uname().machine),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": memory_mib(MEMORY.read_text()),
        "disks": [asdict(disk(path)) for path in wanted.paths],
        "addresses": {name: asdict(row) for name, row in reached.items()},
        "sources": sources,
        "mtu": default_mtu(ROUTES.read_text() if ROUTES.exists() else "", INTERFACES),
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
        },
        supports_check_mode=True,
    )
    try:
        host = measure(parameters(module.params), Network(resolve, connect, route), time.time)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"Cannot measure the host: {error}")
    module.exit_json(changed=False, host=host)


if __name__ == "__main__":
    main()
