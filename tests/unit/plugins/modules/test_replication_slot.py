# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database, DatabaseError
from ansible_collections.selfhosted.trigger_dev.plugins.modules import replication_slot
from ansible_collections.selfhosted.trigger_dev.plugins.modules.replication_slot import (
    Parameters,
    must_change,
    replace,
    settled,
)

Invoke = Callable[..., dict[str, Any]]


def never(_seconds: float) -> None:
    pytest.fail("it waits")


WANTED = Parameters(Database("pg", "main", "postgres"), "runs", True, 3)


class Server:
    """A server with one slot; a reader lets go of it after some attempts to remove it."""

    def __init__(self, *states: str, held: int = 0) -> None:
        self.states = list(states)
        self.held = held
        self.asked: list[str] = []

    @property
    def state(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert "'runs'" in stdin
        rows: list[dict[str, str]] = []
        if "pg_drop_replication_slot" in stdin:
            self.asked.append("drop")
            self.held -= 1
            if self.held < 0:
                self.states = ["missing"]
        elif "pg_create_logical" in stdin:
            self.asked.append("create")
            self.states = ["unread"]
        else:
            state = self.state
            rows = [] if state == "missing" else [{"state": state}]
        return Completed(0, json.dumps(rows), "")


@pytest.mark.parametrize(
    ("found", "create", "changes"),
    [
        ("read", True, False),
        ("unread", True, False),
        ("lost", True, True),
        ("lost", False, True),
        ("missing", True, True),
        ("missing", False, False),
    ],
)
def test_what_is_changed(found: str, create: bool, changes: bool) -> None:
    assert must_change(found, create) is changes


def test_a_reader_that_is_starting_is_waited_for() -> None:
    pauses: list[float] = []
    assert settled(WANTED, Server("unread", "unread", "read"), pauses.append) == "read"
    assert pauses == [1, 1]
    assert settled(WANTED, Server("unread"), pauses.append) == "unread"
    assert settled(WANTED, Server("missing"), never) == "missing"


def test_a_lost_slot_is_replaced() -> None:
    server = Server("lost")
    replace(WANTED, "lost", server, never)
    assert server.asked == ["drop", "create"]


def test_a_missing_slot_is_created() -> None:
    server = Server("missing")
    replace(WANTED, "missing", server, never)
    assert server.asked == ["create"]


def test_a_slot_of_a_reader_that_creates_it_is_only_removed() -> None:
    server = Server("lost")
    replace(Parameters(WANTED.database, "runs", False, 3), "lost", server, never)
    assert server.asked == ["drop"]


def test_a_reader_that_tries_again_is_waited_for() -> None:
    pauses: list[float] = []
    server = Server("lost", held=2)
    replace(WANTED, "lost", server, pauses.append)
    assert server.asked == ["drop", "drop", "drop", "create"]
    with pytest.raises(DatabaseError, match="does not let go of it"):
        replace(WANTED, "lost", Server("lost", held=9), pauses.append)


@pytest.mark.parametrize("check", [True, False])
def test_a_dry_run_predicts(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    server = Server("lost")
    monkeypatch.setattr(replication_slot, "run", server)
    result = invoke(replication_slot.main, check=check, database={"container": "pg"}, name="runs")
    assert result["changed"] is True
    assert result["replication_slot"] == {"name": "runs", "found": "lost", "read": False}
    assert result["diff"] == {"before": "lost\n", "after": "unread\n"}
    assert server.asked == ([] if check else ["drop", "create"])


def test_a_slot_that_is_read_is_left_alone(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("read")
    monkeypatch.setattr(replication_slot, "run", server)
    result = invoke(replication_slot.main, database={"container": "pg"}, name="runs")
    assert (result["changed"], result["replication_slot"]["read"], server.asked) == (False, True, [])


def test_a_dead_database_is_an_error(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication_slot, "run", lambda *_, **__: Completed(1, "", "no such container"))
    result = invoke(replication_slot.main, database={"container": "pg"}, name="runs")
    assert "Cannot have the replication slot runs" in result["msg"]
    assert "no such container" in result["msg"]
