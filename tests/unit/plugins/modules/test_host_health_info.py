# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check, size
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._units import unit_names
from ansible_collections.selfhosted.trigger_dev.plugins.modules import host_health_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.host_health_info import (
    Container,
    Parameters,
    Space,
    containers,
    disk,
    look,
    measure,
    project,
    units,
)

INFO = json.dumps({"ServerVersion": "28.1", "DockerRootDir": "/docker"})
DISK = 2**30


def engine(listing: str = "", info: str = INFO, config: Completed | None = None) -> Callable[..., Completed]:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if argv[1] == "info":
            return Completed(0, info, "cannot connect" if not info else "")
        if argv[1] == "ps":
            assert "--all" in argv
            return Completed(0, listing, "")
        return config or Completed(0, "supervisor\n", "")

    return fake


@pytest.fixture(autouse=True)
def no_apparmor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine of the tests has."""
    monkeypatch.setattr(host_health_info, "kernel_has_it", lambda *_paths: False)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "compose.yml").touch()
    return str(tmp_path)


def found(folder: str, run: Callable[..., Completed], minimum: float = 10, free: int = DISK // 2) -> list[Check]:
    return list(look(Parameters({"p": folder}, ["/opt"], minimum), run, lambda _path: Space(free, DISK)))


def test_all_is_well(folder: str) -> None:
    assert found(folder, engine("p\tsupervisor\tFalse\trunning\tUp 3 hours (healthy)")) == [
        Check("Docker Engine", True, "version 28.1"),
        Check("p/supervisor", True, "Up 3 hours (healthy)"),
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
    assert containers("p\ts\tTrue\texited\tExited (1)\n\ts\n") == []


def test_a_dead_engine_does_not_hide_the_disk(folder: str) -> None:
    refused = json.dumps({"ServerErrors": ["cannot connect"], "ServerVersion": ""})
    for info in (refused, ""):
        checks = found(folder, engine(info=info))
        assert checks[0] == Check("Docker Engine", False, "cannot connect")
        assert [check.what for check in checks[1:]] == ["disk of /opt"]


def test_a_project_that_is_not_deployed(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    assert found(str(tmp_path), engine())[1] == Check("p", False, f"is not deployed ({file} does not exist)")


def test_what_compose_says_is_not_told(folder: str) -> None:
    check = found(folder, engine(config=Completed(1, "", "unexpected character near hunter2")))[1]
    assert not check.ok
    assert "hunter2" not in check.detail


@pytest.mark.parametrize(("free", "ok"), [(10, True), (9, False)])
def test_space(free: int, ok: bool) -> None:
    check = disk("/opt", 10, lambda _path: Space(free, 100))
    assert check.ok is ok
    assert check.detail.endswith("(10 %)" if ok else "(9 %), less than 10 %")


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
    assert [check["ok"] for check in result["checks"]] == [False, False]
    assert not result["changed"]
    assert "failed" not in result
