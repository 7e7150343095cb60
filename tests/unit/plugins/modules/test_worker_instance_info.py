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
from ansible_collections.selfhosted.trigger_dev.plugins.modules import worker_instance_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.worker_instance_info import (
    Instance,
    Parameters,
    faults,
    message,
    read,
    wait,
)

Invoke = Callable[..., dict[str, Any]]


def instance(name: str, age: float | None) -> Instance:
    return Instance(name, "bootstrap", age, "2026-01-31T12:00:00Z")


def wanted(names: Sequence[str] | None = None, max_age: int | None = None, timeout: int = 0) -> Parameters:
    return Parameters(Database("pg", "main", "postgres"), "bootstrap", names, max_age, timeout)


def test_faults_of_each_kind() -> None:
    seen = [instance("fresh", 35.0), instance("stale", 35.1), instance("silent", None), instance("former", 9e9)]
    assert faults(seen, wanted(["fresh", "stale", "silent", "missing"], 35)) == {
        "stale": "last heartbeat 35 s ago",
        "silent": "connected, but never sent a heartbeat",
        "missing": "never connected",
    }


def test_nothing_is_required_without_max_age() -> None:
    assert faults([], wanted(["missing"])) == {}


def test_the_message_is_a_table() -> None:
    text = message({"worker1": "never connected", "w2": "last heartbeat 99 s ago"}, wanted([], 35, 90))
    assert "  worker1  never connected\n  w2       last heartbeat 99 s ago\n" in text


def test_names_filter_the_rows() -> None:
    rows = [{"name": name, "group_name": "bootstrap", "age": 1.0, "created_at": "t"} for name in ("a", "b")]

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


def test_module(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"name": "w", "group_name": "bootstrap", "age": 40.5, "created_at": "2026-01-31T12:00:00Z"}
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat >/dev/null; echo '{json.dumps([row])}'\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = invoke(worker_instance_info.main, database={"container": "pg"})
    assert result["worker_instances"] == [
        {
            "name": "w",
            "group": "bootstrap",
            "last_heartbeat_age_seconds": 40.5,
            "created_at": "2026-01-31T12:00:00Z",
        }
    ]
    failed = invoke(worker_instance_info.main, database={"container": "pg"}, names=["w"], max_age=35)
    assert failed["failed"]
    assert "w  last heartbeat 40 s ago" in failed["msg"]
    assert failed["worker_instances"] == result["worker_instances"]
    assert "names" in invoke(worker_instance_info.main, database={"container": "pg"}, max_age=35)["msg"]
