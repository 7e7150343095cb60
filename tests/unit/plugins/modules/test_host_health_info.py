# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._memory import Memory
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import size
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._units import unit_names
from ansible_collections.selfhosted.trigger_dev.plugins.modules import host_health_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.host_health_info import (
    Container,
    Parameters,
    Space,
    alerts,
    cleaning,
    containers,
    disk,
    drift,
    image,
    look,
    measure,
    memory_left,
    project,
    units,
)

INFO = json.dumps({"ServerVersion": "28.1", "DockerRootDir": "/docker"})
DISK = 2**30
MEMORY = Check("memory", True, "512.0 MiB of 1.0 GiB available (50 %)")
UP = "p\tsupervisor\tFalse\tab12\tp-supervisor-1\texample.com/supervisor:v1\trunning\tUp 3 hours (healthy)"
# What Compose 2.26.1 prints in a dry run.
SAME = " DRY-RUN MODE -  Container p-proxy-1  Running \n DRY-RUN MODE -  Container p-proxy-1  Healthy \n"


def engine(
    listing: str = "", info: str = INFO, config: Completed | None = None, alerting: str = "[]"
) -> Callable[..., Completed]:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if argv[1] == "system":
            return Completed(0, "Images\t4.4GB\t4GB (98%)\nLocal Volumes\t1GB\t0B (0%)\nBuild Cache\t0B\t0B\n", "")
        if argv[1] == "exec":
            return Completed(0, alerting, "")
        if "--dry-run" in argv:
            return Completed(0, "", SAME)
        if argv[1] == "info":
            return Completed(0, info, "cannot connect" if not info else "")
        if argv[1] == "ps":
            assert {"--all", "--no-trunc"} < set(argv)
            return Completed(0, listing, "")
        return config or Completed(0, "supervisor\n", "")

    return fake


@pytest.fixture(autouse=True)
def no_apparmor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine of the tests has."""
    monkeypatch.setattr(host_health_info, "kernel_has_it", lambda *_paths: False)


@pytest.fixture(autouse=True)
def half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_health_info, "memory", lambda _text: Memory(2**30, 2**29))
    monkeypatch.setattr(host_health_info, "used_by_containers", lambda _names: {})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "compose.yml").touch()
    return str(tmp_path)


def found(folder: str, run: Callable[..., Completed], minimum: float = 10, free: int = DISK // 2) -> list[Check]:
    return list(look(Parameters({"p": folder}, ["/opt"], minimum), run, lambda _path: Space(free, DISK)))


def test_all_is_well(folder: str) -> None:
    assert found(folder, engine(UP)) == [
        Check("Docker Engine", True, "version 28.1"),
        Check("p/supervisor", True, "Up 3 hours (healthy)"),
        Check("drift of p", True, "containers are as its files say"),
        MEMORY,
        Check("disk of /opt", True, "512.0 MiB of 1.0 GiB free (50 %)"),
        Check("disk of /docker", True, "512.0 MiB of 1.0 GiB free (50 %)"),
    ]


@pytest.mark.parametrize(
    ("options", "ok", "detail"),
    [
        (["name=apparmor", "name=seccomp,profile=builtin"], True, "containers run under its profiles"),
        (
            ["name=seccomp,profile=builtin"],
            False,
            "the kernel has it and the engine does not use it: install the package",
        ),
        (None, False, "the kernel has it"),
    ],
)
def test_apparmor_must_be_used_where_the_kernel_has_it(
    folder: str, monkeypatch: pytest.MonkeyPatch, options: list[str] | None, ok: bool, detail: str
) -> None:
    info = json.dumps({"ServerVersion": "28.1", "DockerRootDir": "/docker", "SecurityOptions": options})
    assert "AppArmor" not in [check.what for check in found(folder, engine(info=info))]
    monkeypatch.setattr(host_health_info, "kernel_has_it", lambda *_paths: True)
    (check,) = [check for check in found(folder, engine(info=info)) if check.what == "AppArmor"]
    assert check.ok is ok
    assert check.detail.startswith(detail)


def test_images_in_the_store_of_containerd_have_a_disk_too(folder: str) -> None:
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    info = json.dumps({"ServerVersion": "29.0", "DockerRootDir": "/docker", "DriverStatus": status})
    checks = found(folder, engine("", info))
    assert [check.what for check in checks if check.what.startswith("disk")] == [
        "disk of /opt",
        "disk of /docker",
        "disk of /var/lib/containerd",
    ]


@pytest.mark.parametrize(
    ("state", "status", "healthy"),
    [
        ("running", "Up 3 hours", True),
        ("running", "Up 3 hours (healthy)", True),
        ("running", "Up 3 hours (unhealthy)", False),
        ("running", "Up 1 second (health: starting)", False),
        ("exited", "Exited (1) 3 hours ago", False),
        ("restarting", "Restarting (1) 3 seconds ago", False),
        ("paused", "Up 3 hours (Paused)", False),
    ],
)
def test_health(state: str, status: str, healthy: bool) -> None:
    (check,) = project("p", ["s"], [Container("p", "s", state, status)])
    assert check == Check("p/s", healthy, status)


SHOWN = """Id=trigger-a.timer
LoadState=loaded
ActiveState=active
NeedDaemonReload=no

