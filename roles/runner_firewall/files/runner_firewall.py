# SPDX-License-Identifier: MIT
"""Keeps task containers of a worker host from the host itself, from its neighbours and from the cloud's metadata.

Task code is other people's code, and Docker's bridges let it reach whatever the host reaches. The rules stand in a
chain of their own, which packets from the runner networks go through first; whatever it does not refuse goes on to the
operator's rules as before. Pulls of images do not come this way.

`apply` resolves the names in the settings, writes the rules and loads them; `load` loads what was written, at boot and
once a minute, for others may have thrown the rules away; `check` fails where rules are not in force, also because a
network has another bridge than they are for; `remove` takes them out of the kernel. Each prints one JSON object that
says what was done, or with --dry-run what there is to do; `apply` and `check` also name what must be found closed.

Since the last boot the rules were loaded once where the file --proof exists. The supervisor's container mounts it, so
without it the engine cannot start that container.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:  # these need a newer Python than a host may have
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    Resolve = Callable[[str], Iterable[Address]]

CHAIN = "TRIGGER-RUNNER"
# As the role names them: what comes behind the r is a hash of the supervisor's name.
OUR_BRIDGE = re.compile(r"trigger-runner|trigger-r[0-9a-f]{6}")
PROOF = Path("/run/trigger-runner-firewall")
# The engine leaves DOCKER-USER to us and calls it first, also after its restart. FORWARD is for engines whose own rules
# are no longer iptables' (29 and later can do that).
HOOKS = ("INPUT", "FORWARD", "DOCKER-USER")
LOCK_SECONDS = "10"
COMMAND_SECONDS = 60

# What the engine asks for names: its own setting, else the host's, of which systemd-resolved keeps the true ones apart.
ENGINE_SETTINGS = Path("/etc/docker/daemon.json")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
# Bridges of an engine and their ends: what addresses a host has there changes with its containers.
ENGINE_LINKS = re.compile(r"docker\d+|br-[0-9a-f]{12}|trigger-.*|veth.*")

# What is not the internet (RFC 6890): private and shared ranges, link-local ones (the metadata of clouds), multicast.
CLOSED: Mapping[int, Sequence[str]] = {
    4: (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host beneath a machine at Azure, which hands out its settings
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ),
    # With the ranges that carry an IPv4 address to wherever a translator sends it.
    6: ("::/127", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
}

# Whether packets within bridges go through the filter; each bridge has switches of its own, too.
FOR_ALL_BRIDGES = Path("/proc/sys/net/bridge")

ENDPOINT = re.compile(r"(?:\[(?P<bracketed>[0-9A-Fa-f:./]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")


class FirewallError(Exception):
    """What is wrong, in words for the operator."""


@dataclass(frozen=True)
class Endpoint:
    """A host, a network or a name, with or without a port."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read ADDRESS, NETWORK or NAME, each with an optional :PORT (IPv6 then in brackets), or a URL."""
        if text.startswith(("http://", "https://")):
            parts = urlsplit(text)
            return cls(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        try:
            return cls(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            pass
        found = ENDPOINT.fullmatch(text)
        port = int(found["port"]) if found and found["port"] else None
        if not found or (port is not None and not 0 < port < 65536):
            raise FirewallError(f"{text} is no address, network or name with or without :port")
        return cls(found["bracketed"] or found["plain"], port)


@dataclass(frozen=True)
class Destination:
    """Where packets go, as a rule says it."""

    network: Network
    port: int | None

    def covers(self, other: Destination) -> bool:
        """Tell whether all packets to the other one go to this one, too."""
        return (
            self.network.version == other.network.version
            and other.network.subnet_of(self.network)  # type: ignore[arg-type]
            and self.port in (None, other.port)
        )

    def conditions(self) -> Iterable[str]:
        """Give the conditions of the rules that match it.

        They name the address that the sender wrote: on a host that is control and worker at once the engine may have
        replaced it already by that of a container.
        """
        to = f"-m conntrack --ctorigdst {self.network}"
        if self.port is None:
            return [to]
        return [f"-p {protocol} {to} --ctorigdstport {self.port}" for protocol in ("tcp", "udp")]


def resolve(name: str) -> list[Address]:
    """Ask the host's resolver."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FirewallError(f"{name} cannot be resolved on this host: {error}") from None
    # Servers of names turn their answers around; rules must not change with that.
    return sorted(
        {ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found}, key=lambda a: (a.version, a)
    )


def own_addresses() -> list[Address]:
    """List the lasting addresses of this host that others know it by."""
    shown = run("ip", "-json", "address", "show")
    found = [
        ipaddress.ip_address(item["local"])
        for link in json.loads(shown)
        if not ENGINE_LINKS.fullmatch(link["ifname"])
        for item in link.get("addr_info", [])
        if not item.get("temporary")
    ]
    return [address for address in found if not (address.is_loopback or address.is_link_local)]


def name_servers(settings: Path = ENGINE_SETTINGS, resolvers: Sequence[Path] = RESOLVERS) -> list[Address]:
    """List who is asked for names from inside a container's network: the engine asks those of the loopback itself.

    Whatever cannot be read there is left out: rules without it are better than none.
    """
    texts = resolvers_of_the_engine(settings)
    if not texts:
        files = [path.read_text(errors="replace") for path in resolvers if path.exists()]
        texts = [word for text in files for word in re.findall(r"^nameserver[ \t]+([^\s%]+)", text, re.MULTILINE)]
    found: dict[Address, None] = {}
    for text in texts:
        try:
            found[ipaddress.ip_address(text)] = None
        except ValueError:
            warn(f"{text} is no address of a name server")
    return [address for address in found if not address.is_loopback]


def resolvers_of_the_engine(settings: Path) -> list[str]:
    """Give those that stand in the engine's own settings."""
    try:
        return [str(text) for text in json.loads(settings.read_text())["dns"]]
    except (FileNotFoundError, KeyError):
        return []
    except (OSError, TypeError, ValueError) as error:
        warn(f"{settings}: {error}")
        return []


def warn(text: str, level: int = 4) -> None:
    """Say what is wrong; systemd takes a number in front for its level, and keeps nothing below that of its unit."""
    print(f"{f'<{level}>' if 'JOURNAL_STREAM' in os.environ else ''}{text}", file=sys.stderr)


def destinations(texts: Iterable[str], resolver: Resolve, own: Callable[[], Iterable[Address]]) -> list[Destination]:
    """Give the places that entries of the settings stand for, each once."""
    found: dict[Destination, None] = {}
    for endpoint in map(Endpoint.parse, texts):
        try:
            networks: list[Network] = [ipaddress.ip_network(endpoint.host, strict=False)]
        except ValueError:
            addresses = list(resolver(endpoint.host))
            # Distributions give a host's own name an address of the loopback; containers are told another one.
            if any(address.is_loopback for address in addresses):
                addresses = [*(address for address in addresses if not address.is_loopback), *own()]
            networks = [ipaddress.ip_network(address) for address in addresses]
        found.update(dict.fromkeys(Destination(network, endpoint.port) for network in networks))
    return list(found)


@dataclass(frozen=True)
class Settings:
    """What the operator and the installation want."""

    # Runner networks: name of the bridge -> port of the supervisor on it.
    bridges: Mapping[str, int]
    # What every run needs, and what is refused although it may be on the internet, unless it is one of these.
    origins: Sequence[str]
    registry: Sequence[str]
    allow: Sequence[str]
    deny: Sequence[str]
    # Whether everything else is open that no private range holds.
    internet: bool

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read the file that the role has written."""
        return cls(**json.loads(path.read_text()))


def rules(
    settings: Settings, family: int, resolver: Resolve = resolve, own: Callable[[], Iterable[Address]] = own_addresses
) -> list[str]:
    """Write the chain. RETURN leaves a packet to the rules of engine and operator."""

    def to(texts: Iterable[str]) -> list[Destination]:
        return [place for place in destinations(texts, resolver, own) if place.network.version == family]

    origins, denied = to(settings.origins), to(settings.deny)
    for closed_one in denied:
        for needed in origins:
            if closed_one.covers(needed):
                raise FirewallError(
                    f"runner_firewall_deny closes {needed.network} (port {needed.port}), which every run needs"
                )
    refuse = "REJECT --reject-with " + ("icmp-port-unreachable" if family == 4 else "icmp6-port-unreachable")
    lines = ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]
    if family == 6:
        # Neighbours find each other by these.
        lines += [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in (133, 134, 135, 136)]
    # A packet of no connection (a TCP segment without flags) has no original destination for the rules below to match.
    lines += ["-m conntrack --ctstate INVALID,UNTRACKED -j DROP"]
    for bridge, port in settings.bridges.items():
        # Of those on its own network a container reaches the supervisor; other containers there are other runs.
        lines += [
            f"-i {bridge} -o {bridge} -p tcp -m tcp --dport {port} -j RETURN",
            f"-o {bridge} -j {refuse}",
        ]
    lines += [f"{condition} -j {refuse}" for place in denied for condition in place.conditions()]
    lines += [f"{condition} -j RETURN" for place in [*origins, *to(settings.allow)] for condition in place.conditions()]
    # Behind a gateway the registry has the address and port of the webapp, and only its password keeps runs out.
    lines += [f"{condition} -j {refuse}" for place in to(settings.registry) for condition in place.conditions()]
    lines += [f"-m addrtype --dst-type LOCAL -j {refuse}"]
    lines += [f"-d {network} -j {refuse}" for network in CLOSED[family]] if settings.internet else [f"-j {refuse}"]
    return lines


def read_rules(path: Path) -> Mapping[str, Any]:
    """Read the file of rules that an earlier run has written."""
    text = path.read_text(errors="replace")
    try:
        written = json.loads(text)
        _, _ = dict(written["bridges"]), {family: list(lines) for family, lines in written["rules"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise FirewallError(
            f"{path} is damaged; the next run of the playbook site (or workers) writes it again"
        ) from None
    found: Mapping[str, Any] = written
    return found


def replace_file(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file as a whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)


def run(*command: str, text: str = "") -> str:
    """Run a command that has to succeed."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirewallError(f"{' '.join(command)}: {error}") from None
    if done.returncode != 0:
        raise FirewallError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Record:
    """What the kernel made of the rules: the tool writes them in a form of its own, by which others' hands are seen."""

    path: Path

    def read(self) -> dict[str, str]:
        """Give the sum of each tool's rules. Where there is none, rules are loaded anew."""
        try:
            found: dict[str, str] = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    @staticmethod
    def digest(lines: Sequence[str], listed: Sequence[str]) -> str:
        """Sum up rules as they were written and as they are listed."""
        return hashlib.sha256(json.dumps([lines, listed]).encode()).hexdigest()

    def holds(self, tool: str, lines: Sequence[str], listed: Sequence[str]) -> bool:
        """Tell whether the kernel has these rules, and they are as they were."""
        return self.read().get(tool) == self.digest(lines, listed)

    def keep(self, tool: str, lines: Sequence[str], listed: Sequence[str]) -> None:
        """Keep in mind how the kernel lists these rules."""
        replace_file(self.path, self.read() | {tool: self.digest(lines, listed)})


@dataclass(frozen=True)
class Table:
    """The filter table of one family, through the tool that the engine uses, too."""

    family: int

    @property
    def tool(self) -> str:
        """Name of the command."""
        return "iptables" if self.family == 4 else "ip6tables"

    @property
    def exists(self) -> bool:
        """Tell whether the kernel speaks this family."""
        return self.family == 4 or os.path.exists("/proc/net/if_inet6")

    def command(self, *options: str) -> str:
        """Run the tool."""
        return run(self.tool, "--wait", LOCK_SECONDS, *options)

    def listed(self) -> list[str]:
        """List what is in the kernel."""
        return self.command("--list-rules").splitlines()

    def jumps(self, listed: Iterable[str]) -> list[str]:
        """Give the rules that call our chain."""
        return [line for line in listed if re.fullmatch(rf"-A \S+ -i \S+ -j {CHAIN}", line)]

    def load(self, lines: Sequence[str], bridges: Iterable[str], record: Record, *, dry_run: bool) -> list[str]:
        """Bring the chain about and have it called; say what was missing."""
        listed = self.listed()
        own = [line for line in listed if line.startswith(f"-A {CHAIN} ")]
        todo, commands = [], []
        if not record.holds(self.tool, lines, own):
            todo.append(f"{self.tool}: {CHAIN} has {len(own)} rules of {len(lines)}, or others")
            commands += [f":{CHAIN} - [0:0]", *(f"-A {CHAIN} {line}" for line in lines)]
        # Before its first start the engine has not made its chain yet; it takes ours.
        if bridges and "-N DOCKER-USER" not in listed:
            commands.append("-N DOCKER-USER")
        for hook in HOOKS:
            calls = self.calls_from(hook, [line for line in listed if line.startswith(f"-A {hook} ")], bridges)
            if calls:
                todo.append(f"{self.tool}: {hook} does not begin with {CHAIN}")
                commands += calls
        if commands and not dry_run:
            # All of it or nothing, without a moment in between; without --noflush all other rules would be thrown away.
            text = "\n".join(["*filter", *commands, "COMMIT"])
            run(f"{self.tool}-restore", "--wait", LOCK_SECONDS, "--noflush", text=text + "\n")
            record.keep(self.tool, lines, [line for line in self.listed() if line.startswith(f"-A {CHAIN} ")])
        return todo

    def calls_from(self, hook: str, present: Sequence[str], bridges: Iterable[str]) -> list[str]:
        """Have the chain called before any other rule of a hook: one that accepts would keep packets from it."""
        wanted = [f"-A {hook} -i {bridge} -j {CHAIN}" for bridge in sorted(bridges)]
        # On top of FORWARD the engine puts the rules of each network that it makes, and DOCKER-USER before these.
        before_all = hook == "FORWARD" and present[:1] == ["-A FORWARD -j DOCKER-USER"]
        ours = self.jumps(present)
        first = ours if before_all else present[: len(wanted)]
        if sorted(first) == wanted and len(ours) == len(wanted):
            return []
        # By what they say: the number of a rule may be another one's when somebody else changes rules, too.
        return [*(line.replace("-A", "-D", 1) for line in ours), *(line.replace("-A", "-I", 1) for line in wanted)]

    def remove(self, *, dry_run: bool) -> list[str]:
        """Take the chain away, and nothing else."""
        listed = self.listed()
        if f"-N {CHAIN}" not in listed:
            return []
        if not dry_run:
            for line in self.jumps(listed):
                self.command("--delete", *line.split()[1:])
            self.command("--flush", CHAIN)
            self.command("--delete-chain", CHAIN)
            # That one was made here if no engine calls it and no operator has put anything in.
            if [line for line in self.listed() if "DOCKER-USER" in line.split()] == ["-N DOCKER-USER"]:
                self.command("--delete-chain", "DOCKER-USER")
        return [f"{self.tool}: {CHAIN} goes"]


def tables() -> list[Table]:
    """Give the filter tables of this host."""
    return [table for table in map(Table, (4, 6)) if table.exists]


def bridges_of_the_host() -> dict[str, Mapping[str, Any]]:
    """List the bridges that there are, with their settings."""
    links = json.loads(run("ip", "-json", "-details", "link", "show", "type", "bridge"))
    return {link["ifname"]: link["linkinfo"]["info_data"] for link in links if link}


def filter_bridged(bridges: Iterable[str], *, dry_run: bool) -> list[str]:
    """Have packets from one container to another go through the rules, which newer engines no longer see to."""
    todo = []
    if not FOR_ALL_BRIDGES.exists():
        todo.append("the module br_netfilter is not loaded")
        if not dry_run:
            run("modprobe", "br_netfilter")
            # It begins with all bridges, also those of others' machines and containers; ours are asked for below.
            for switch in FOR_ALL_BRIDGES.glob("bridge-nf-call-*tables"):
                switch.write_text("0")
    there = bridges_of_the_host()
    wanted = [
        (bridge, switch)
        for switch in ("nf_call_iptables", "nf_call_ip6tables")
        if not is_on(FOR_ALL_BRIDGES / f"bridge-{switch.replace('_', '-')}")
        for bridge in bridges
        if not there.get(bridge, {}).get(switch, 1)
    ]
    for bridge, switch in wanted:
        todo.append(f"packets within {bridge} do not go through the rules ({switch})")
        if not dry_run:
            run("ip", "link", "set", bridge, "type", "bridge", switch, "1")
    return todo


def is_on(switch: Path) -> bool:
    """Tell whether the kernel has something switched on."""
    return switch.exists() and switch.read_text().strip() != "0"


def with_name_servers(lines: Sequence[str], family: int) -> list[str]:
    """Let names be asked for, wherever the host asks for them today."""
    asked = [Destination(ipaddress.ip_network(address), 53) for address in name_servers() if address.version == family]
    return [lines[0], *(f"{condition} -j RETURN" for place in asked for condition in place.conditions()), *lines[1:]]


def load(written: Mapping[str, Any], path: Path, proof: Path, *, dry_run: bool) -> list[str]:
    """Load rules that were written to a file.

    The tables come first: what the kernel cannot do for packets within bridges must keep no rule away.
    """
    record = Record(path.with_name("loaded.json"))
    todo = [
        line
        for table in tables()
        for line in table.load(
            with_name_servers(written["rules"][str(table.family)], table.family),
            written["bridges"],
            record,
            dry_run=dry_run,
        )
    ]
    if not proof.exists():
        todo.append(f"{proof} is missing")
        if not dry_run:
            proof.touch()
    try:
        todo += filter_bridged(written["bridges"], dry_run=dry_run)
    except (FirewallError, OSError) as error:
        raise FirewallError(
            "the rules are loaded, but task containers of this host reach each other, for packets within a bridge do "
            f"not go through the rules: {error}"
        ) from None
    return todo


def closed(
    settings: Settings, resolver: Resolve = resolve, own: Callable[[], Iterable[Address]] = own_addresses
) -> list[str]:
    """Name the doors of the registry that are closed. It listens, so whoever finds them shut knows that rules hold."""
    opened = destinations([*settings.origins, *settings.allow], resolver, own)
    return [
        f"{place.network.network_address}:{place.port}"
        for place in destinations(settings.registry, resolver, own)
        if place.network.version == 4 and place.port and not any(other.covers(place) for other in opened)
    ]


def apply(settings: Settings, path: Path, proof: Path, *, dry_run: bool) -> list[str]:
    """Resolve names, write the rules where the boot finds them, load them."""
    there = bridges_of_the_host()
    try:
        before = read_rules(path)
    except FileNotFoundError:
        before = {"bridges": {}}
    except FirewallError:
        # Written anew; a network that it named can still be known by the name of its bridge.
        ports = list(settings.bridges.values())
        before = {"bridges": {name: port for name in there if OUR_BRIDGE.fullmatch(name) for port in ports[:1]}}
    # A network that nobody names any more may still hold task containers; its rules go when it goes.
    staying = {name: port for name, port in before["bridges"].items() if name in there}
    # In one order, whichever networks there are: another order would be other rules.
    settings = replace(settings, bridges=dict(sorted({**staying, **settings.bridges}.items())))
    written = {"bridges": settings.bridges, "rules": {str(family): rules(settings, family) for family in CLOSED}}
    todo = []
    if written != before:
        todo.append(f"{path} is another")
        if not dry_run:
            replace_file(path, written)
    return todo + load(written, path, proof, dry_run=dry_run)


def check(settings: Settings, path: Path, proof: Path, bridges: Iterable[str]) -> None:
    """See that the rules are in force, and that these bridges are there."""
    wrong = apply(settings, path, proof, dry_run=True)
    there = bridges_of_the_host()
    # The engine keeps a network's bridge when only its name in the settings changes.
    wrong += [
        f"there is no bridge {bridge}: its network was made by something else, remove it"
        for bridge in bridges
        if bridge not in there
    ]
    if wrong:
        raise FirewallError("; ".join(wrong))


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("apply", "check", "load", "remove"))
    parser.add_argument("--settings", type=Path, default=Path(__file__).with_name("settings.json"))
    parser.add_argument("--rules", type=Path, default=Path(__file__).with_name("rules.json"))
    parser.add_argument("--proof", type=Path, default=PROOF)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--bridge", action="append", help="of check: it must be there (all of the settings)")
    wanted = parser.parse_args(arguments)
    os.umask(0o077)
    said: dict[str, Any] = {}
    todo: list[str] = []
    try:
        with Path(__file__).open() as program:
            # The timer may come while the playbook is at it.
            fcntl.flock(program, fcntl.LOCK_EX)
            if wanted.action in ("apply", "check"):
                settings = Settings.read(wanted.settings)
                if wanted.action == "check":
                    check(settings, wanted.rules, wanted.proof, wanted.bridge or settings.bridges)
                else:
                    todo = apply(settings, wanted.rules, wanted.proof, dry_run=wanted.dry_run)
                said = {"closed": closed(settings)}
            elif wanted.action == "load":
                todo = load(read_rules(wanted.rules), wanted.rules, wanted.proof, dry_run=wanted.dry_run)
            else:
                todo = [line for table in tables() for line in table.remove(dry_run=wanted.dry_run)]
                if not wanted.dry_run:
                    wanted.proof.unlink(missing_ok=True)
    except (FirewallError, OSError, ValueError) as error:
        warn(str(error), level=3)
        return 1
    print(json.dumps({"changed": bool(todo), "done": todo} | said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
