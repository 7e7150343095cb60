# SPDX-License-Identifier: MIT
"""The firewall of the runner networks: what its rules say, and what the kernel does with them."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import common
from tests.unit.roles.hosts import BRIDGE, CONTROL, HOST, INTERNET, METADATA, SUPERVISOR, TELEMETRY, UPLINK
from tests.unit.roles.programs import ROLES, load

PROGRAM = ROLES / "runner_firewall/files/runner_firewall.py"
HOSTS = Path(__file__).with_name("hosts.py")

SETTINGS: dict[str, Any] = {
    "bridges": {BRIDGE: 8020},
    "origins": [f"{CONTROL}:8030"],
    "registry": [f"{CONTROL}:5000"],
    "allow": [],
    "deny": [],
    "internet": True,
}
# What is open under these settings.
OPEN = {f"{SUPERVISOR}:8020", f"{CONTROL}:8030", f"{INTERNET}:80", f"{INTERNET}:443", f"{TELEMETRY}:443"}
EVERYTHING = OPEN | {
    *(f"{address}:{port}" for address in (HOST, UPLINK) for port in (22, 8030)),
    f"{SUPERVISOR}:9090",
    *(f"{CONTROL}:{port}" for port in (22, 5000)),
    f"{METADATA}:80",
}


def program() -> Any:
    return load("runner_firewall/files/runner_firewall.py")


class Host:
    """A worker host in network namespaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            ["unshare", "--net", sys.executable, str(HOSTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self, **what: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def run(self, *command: str) -> str:
        code, out, error = self.step(run=command)
        assert code == 0, error
        return str(out)

    def command(self, *words: str, settings: dict[str, Any] | None = None) -> list[str]:
        """Give the command that runs the program."""
        file = self.folder / "settings.json"
        file.write_text(json.dumps(SETTINGS | (settings or {})))
        paths = ["--settings", str(file), "--rules", str(self.folder / "rules.json")]
        paths += ["--proof", str(self.folder / "proof")]
        return [sys.executable, str(PROGRAM), *words, *paths]

    def firewall(self, *words: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the program on the host, where it has to succeed."""
        said: dict[str, Any] = json.loads(self.run(*self.command(*words, settings=settings)))
        return said

    def open(self) -> set[str]:
        """Give the doors that a runner finds open."""
        return set(self.step(probe=True))

    def rules(self, tool: str = "iptables") -> list[str]:
        return self.run(tool, "--list-rules").splitlines()


@pytest.fixture(scope="module")
def filters() -> None:
    """Have what a machine with an engine has: the tool, and bridges whose packets go through the filter."""
    common.require({"iptables": "iptables", "ip": "iproute2", "modprobe": "kmod"})
    if not Path("/proc/sys/net/bridge").exists():
        common.run("modprobe", "br_netfilter")


@pytest.fixture
def host(tmp_path: Path, filters: None) -> Iterator[Host]:
    found = Host(tmp_path)
    with found.process:
        yield found


def test_only_what_a_run_needs_is_open(host: Host) -> None:
    assert host.open() == EVERYTHING, "something does not listen, so its being closed proves nothing"
    assert host.firewall("apply")["changed"]
    assert host.open() == OPEN


def test_a_second_run_finds_nothing_to_do(host: Host) -> None:
    host.firewall("apply")
    before = host.rules(), host.rules("ip6tables")
    for words in (["apply"], ["apply", "--dry-run"], ["load"]):
        said = host.firewall(*words)
        assert (said["changed"], said["done"]) == (False, [])
    assert (host.rules(), host.rules("ip6tables")) == before


def test_a_dry_run_tells_and_changes_nothing(host: Host) -> None:
    before = host.rules()
    assert host.firewall("apply", "--dry-run")["changed"]
    assert host.rules() == before
    assert not (host.folder / "rules.json").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"bridges": 1}', '{"rules": {}}'])
def test_a_damaged_file_of_rules_is_named_and_written_anew(host: Host, damage: str) -> None:
    host.firewall("apply")
    file = host.folder / "rules.json"
    written = file.read_text()
    file.write_text(damage)
    code, _, error = host.step(run=host.command("load"))
    assert code == 1
    assert f"{file} is damaged; the next run of the playbook site" in error
    assert host.firewall("apply")["changed"]
    assert file.read_text() == written
    assert host.open() == OPEN


def test_the_operator_may_open_and_close_more(host: Host) -> None:
    host.firewall("apply", settings={"allow": ["10.9.0.0/24"], "deny": [f"{INTERNET}:80", TELEMETRY]})
    changed = {f"{INTERNET}:80", f"{TELEMETRY}:443"}
    # The registry is what it is also among hosts that are allowed: what is allowed comes first.
    assert host.open() == OPEN - changed | {f"{CONTROL}:22", f"{CONTROL}:5000", f"{UPLINK}:22", f"{UPLINK}:8030"}


def test_without_the_internet_what_a_run_needs_is_open(host: Host) -> None:
    host.firewall("apply", settings={"internet": False, "allow": [f"{INTERNET}:443"]})
    assert host.open() == OPEN - {f"{INTERNET}:80", f"{TELEMETRY}:443"}


def test_what_is_refused_is_refused_although_it_is_allowed(host: Host) -> None:
    host.firewall("apply", settings={"allow": ["10.9.0.0/24"], "deny": [f"{CONTROL}:22"]})
    assert f"{CONTROL}:22" not in host.open()


def test_a_registry_on_the_internet_is_closed(host: Host) -> None:
    host.firewall("apply", settings={"registry": [f"{INTERNET}:443"]})
    assert host.open() == OPEN - {f"{INTERNET}:443"}


def test_a_registry_that_must_be_found_closed_is_named(host: Host) -> None:
    assert host.firewall("apply")["closed"] == [f"{CONTROL}:5000"]
    for opened in ({"origins": [f"{CONTROL}:5000"]}, {"allow": ["10.9.0.0/16"]}, {"allow": [f"{CONTROL}:5000"]}):
        assert host.firewall("apply", "--dry-run", settings=opened)["closed"] == []


def test_a_webapp_on_the_same_host_is_reached(host: Host) -> None:
    host.firewall("apply", settings={"origins": [f"{UPLINK}:8030"]})
    assert host.open() == OPEN - {f"{CONTROL}:8030"} | {f"{UPLINK}:8030"}


@pytest.mark.parametrize("tool", ["iptables", "ip6tables"])
def test_the_operators_rules_stay(host: Host, tool: str) -> None:
    for rule in ("INPUT -p tcp --dport 9100 -j DROP", "FORWARD -i eth7 -j ACCEPT"):
        host.run(tool, "-A", *rule.split())
    host.run(tool, "-N", "DOCKER-USER")
    host.run(tool, "-A", "DOCKER-USER", "-i", "eth8", "-j", "DROP")
    before = host.rules(tool)
    host.firewall("apply")
    assert [line for line in host.rules(tool) if "TRIGGER-RUNNER" not in line] == before
    host.firewall("apply", settings={"bridges": {"trigger-r-other": 8020}})
    host.firewall("remove")
    assert host.rules(tool) == before


def test_rules_that_others_threw_away_come_back(host: Host) -> None:
    host.firewall("apply")
    wanted = host.rules()
    host.run("iptables", "-F")
    assert host.open() == EVERYTHING
    assert host.firewall("load", "--dry-run")["changed"]
    assert host.firewall("load")["changed"]
    assert sorted(host.rules()) == sorted(wanted)
    assert host.open() == OPEN


def test_a_rule_that_somebody_exchanges_is_noticed(host: Host) -> None:
    host.firewall("apply")
    wanted = host.rules()
    last = sum(line.startswith("-A TRIGGER-RUNNER ") for line in wanted)
    host.run("iptables", "-R", "TRIGGER-RUNNER", str(last), "-d", CONTROL, "-j", "RETURN")
    code, _, error = host.step(run=host.command("check"))
    assert (code, f"TRIGGER-RUNNER has {last} rules of {last}, or others" in error) == (1, True), error
    assert host.firewall("load")["changed"]
    assert host.rules() == wanted
    assert not host.firewall("load")["changed"]


def test_rules_of_others_are_not_counted_off() -> None:
    """Whoever changes rules at the same time may have moved them."""
    calls = [f"-A INPUT -i {name} -j TRIGGER-RUNNER" for name in (BRIDGE, "trigger-r-gone")]
    commands = program().Table(4).calls_from("INPUT", ["-A INPUT -j ACCEPT", *calls], [BRIDGE])
    assert commands == [
        f"-D INPUT -i {BRIDGE} -j TRIGGER-RUNNER",
        "-D INPUT -i trigger-r-gone -j TRIGGER-RUNNER",
        f"-I INPUT -i {BRIDGE} -j TRIGGER-RUNNER",
    ]


@pytest.mark.parametrize("hook", ["INPUT", "DOCKER-USER", "FORWARD"])
def test_rules_that_somebody_puts_in_front_let_nothing_pass(host: Host, hook: str) -> None:
    host.firewall("apply")
    host.run("iptables", "-I", hook, "-j", "ACCEPT")
    assert host.firewall("load", "--dry-run")["changed"]
    assert host.firewall("load")["changed"]
    assert host.open() == OPEN
    assert not host.firewall("load")["changed"]
    assert host.rules().count(f"-A {hook} -j ACCEPT") == 1
    assert sum("-j TRIGGER-RUNNER" in line for line in host.rules()) == 3


def test_the_engines_own_rules_may_be_in_front(host: Host) -> None:
    """It puts them there when it starts and for each network that it makes; ours is called from the first of them."""
    host.firewall("apply")
    host.run("iptables", "-I", "FORWARD", "-i", BRIDGE, "!", "-o", BRIDGE, "-j", "ACCEPT")
    host.run("iptables", "-I", "FORWARD", "-j", "DOCKER-USER")
    assert not host.firewall("load")["changed"]
    assert host.open() == OPEN
    host.run("iptables", "-D", "FORWARD", "-i", BRIDGE, "-j", "TRIGGER-RUNNER")
    assert host.firewall("load")["changed"], "an engine that goes over to nftables takes DOCKER-USER away"


def test_packets_within_the_bridge_are_looked_at(host: Host) -> None:
    """Newer engines leave that switched off, and then other task containers would be reached."""
    host.run("sh", "-c", "echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables")
    host.firewall("apply")
    assert host.open() == OPEN
    assert not host.firewall("load")["changed"]
    host.run("ip", "link", "set", BRIDGE, "type", "bridge", "nf_call_iptables", "0")
    assert host.open() == OPEN | {f"{SUPERVISOR}:9090"}, "nothing was switched off, so the test above proves nothing"
    assert host.firewall("load", "--dry-run")["done"] == [
        f"packets within {BRIDGE} do not go through the rules (nf_call_iptables)"
    ]


def test_a_bridge_that_comes_after_the_rules_is_looked_at_too(host: Host) -> None:
    """As on a new worker: the engine makes the network when the rules are there."""
    settings = {"bridges": {BRIDGE: 8020, "trigger-r-late": 8020}}
    host.run("sh", "-c", "echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables")
    host.firewall("apply", settings=settings)
    host.run("ip", "link", "add", "trigger-r-late", "type", "bridge")
    code, _, error = host.step(run=host.command("check", settings=settings))
    assert (code, "packets within trigger-r-late do not go through the rules" in error) == (1, True), error
    assert host.firewall("load")["changed"]
    host.firewall("check", settings=settings)


# Runs the program where the kernel has no filter for packets within bridges, and cannot get one.
WITHOUT_BRIDGE_FILTER = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("runner_firewall", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
module.FOR_ALL_BRIDGES = pathlib.Path("/proc/sys/net/none")
run = module.run
module.run = lambda *words, **more: run(*["false" if word == "modprobe" else word for word in words], **more)
sys.exit(module.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("action", ["apply", "load"])
def test_without_a_filter_within_bridges_the_rules_are_loaded(host: Host, action: str) -> None:
    host.firewall("apply")
    if action == "load":  # as after a boot
        host.run("iptables", "-F")
        (host.folder / "proof").unlink()
    python, *words = host.command(action)
    code, _, error = host.step(run=[python, "-c", WITHOUT_BRIDGE_FILTER, *words])
    assert (code, "the rules are loaded, but task containers of this host reach each other" in error) == (1, True), (
        error
    )
    assert "br_netfilter" in error
    assert host.open() == OPEN
    assert (host.folder / "proof").exists()


def test_rules_that_cannot_be_loaded_leave_no_proof(host: Host) -> None:
    """The engine cannot start a supervisor then."""
    host.firewall("apply")
    proof = host.folder / "proof"
    assert proof.exists()
    proof.unlink()
    rules = host.folder / "rules.json"
    rules.write_text(rules.read_text().replace("-j REJECT", "-j NOWHERE"))
    code, _, error = host.step(run=host.command("load"))
    assert (code, proof.exists()) == (1, False), error
    host.firewall("apply")
    assert proof.exists()
    host.firewall("remove")
    assert not proof.exists()


def test_a_packet_of_no_connection_reaches_no_closed_address(host: Host) -> None:
    """It has no original destination by which the rule for its address could know it."""
    count = ["iptables", "-A", "FORWARD", "-d", INTERNET, "-p", "tcp", "--tcp-flags", "ALL", "NONE"]

    def passed() -> int:
        (line,) = [each for each in host.run("iptables", "-nvxL", "FORWARD").splitlines() if INTERNET in each]
        return int(line.split()[0])

    host.run(*count)
    host.step(flagless=INTERNET)
    assert passed() == 1, "nothing was sent, so the test below proves nothing"
    host.firewall("apply", settings={"deny": [f"{INTERNET}:80"]})
    host.step(flagless=INTERNET)
    assert passed() == 1


def test_bridges_of_others_are_left_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that looks at packets within bridges begins with all of them."""
    commands: list[tuple[str, ...]] = []
    switches = {f"bridge-nf-call-{kind}tables": "1\n" for kind in ("ip", "ip6", "arp")}

    def run(*command: str) -> str:
        commands.append(command)
        if command[0] == "modprobe":
            (tmp_path / "bridge").mkdir()
            for name, value in switches.items():
                (tmp_path / "bridge" / name).write_text(value)
        return json.dumps(
            [
                {"ifname": name, "linkinfo": {"info_data": {"nf_call_iptables": 0, "nf_call_ip6tables": 0}}}
                for name in (BRIDGE, "virbr0")
            ]
        )

    monkeypatch.setattr(program(), "FOR_ALL_BRIDGES", tmp_path / "bridge")
    monkeypatch.setattr(program(), "run", run)
    assert len(program().filter_bridged([BRIDGE], dry_run=False)) == 3
    assert {(tmp_path / "bridge" / name).read_text().strip() for name in switches} == {"0"}
    assert [command[6:] for command in commands if command[:3] == ("ip", "link", "set")] == [
        ("nf_call_iptables", "1"),
        ("nf_call_ip6tables", "1"),
    ]
    assert not [command for command in commands if "virbr0" in command]


def test_switches_that_somebody_else_has_set_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program(), "FOR_ALL_BRIDGES", tmp_path)
    switched_off = {BRIDGE: {"nf_call_iptables": 0, "nf_call_ip6tables": 0}}
    monkeypatch.setattr(program(), "bridges_of_the_host", lambda: switched_off)
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        (tmp_path / name).write_text("1\n")
    assert program().filter_bridged([BRIDGE], dry_run=False) == []
    assert (tmp_path / "bridge-nf-call-iptables").read_text() == "1\n"


def test_a_network_that_nobody_names_any_more_stays_closed(host: Host) -> None:
    host.firewall("apply")
    host.firewall("apply", settings={"bridges": {"trigger-r-other": 8020}})
    assert host.open() == OPEN


def test_rules_for_a_bridge_that_is_not_there_are_told(host: Host) -> None:
    settings = {"bridges": {BRIDGE: 8020, "trigger-r-other": 8020}}
    host.firewall("apply", settings=settings)
    code, _, error = host.step(run=host.command("check", settings=settings))
    assert (code, "there is no bridge trigger-r-other" in error) == (1, True), error
    # The rules are those that were loaded, whichever of their networks there are.
    assert "another" not in error
    # Each supervisor of a new host is verified when its own network is there.
    command = [*host.command("check", settings=settings), f"--bridge={BRIDGE}"]
    assert host.step(run=command)[0] == 0
    host.firewall("apply")
    assert host.firewall("check")["closed"] == [f"{CONTROL}:5000"]
    host.run("iptables", "-F", "TRIGGER-RUNNER")
    code, _, error = host.step(run=host.command("check"))
    assert (code, "TRIGGER-RUNNER has 0 rules" in error) == (1, True), error


def test_what_every_run_needs_cannot_be_refused(host: Host) -> None:
    before = host.rules()
    code, _, error = host.step(run=host.command("apply", settings={"deny": ["10.0.0.0/8"]}))
    assert (code, "runner_firewall_deny closes 10.9.0.2/32 (port 8030)" in error) == (1, True), error
    assert host.rules() == before


def test_a_network_that_goes_takes_its_rules_along(host: Host) -> None:
    host.firewall("apply", settings={"bridges": {BRIDGE: 8020, "trigger-r-other": 8020}})
    assert any("trigger-r-other" in line for line in host.rules())
    host.firewall("apply")
    assert not any("trigger-r-other" in line for line in host.rules())
    assert host.open() == OPEN


def test_removal_opens_everything_again(host: Host) -> None:
    before = host.rules()
    host.firewall("apply")
    assert host.firewall("remove")["changed"]
    assert host.rules() == before
    assert host.open() == EVERYTHING
    assert host.firewall("remove") == {"changed": False, "done": []}


def resolver(name: str) -> list[Any]:
    return [
        ipaddress.ip_address(text)
        for text in {"both.example.com": ["192.0.2.1", "2001:db8::1"]}.get(name, ["127.0.1.1"])
    ]


def own() -> list[Any]:
    return [ipaddress.ip_address("192.0.2.9")]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("192.0.2.7", ["192.0.2.7/32 None"]),
        ("192.0.2.7:80", ["192.0.2.7/32 80"]),
        ("192.0.2.7/24", ["192.0.2.0/24 None"]),
        ("2001:db8::7", ["2001:db8::7/128 None"]),
        ("[2001:db8::7]:80", ["2001:db8::7/128 80"]),
        ("both.example.com:443", ["192.0.2.1/32 443", "2001:db8::1/128 443"]),
        ("http://192.0.2.7/otel", ["192.0.2.7/32 80"]),
        ("https://both.example.com", ["192.0.2.1/32 443", "2001:db8::1/128 443"]),
        ("https://192.0.2.7:8443", ["192.0.2.7/32 8443"]),
        # The host's own name.
        ("worker.example.com:8030", ["192.0.2.9/32 8030"]),
    ],
)
def test_entries_are_understood(text: str, places: list[str]) -> None:
    assert [f"{place.network} {place.port}" for place in program().destinations([text], resolver, own)] == places


