# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import json
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._apparmor import ENABLED, PROFILES, kernel_has_it
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed, Run
from ansible_collections.selfhosted.trigger_dev.plugins.modules import host_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.host_info import (
    Address,
    Network,
    Parameters,
    address,
    architecture,
    disk,
    look_around,
    memory_mib,
    route,
)

Invoke = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://control.example.com:8030", Address("control.example.com", 8030)),
        ("http://control.example.com", Address("control.example.com", 80)),
        ("https://control.example.com", Address("control.example.com", 443)),
        ("registry.example.com", Address("registry.example.com", 443)),
        ("registry.example.com:5000", Address("registry.example.com", 5000)),
        ("192.0.2.1:5000", Address("192.0.2.1", 5000)),
        ("http://[2001:db8::1]:8030", Address("2001:db8::1", 8030)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert address(text) == expected


@pytest.mark.parametrize(("text", "words"), [("http://", "names no host"), ("a.example:99999", "no usable port")])
def test_addresses_that_are_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        address(text)


def test_architectures_have_the_names_of_docker() -> None:
    assert [architecture(name) for name in ("x86_64", "aarch64", "riscv64")] == ["amd64", "arm64", "riscv64"]


def test_the_mtu_is_that_of_the_default_route(tmp_path: Path) -> None:
    (tmp_path / "wg0").mkdir()
    (tmp_path / "wg0/mtu").write_text("1420\n")
    table = (
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        "wg0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n"
    )
    assert host_info.default_mtu(table, tmp_path) == 1420
    assert host_info.default_mtu(table.replace("wg0", "gone"), tmp_path) == 0
    assert host_info.default_mtu(table.splitlines()[0], tmp_path) == 0


def test_memory() -> None:
    assert memory_mib("MemFree: 1 kB\nMemTotal:       16384000 kB\n") == 16000
    with pytest.raises(ValueError, match="does not tell"):
        memory_mib("")


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    path = str(tmp_path / "a/b/c")
    assert disk(path).path == path
    assert disk(path).free_mib == pytest.approx(disk(str(tmp_path)).free_mib, abs=64)
    assert disk(path).free_mib > 0


# What the fake network knows: name -> IP addresses, and IP address -> what a connection to it comes to.
NAMES = {
    "up.example": ["192.0.2.1"],
    "closed.example": ["192.0.2.2"],
    "silent.example": ["192.0.2.3"],
    "far.example": ["192.0.2.4"],
    "both.example": ["2001:db8::4", "192.0.2.2"],
    "many.example": ["192.0.2.5", "192.0.2.5", "192.0.2.5"],
}
RESULTS: dict[str, OSError | None] = {
    "192.0.2.1": None,
    "192.0.2.2": ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    "192.0.2.3": TimeoutError("timed out"),
    "192.0.2.4": OSError(errno.EHOSTUNREACH, "No route to host"),
    "2001:db8::4": OSError(errno.ENETUNREACH, "Network is unreachable"),
}


def resolve(target: Address) -> list[str]:
    if target.host == "stuck.example":
        threading.Event().wait(120)
    if target.host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return NAMES[target.host]


def connect(ip: str, port: int, timeout: float) -> None:
    if ip == "192.0.2.5":
        time.sleep(timeout)
        raise TimeoutError
    if (error := RESULTS[ip]) is not None:
        raise error


def fake_route(ip: str) -> str:
    if ip in ("192.0.2.4", "2001:db8::4"):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")
    return f"source for {ip}"


NETWORK = Network(resolve, connect, fake_route)


def test_every_state_is_told_with_its_reason() -> None:
    names = [*NAMES, "nowhere.example", "stuck.example"]
    wanted = Parameters([], {name: Address(name, 80) for name in names}, {}, 1, None)
    began = time.monotonic()
    found, _sources = look_around(wanted, NETWORK)
    assert time.monotonic() - began < 30, "somebody was waited for"
    assert {name: (row.state, row.reason) for name, row in found.items()} == {
        "up.example": ("connected", ""),
        "closed.example": ("refused", "Connection refused"),
        "silent.example": ("timeout", "no answer within 1 s"),
        "far.example": ("unreachable", "No route to host"),
        "both.example": ("refused", "Connection refused"),
        "many.example": ("timeout", "no answer within 1 s"),
        "nowhere.example": ("unresolved", "Name or service not known"),
        "stuck.example": ("unresolved", "the resolver did not answer within 2 s"),
    }
    assert asdict(found["up.example"]) | {"state": "", "reason": ""} == {
        "host": "up.example",
        "port": 80,
        "state": "",
        "reason": "",
    }


def test_sources_prefer_the_older_protocol_and_need_a_route() -> None:
    hosts = ["up.example", "closed.example", "far.example", "both.example", "nowhere.example", "stuck.example"]
    began = time.monotonic()
    _found, sources = look_around(Parameters([], {}, {host: host for host in hosts}, 1, None), NETWORK)
    assert time.monotonic() - began < 30, "somebody was waited for"
    assert sources == {
        "up.example": "source for 192.0.2.1",
        "closed.example": "source for 192.0.2.2",
        "far.example": "",
        "both.example": "source for 192.0.2.2",
        "nowhere.example": "",
        "stuck.example": "",
    }


def test_a_newer_address_will_do_where_there_is_no_other() -> None:
    network = Network(lambda _target: ["192.0.2.4", "2001:db8::1"], connect, fake_route)
    assert host_info.source("new.example", network) == "source for 2001:db8::1"


def test_routes() -> None:
    assert route("127.0.0.1") == "127.0.0.1"
    with pytest.raises(socket.gaierror):
        route("300.0.0.1")


def test_module(invoke: Invoke, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        addresses = {
            "taken": f"127.0.0.1:{listener.getsockname()[1]}",
            # Bound, but nobody listens.
            "refused": f"http://127.0.0.1:{bound.getsockname()[1]}",
            "nameless": "http://name..invalid:80",
        }
        sources = {"own": "127.0.0.1", "by name": "localhost", "nameless": "name..invalid", "empty": ""}
        result = invoke(
            host_info.main,
            paths=[str(tmp_path)],
            addresses=addresses,
            sources=sources,
            asked_at=1.5,
            check=True,
        )
    host = result["host"]
    assert result["changed"] is False
    assert host["architecture"] == architecture(platform.machine())
    assert host["cpus"] == len(os.sched_getaffinity(0))
    assert host["memory_mib"] > 100
    assert [row["path"] for row in host["disks"]] == [str(tmp_path)]
    assert {name: row["state"] for name, row in host["addresses"].items()} == {
        "taken": "connected",
        "refused": "refused",
        "nameless": "unresolved",
    }
    assert host["sources"] == {"own": "127.0.0.1", "by name": "127.0.0.1", "nameless": "", "empty": ""}
    assert host["machine"] == invoke(host_info.main)["host"]["machine"] != ""
    assert host["apparmor"] is kernel_has_it(ENABLED, PROFILES)
    assert host["clock"]["asked_at"] == 1.5
    assert host["clock"]["began_at"] <= host["clock"]["ended_at"] == pytest.approx(time.time(), abs=60)


def test_a_machine_is_its_kernel_and_what_it_shows(tmp_path: Path) -> None:
    """Containers on one kernel are several machines, and so are clones that have started on their own."""

    def seen(name: str, boot: str, net: str, pid: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "boot_id").write_text(f"{boot}\n")
        for kind, number in (("net", net), ("pid", pid)):
            (tmp_path / name / kind).symlink_to(f"{kind}:[{number}]")
        return host_info.machine(tmp_path / name / "boot_id", tmp_path / name)

    machines = [seen("one", "a", "1", "1"), seen("clone", "b", "1", "1"), seen("container", "a", "2", "2")]
    assert machines[0] == "a net:[1] pid:[1]"
    assert len({*machines, seen("container-in-the-hosts-network", "a", "1", "3")}) == 4
    assert seen("other-name", "a", "1", "1") == machines[0]
    assert host_info.machine(tmp_path / "nowhere", tmp_path) == ""


def test_module_without_anything_to_look_at(invoke: Invoke) -> None:
    host = invoke(host_info.main)["host"]
    assert (host["disks"], host["addresses"], host["sources"]) == ([], {}, {})
    assert host["clock"]["asked_at"] == host["clock"]["began_at"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"paths": ["opt/trigger"]}, "must be absolute: opt/trigger"),
        ({"addresses": {"a": "http://:80"}}, "names no host"),
        ({"globs": ["trigger/*"]}, "globs must be absolute: trigger/*"),
        ({"timeout": 0}, "at least 1 second"),
    ],
)
def test_module_refuses(invoke: Invoke, arguments: dict[str, object], words: str) -> None:
    result = invoke(host_info.main, **arguments)
    assert result["failed"]
    assert words in result["msg"]