Id=trigger-b.service
LoadState=loaded
ActiveState=inactive
NeedDaemonReload=no
"""


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        ("", "", "2 as they are on the disk"),
        (
            "NeedDaemonReload=no",
            "NeedDaemonReload=yes",
            "trigger-a.timer was changed and systemd has the old one in force",
        ),
        ("=active", "=inactive", "trigger-a.timer is inactive"),
        ("=loaded", "=masked", "trigger-a.timer is masked"),
    ],
)
def test_units_are_held_against_what_systemd_has(before: str, after: str, detail: str) -> None:
    shown = SHOWN.replace(before, after, 1) if before else SHOWN
    (check,) = units(lambda *_a, **_k: Completed(0, shown, ""), ["trigger-a.timer", "trigger-b.service"])
    assert check.ok == (not before)
    assert detail in check.detail


def test_units_of_others_are_left_alone(tmp_path: Path) -> None:
    for name, text in {"trigger-a.timer": "# Ansible managed (selfhosted.trigger_dev)", "trigger-b.timer": ""}.items():
        (tmp_path / name).write_text(text)
    assert unit_names(tmp_path) == ["trigger-a.timer"]
    assert list(units(lambda *_a, **_k: Completed(1, "", "no systemd"), [])) == []
    (check,) = units(lambda *_a, **_k: Completed(1, "", "no systemd"), ["trigger-a.timer"])
    assert not check.ok


def test_a_service_without_a_container_is_wrong() -> None:
    others = [Container("q", "s", "running", "Up"), Container("p", "t", "running", "Up")]
    assert list(project("p", ["s"], others)) == [Check("p/s", False, "there is no container")]


def test_one_of_two_containers_may_not_be_ill() -> None:
    both = [Container("p", "s", "running", "Up"), Container("p", "s", "exited", "Exited")]
    assert list(project("p", ["s"], both)) == [Check("p/s", False, "Up, Exited")]


def test_one_off_containers_are_nobodys_service() -> None:
    assert containers("p\ts\tTrue\t1\tn\ti\texited\tExited (1)\n\ts\n") == []


def test_a_dead_engine_does_not_hide_the_disk(folder: str) -> None:
    refused = json.dumps({"ServerErrors": ["cannot connect"], "ServerVersion": ""})
    for info in (refused, ""):
        checks = found(folder, engine(info=info))
        assert checks[0] == Check("Docker Engine", False, "cannot connect")
        assert [check.what for check in checks[1:]] == ["memory", "disk of /opt"]


def test_a_project_that_is_not_deployed(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    assert found(str(tmp_path), engine())[1] == Check("p", False, f"is not deployed ({file} does not exist)")


@pytest.mark.parametrize(
    ("code", "said", "ok", "detail"),
    [
        (0, SAME, True, "containers are as its files say"),
        (
            0,
            " DRY-RUN MODE -  Container p-a-1  Recreate\n DRY-RUN MODE -  Container p-a-1  Recreated\n"
            " DRY-RUN MODE -  Container p-b-1  Creating\n DRY-RUN MODE -  Container 97a38340e18a_p-a-1  Starting\n"
            " DRY-RUN MODE -  Network p_default  Creating\n",
            True,
            "not as its files say: p-a-1, p-b-1, p_default; run site",
        ),
        # As later ones print it.
        (0, "DRY-RUN MODE - Container p-a-1 Starting\n", True, "not as its files say: p-a-1; run site"),
        (
            1,
            " DRY-RUN MODE -  Container p-a-1  Running\n DRY-RUN MODE -  Container p-a-1  Error\n"
            "dependency failed to start: container p-a-1 is unhealthy\n",
            True,
            "containers are as its files say",
        ),
        (
            1,
            " DRY-RUN MODE -  Container p-a-1  Starting\ndependency failed to start: container p-a-1 exited (143)\n",
            True,
            "not as its files say: p-a-1; run site",
        ),
        (15, 'Invalid template: "${hunter2"', False, "docker compose --dry-run up fails, so it cannot be told"),
    ],
)
def test_compose_says_whether_something_drifts(code: int, said: str, ok: bool, detail: str) -> None:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert argv[argv.index("--project-directory") + 1] == "/p"
        assert {"--dry-run", "--remove-orphans"} < set(argv)
        assert argv[argv.index("--pull") + 1] == "never"
        return Completed(code, "", said)

    assert drift("p", "/p", fake) == Check("drift of p", ok, detail, warning="run site" in detail)


def test_a_slow_comparison_is_no_fault() -> None:
    def slow(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(124, "", f"docker: no end after {timeout:.0f} s")

    assert drift("p", "/p", slow) == Check("drift of p", True, "Compose did not compare it within 180 s", warning=True)


@pytest.mark.parametrize(("age", "warned"), [(172_700, False), (172_900, True)])
def test_a_cleaner_that_never_looked_is_noticed(tmp_path: Path, age: float, warned: bool) -> None:
    (tmp_path / "task_images.py").write_text("")
    os.utime(tmp_path / "task_images.py", (1000, 1000))
    found = cleaning(str(tmp_path / "task_images.json"), 172_800, 1000 + age)
    assert found == Check("cleaning of task images", True, "it has not looked yet", warning=warned)


def test_a_service_must_run_the_image_that_is_wanted(folder: str) -> None:
    (container,) = containers(UP)
    assert container == Container(
        *("p", "supervisor", "running", "Up 3 hours (healthy)", "ab12", "p-supervisor-1", "example.com/supervisor:v1")
    )
    good = image("p/supervisor", "example.com/supervisor:v1", [container])
    assert good == Check("image of p/supervisor", True, "example.com/supervisor:v1, as wanted")
    old = image("p/supervisor", "example.com/supervisor:v2", [container])
    assert (old.ok, old.warning) == (True, True)
    assert old.detail.startswith("runs example.com/supervisor:v1, wanted example.com/supervisor:v2; run site")
    none = image("p/supervisor", "example.com/supervisor:v2", [])
    assert none.warning
    assert none.detail.startswith("does not run, wanted example.com/supervisor:v2")
    wanted = Parameters({"p": folder}, [], 10, {"p/supervisor": "example.com/supervisor:v2"})
    assert old in list(look(wanted, engine(UP), lambda _path: Space(1, 1)))


ALERT = {"labels": {"alertname": "TriggerDiskFull", "host": "w1", "severity": "critical"}}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("[]", Check("alerts", True, "none is firing")),
        (
            json.dumps([{"labels": {"alertname": "Mine"}}, ALERT, ALERT]),
            Check("alerts", True, "firing: Mine, TriggerDiskFull (w1)", warning=True),
        ),
        ("", Check("alerts", False, "Alertmanager does not tell them (exit code 1)")),
        ('{"error": 1}', Check("alerts", False, "Alertmanager does not tell them (exit code 0)")),
    ],
)
def test_firing_alerts_are_named(folder: str, told: str, expected: Check) -> None:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert argv[:4] == ["docker", "exec", "am", "wget"]
        assert argv[-1].endswith("/api/v2/alerts?active=true&silenced=false&inhibited=false")
        return Completed(1 if told == "" else 0, told, "No such container: am")

    assert alerts("am", fake) == expected
    wanted = Parameters({"p": folder}, [], 10, {}, "am")
    if expected.ok:
        assert expected in list(look(wanted, engine(UP, alerting=told), lambda _path: Space(1, 1)))
    assert "alerts" not in [check.what for check in found(folder, engine(UP))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"looked": 9640, "used": {}}', Check("cleaning of task images", True, "6 min ago")),
        ('{"looked": 10060}', Check("cleaning of task images", True, "0 s ago")),
        ('{"looked": -162801}', Check("cleaning of task images", True, "2 days ago", warning=True)),
        (None, Check("cleaning of task images", True, "it has not looked yet")),
    ],
)
def test_the_last_cleaning_is_told(folder: str, tmp_path: Path, text: str | None, expected: Check) -> None:
    if text is not None:
        (tmp_path / "state.json").write_text(text)
    assert cleaning(str(tmp_path / "state.json"), 172_800, 10_000) == expected
    wanted = Parameters({"p": folder}, [], 10, cleaned_file=str(tmp_path / "none.json"))
    whats = [check.what for check in look(wanted, engine(UP), lambda _path: Space(1, 1))]
    assert whats.count("cleaning of task images") == 1
    assert "cleaning of task images" not in [check.what for check in found(folder, engine(UP))]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"looked": null}'])
def test_a_damaged_state_of_the_cleaning_is_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert not cleaning(str(tmp_path / "state.json"), 172_800, 10_000).ok


def test_those_that_use_the_most_memory_are_named() -> None:
    used = {"a": 5 * 2**20, "b": 2**20, "c": 2**21, "d": 1, "runner-x": 3 * 2**20, "runner-y": 3 * 2**20}
    check = memory_left(Memory(1000 * 2**20, 50 * 2**20), used)
    most = "2 of runs 6.0 MiB, a 5.0 MiB, c 2.0 MiB"
    assert check == Check("memory", True, f"50.0 MiB of 1000.0 MiB available (5 %); most use {most}")
    assert memory_left(Memory(1000 * 2**20, 49 * 2**20), {}) == Check(
        "memory", True, "49.0 MiB of 1000.0 MiB available (5 %)", warning=True
    )


def test_names_of_containers_come_from_the_engine(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_health_info, "used_by_containers", lambda names: dict.fromkeys(names, 2**20))
    gone = "\t\t\tcd34\tstopped\timage\texited\tExited (0)"
    (check,) = [check for check in found(folder, engine(f"{UP}\n{gone}")) if check.what == "memory"]
    assert check.detail.endswith("; most use p-supervisor-1 1.0 MiB")


def test_memory_that_cannot_be_read_is_told(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_health_info, "PROC", Path("/nowhere"))
    (check,) = [check for check in found(folder, engine(UP)) if check.what == "memory"]
    assert not check.ok


def test_what_compose_says_is_not_told(folder: str) -> None:
    check = found(folder, engine(config=Completed(1, "", "unexpected character near hunter2")))[1]
    assert not check.ok
    assert "hunter2" not in check.detail


@pytest.mark.parametrize(("free", "ok"), [(10, True), (9, False)])
def test_space(free: int, ok: bool) -> None:
    check = disk("/opt", 10, lambda _path: Space(free, 100))
    assert check.ok is ok
    assert check.detail.endswith("(10 %)" if ok else "(9 %), less than 10 %")


def test_what_fills_the_disk_of_the_engine_is_named_when_it_is_full(folder: str) -> None:
    said = "images 4.4GB (unused: 4GB), local volumes 1GB (unused: 0B), build cache 0B (unused: 0B)"
    rows = {check.what: check.detail for check in found(folder, engine(UP), minimum=60)}
    assert rows["disk of /docker"] == f"512.0 MiB of 1.0 GiB free (50 %), less than 60 %: {said}"
    assert rows["disk of /opt"] == "512.0 MiB of 1.0 GiB free (50 %), less than 60 %"

    def refuse(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert argv[1] != "system" or minimum == 60, "it takes time, and nobody needs it"
        return Completed(1, "", "") if argv[1] == "system" else engine(UP)(argv, stdin, timeout)

    for minimum in (60, 10):
        rows = {check.what: check.detail for check in found(folder, refuse, minimum=minimum)}
        assert "images" not in rows["disk of /docker"]


def test_a_disk_that_is_not_there() -> None:
    assert disk("/nowhere/at/all", 10, measure) == Check("disk of /nowhere/at/all", False, "No such file or directory")


def test_a_disk_is_measured(tmp_path: Path) -> None:
    space = measure(str(tmp_path))
    assert 0 <= space.free <= space.total


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


def test_it_reports_and_does_not_fail(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_health_info, "run", engine(info=""))
    result = invoke(host_health_info.main, check=True, projects={}, paths=["/nowhere"])
    assert {check["what"]: check["ok"] for check in result["checks"]} == {
        "Docker Engine": False,
        "memory": True,
        "disk of /nowhere": False,
    }
    assert not result["changed"]
    assert result["clock"]["asked_at"] == result["clock"]["began_at"] <= result["clock"]["ended_at"]
    assert "failed" not in result