def test_name_servers_that_containers_ask_themselves_are_found(tmp_path: Path) -> None:
    settings, first, second = (tmp_path / name for name in ("daemon.json", "resolv.conf", "true.conf"))
    first.write_text("# nameserver 192.0.2.9\nnameserver 127.0.0.53\noptions edns0\n")
    second.write_text("nameserver 192.0.2.1\nnameserver 2001:db8::1\n")
    found = program().name_servers(settings, (first, second, tmp_path / "none"))
    assert list(map(str, found)) == ["192.0.2.1", "2001:db8::1"]
    settings.write_text(json.dumps({"dns": ["192.0.2.3"]}))
    assert list(map(str, program().name_servers(settings, (first, second)))) == ["192.0.2.3"]


@pytest.mark.parametrize(
    ("settings", "resolver_file", "found"),
    [
        ("{", "nameserver 192.0.2.1\n", ["192.0.2.1"]),
        ("[]", "nameserver 192.0.2.1\n", ["192.0.2.1"]),
        ('{"dns": 5}', "nameserver 192.0.2.1\n", ["192.0.2.1"]),
        ('{"dns": ["192.0.2.300", "192.0.2.3"]}', "", ["192.0.2.3"]),
        (
            "{}",
            "nameserver 192.0.2\nnameserver fe80::1%eth0\nnameserver\nnameserver 192.0.2.1\n",
            ["fe80::1", "192.0.2.1"],
        ),
    ],
)
def test_name_servers_that_cannot_be_read_keep_no_rule_away(
    tmp_path: Path, settings: str, resolver_file: str, found: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    engine, resolvers = tmp_path / "daemon.json", tmp_path / "resolv.conf"
    engine.write_text(settings)
    resolvers.write_text(resolver_file)
    assert list(map(str, program().name_servers(engine, (resolvers,)))) == found
    assert capsys.readouterr().err != ""


# What is not the internet, and what is, in both families.
INNER = (
    *("0.1.2.3", "10.255.0.1", "100.127.255.254", "127.0.0.53", "168.63.129.16", "169.254.169.254", "172.31.255.1"),
    *("192.0.0.192", "192.168.1.1", "198.19.0.1", "224.0.0.251", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *(
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:a00:1::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
    ),
)
OUTER = ("1.1.1.1", "9.255.255.255", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111")


@pytest.mark.parametrize("address", INNER + OUTER)
def test_what_is_not_the_internet_is_refused(address: str) -> None:
    ip = ipaddress.ip_address(address)
    settings = program().Settings(**SETTINGS | {"origins": [], "registry": []})
    refused = [
        line
        for line in program().rules(settings, ip.version, resolver, own)
        if (network := line.partition("-d ")[2].partition(" ")[0]) and ip in ipaddress.ip_network(network)
    ]
    assert all("-j REJECT" in line for line in refused)
    assert bool(refused) is (address in INNER)


def test_name_servers_are_open_for_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program(), "name_servers", lambda: [ipaddress.ip_address("10.0.0.2")])
    first, udp_or_tcp, other, last = program().with_name_servers(["first", "last"], 4)
    assert (first, last) == ("first", "last")
    for protocol, line in zip(("tcp", "udp"), (udp_or_tcp, other)):
        assert line == f"-p {protocol} -m conntrack --ctorigdst 10.0.0.2/32 --ctorigdstport 53 -j RETURN"
    assert program().with_name_servers(["first", "last"], 6) == ["first", "last"]


@pytest.mark.parametrize("text", ["", ":80", "192.0.2.7:0", "192.0.2.7:65536", "a:b", "2001:db8::7:x", "a b:c"])
def test_entries_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(program().FirewallError, match="is no address, network or name"):
        program().Endpoint.parse(text)


def test_a_name_that_nobody_knows_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(SETTINGS | {"allow": ["nobody.invalid:80"]}))
    assert program().main(["apply", "--settings", str(file), "--rules", str(tmp_path / "rules.json")]) == 1
    assert "nobody.invalid cannot be resolved" in capsys.readouterr().err
    assert not (tmp_path / "rules.json").exists()