def test_sources_are_the_hosts_own_addresses(invoke: Invoke) -> None:
    asked = {"gateway": "127.0.0.1", "name": "localhost", "nobody": "no-such-host.invalid"}
    found = invoke(host_info.main, sources=asked)["host"]["sources"]
    assert found == {"gateway": "127.0.0.1", "name": "127.0.0.1", "nobody": ""}


ENGINE = {"ServerVersion": "28.5.2", "DockerRootDir": "/"}
RUNNING = [
    {
        "Config": {"Labels": {"com.docker.compose.project": "example"}},
        "HostConfig": {"PortBindings": {"3000/tcp": [{"HostIp": "", "HostPort": "8030"}], "9/udp": None}},
    },
    {"Config": {"Labels": None}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "80"}, {"HostPort": ""}]}}},
    {"Config": {"Labels": {}}, "HostConfig": {"PortBindings": None}},
]


ANSWERS = Completed(0, json.dumps(ENGINE), "")


def docker(info: Completed = ANSWERS, running: Sequence[object] = RUNNING) -> Run:
    """An engine that has one of two images, and of which a container is gone by the time it is asked for."""

    def answer(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if argv[1] == "info":
            return info
        if argv[1] == "ps":
            return Completed(0, "a1\n" * len(running), "")
        if argv[1:3] == ["container", "inspect"]:
            return Completed(1, json.dumps(running), "no such container")
        if argv[1:3] == ["network", "ls"]:
            return Completed(0, "trigger-runner supervisor\ntrigger-front webapp\n", "")
        assert argv[1:3] == ["image", "inspect"]
        return Completed(0 if argv[3] == "here:1" else 1, "", "")

    return answer


def test_the_engine_is_asked_with_the_rest(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_info, "run", docker())
    (tmp_path / "webapp").mkdir()
    (tmp_path / "webapp/compose.yml").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    globs = [f"{tmp_path}/*", f"{tmp_path}/*/compose.yml", f"{tmp_path}/none-*"]
    host = invoke(host_info.main, engine=True, images=["here:1", "gone:1"], globs=globs, paths=["/", "/tmp"])["host"]
    assert host["engine"] == ENGINE
    assert host["missing_images"] == ["gone:1"]
    assert host["published"] == [{"port": 80, "project": ""}, {"port": 8030, "project": "example"}]
    assert host["networks"] == {"trigger-runner": "supervisor", "trigger-front": "webapp"}
    assert host["found"] == [f"{tmp_path}/{name}" for name in ("dangling", "webapp", "webapp/compose.yml")]
    assert [row["path"] for row in host["disks"]] == ["/", "/tmp", "/var/lib/containerd"]


def test_without_a_running_container(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_info, "run", docker(running=[]))
    assert invoke(host_info.main, engine=True)["host"]["published"] == []


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (Completed(127, "", "docker: no such program"), {}),
        # So it says that nobody answers: with the reason, and without what the engine has.
        (Completed(1, '{"ServerErrors": ["cannot connect"]}', ""), {"ServerErrors": ["cannot connect"]}),
        (
            Completed(1, '{"ServerErrors": null, "ID": ""}', "failed to connect to the docker API\n"),
            {"ServerErrors": ["failed to connect to the docker API"], "ID": ""},
        ),
        (
            Completed(0, '{"ServerVersion": ""}', "cannot connect\n"),
            {"ServerVersion": "", "ServerErrors": ["cannot connect"]},
        ),
        # Podman in place of the command line.
        (Completed(0, '{"host": {}, "store": {}}', ""), {"host": {}, "store": {}, "ServerErrors": []}),
    ],
)
def test_an_engine_that_is_missing_or_does_not_answer(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, info: Completed, told: dict[str, object]
) -> None:
    monkeypatch.setattr(host_info, "run", docker(info))
    host = invoke(host_info.main, engine=True, images=["gone:1"])["host"]
    assert host["engine"] == told
    assert (host["missing_images"], host["published"], host["networks"]) == ([], [], {})


