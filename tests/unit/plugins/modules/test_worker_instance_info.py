# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_instance import Instance
from ansible_collections.selfhosted.trigger_dev.plugins.modules import worker_instance_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.worker_instance_info import (
    Parameters,
    faults,
    message,
    read,
    wait,
)

Invoke = Callable[..., dict[str, Any]]


BEFORE, SINCE = "2026-01-31T12:30:00.120Z", "2026-01-31T12:30:00.121Z"


def instance(name: str, age: float | None, at: str = BEFORE) -> Instance:
    """Give one whose last contact was a heartbeat so many seconds ago."""
    return Instance(name, "bootstrap", age, age or 0, at, age is None, "2026-01-31T12:00:00Z")


def connected(name: str, ago: float, at: str = SINCE, heartbeat: float | None = None) -> Instance:
    """Give one that has connected so many seconds ago."""
    return Instance(name, "bootstrap", heartbeat, ago, at, True, "2026-01-31T12:00:00Z")


ROW = {
    "name": "w",
    "group_name": "bootstrap",
    "heartbeat_age": 40.5,
    "contact_age": 40.5,
    "contact_at": BEFORE,
    "connected_last": False,
    "created_at": "2026-01-31T12:00:00Z",
}


def wanted(names: Sequence[str] | None = None, max_age: int | None = None, timeout: int = 0) -> Parameters:
    return Parameters(Database("pg", "main", "postgres"), "bootstrap", names, max_age, timeout)


def test_faults_of_each_kind() -> None:
    seen = [instance("fresh", 35.0), instance("stale", 35.1), connected("silent", 4), instance("former", 9e9)]
    assert faults(seen, wanted(["fresh", "stale", "silent", "missing"], 35)) == {
        "stale": "last heartbeat 35 s ago",
        "silent": "connected 4 s ago, no heartbeat since",
        "missing": "never connected",
    }


def test_nothing_is_required_without_max_age() -> None:
    assert faults([], wanted(["missing"])) == {}


def test_the_message_is_a_table() -> None:
    text = message({"worker1": "never connected", "w2": "last heartbeat 99 s ago"}, wanted([], 35, 90))
    assert "  worker1  never connected\n  w2       last heartbeat 99 s ago\n" in text


def test_names_filter_the_rows() -> None:
    rows = [ROW | {"name": name} for name in ("a", "b")]

    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert "g.name = 'bootstrap'" in stdin
        assert "AT TIME ZONE 'UTC'" in stdin
        return Completed(0, json.dumps(rows), "")

    assert [found.name for found in read(wanted(), fake)] == ["a", "b"]
    assert [found.name for found in read(wanted(["b", "c"]), fake)] == ["b"]


@pytest.mark.parametrize(
    ("ages", "seconds", "wrong"), [([99, 99, 5], 4, False), ([99] * 100, 10, True), ([5], 0, False)]
)
def test_waiting(ages: list[float], seconds: float, wrong: bool) -> None:
    now = 0.0
    observations = iter(ages)

    def pause(length: float) -> None:
        nonlocal now
        now += length

    _instances, found = wait(lambda: [instance("w", next(observations))], wanted(["w"], 35, 10), lambda: now, pause)
    assert bool(found) is wrong
    assert now == seconds


def test_a_heartbeat_from_before_the_start_is_not_new() -> None:
    now = 0.0

    def pause(length: float) -> None:
        nonlocal now
        now += length

    def observe() -> list[Instance]:
        # The process before sent its last one 2 s before the start, the new one sends its first 8 s after it.
        return [instance("w", now + 2 if now < 8 else now - 8)]

    parameters = replace(wanted(["w"], 35, 20), only_new=True)
    assert wait(observe, parameters, lambda: now, pause)[1] == {}
    assert now == 8


@pytest.mark.parametrize(
    ("seen", "before", "counts"),
    [
        (connected("w", 2), {"w": BEFORE}, True),
        (connected("w", 2, heartbeat=50), {"w": BEFORE}, True),
        (connected("w", 2), {}, True),
        # The old supervisor may have sent it, or connected.
        (instance("w", 2, SINCE), {"w": BEFORE}, False),
        (connected("w", 2, BEFORE), {"w": BEFORE}, False),
        (connected("w", 2), None, False),
    ],
)
def test_a_new_supervisor_that_connects_is_enough(seen: Instance, before: dict[str, str] | None, counts: bool) -> None:
    parameters = replace(wanted(["w"], 35), only_new=True, contact_before=before)
    assert (faults([seen], parameters, elapsed=1) == {}) is counts


@pytest.mark.parametrize(("ago", "accepted", "counts"), [(35, True, True), (36, True, False), (1, False, False)])
def test_one_that_has_connected_may_be_enough(ago: float, accepted: bool, counts: bool) -> None:
    parameters = replace(wanted(["w"], 35), accept_connected=accepted)
    assert (faults([connected("w", ago, heartbeat=99)], parameters) == {}) is counts


def test_module(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat >/dev/null; echo '{json.dumps([ROW])}'\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = invoke(worker_instance_info.main, database={"container": "pg"})
    assert result["worker_instances"] == [
        {
            "name": "w",
            "group": "bootstrap",
            "last_heartbeat_age_seconds": 40.5,
            "last_contact_age_seconds": 40.5,
            "last_contact_at": BEFORE,
            "connected_last": False,
            "created_at": "2026-01-31T12:00:00Z",
        }
    ]
    failed = invoke(worker_instance_info.main, database={"container": "pg"}, names=["w"], max_age=35)
    assert failed["failed"]
    assert "w  last heartbeat 40 s ago" in failed["msg"]
    assert failed["worker_instances"] == result["worker_instances"]
    assert "names" in invoke(worker_instance_info.main, database={"container": "pg"}, max_age=35)["msg"]
    told = invoke(worker_instance_info.main, database={"container": "pg"}, names=["w", "x"], max_age=35, failing=False)
    assert (told["changed"], told["worker_instances"]) == (False, result["worker_instances"])
    assert told["checks"] == [
        {"what": "heartbeat of w", "ok": False, "detail": "last heartbeat 40 s ago"},
        {"what": "heartbeat of x", "ok": False, "detail": "never connected"},
    ]
    well = invoke(worker_instance_info.main, database={"container": "pg"}, names=["w"], max_age=60)
    assert well["checks"] == [{"what": "heartbeat of w", "ok": True, "detail": "40 s ago"}]
    assert result["checks"] == []
    rows = json.dumps([ROW | {"heartbeat_age": None, "contact_age": 12.0, "connected_last": True}])
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat >/dev/null; echo '{rows}'\n")
    asked = {"names": ["w"], "max_age": 35, "accept_connected": True, "failing": False}
    (row,) = invoke(worker_instance_info.main, database={"container": "pg"}, **asked)["checks"]
    detail = "connected 12 s ago, no heartbeat since"
    assert row == {"what": "heartbeat of w", "ok": True, "warning": True, "detail": detail}


@pytest.mark.parametrize("failing", [True, False])
def test_a_database_that_does_not_answer(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, failing: bool
) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'it is gone' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = {"names": ["w"], "max_age": 35, "failing": failing}
    found = invoke(worker_instance_info.main, database={"container": "pg"}, **asked)
    assert found.get("failed", False) is failing
    assert found["worker_instances"] == []
    said = found["msg"] if failing else found["checks"][0]["detail"]
    assert "Cannot read the worker instances from" in said
    assert "it is gone" in said
    assert [(row["what"], row["ok"]) for row in found["checks"]] == (
        [] if failing else [("heartbeats of bootstrap", False)]
    )