def test_a_docker_that_says_nothing_is_a_failure(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_info, "run", docker(Completed(1, "", "permission denied")))
    result = invoke(host_info.main, engine=True)
    assert result["failed"]
    assert "docker info: permission denied" in result["msg"]


def test_the_engine_is_not_asked_unless_wanted(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_info, "run", None)
    assert invoke(host_info.main, images=["gone:1"])["host"]["engine"] == {}


def test_addresses_of_the_host(invoke: Invoke) -> None:
    tree = """\
Main:
  +-- 0.0.0.0/0 3 0 4
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.10
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
     |-- 192.0.2.7
        /24 link UNICAST
        /32 host LOCAL
     |-- 127.0.0.0
        /8 host LOCAL
"""
    assert host_info.own_addresses(2 * tree) == ["10.0.0.10", "192.0.2.7"]
    assert "127.0.0.1" in invoke(host_info.main)["host"]["own_addresses"]


def test_ports_that_something_listens_on(invoke: Invoke) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as two,
        socket.socket() as bound,
    ):
        bound.bind(("127.0.0.1", 0))
        found = invoke(host_info.main)["host"]["listening"]
        ports = [each.getsockname()[1] for each in (one, two, bound)]
    assert [port in found for port in ports] == [True, True, False]
    assert found == sorted(set(found))
