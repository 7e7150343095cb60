# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _clickhouse
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database, DatabaseError
from ansible_collections.selfhosted.trigger_dev.plugins.modules import replication_gap
from ansible_collections.selfhosted.trigger_dev.plugins.modules.replication_gap import (
    Stores,
    batches,
    opened,
    send,
    wait,
)

Invoke = Callable[..., dict[str, Any]]
HOUR = 3_600_000


class World:
    """Both databases in memory: run -> (time of its trigger, time of its last change), in ms."""

    def __init__(self, runs: dict[str, tuple[int, int]], known: dict[str, tuple[int, int, int]]) -> None:
        self.runs = runs
        # The same, and the version.
        self.known = known
        self.position = 1000
        self.replicates = True
        self.touched: list[str] = []

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if argv[1] == "container":
            return Completed(0, '[false, {"a": {"IPAddress": "10.1.2.3"}}]', "")
        rows: list[dict[str, Any]]
        if "pg_current_wal_lsn" in stdin:
            rows = [{"position": self.position}]
        elif "UPDATE" in stdin:
            found = re.search(r"string_to_array\('([^']*)'", stdin)
            assert found
            for name in found[1].split(","):
                self.touched.append(name)
                self.position += 1
                # What a later version hides stays hidden.
                if self.replicates and self.known.get(name, (0, 0, 0))[2] < self.position:
                    self.known[name] = (*self.runs[name], self.position)
            rows = []
        elif "GROUP BY" in stdin:
            rows = [{"hour": hour, "runs": number, "changes": str(sum_)} for hour, number, sum_ in sums(self.runs)]
        else:
            found = re.search(r">= to_timestamp\('(\d+)'", stdin)
            assert found
            chosen = {name: row for name, row in self.runs.items() if row[0] // HOUR == int(found[1])}
            rows = [{"id": name, "changed": row[1]} for name, row in chosen.items()]
        assert "UPDATE" in stdin or "pg_current" in stdin or '"environmentType" IS NOT NULL' in stdin
        return Completed(0, json.dumps(rows), "")

    def ask(self, statement: str) -> str:
        if "GROUP BY" in statement:
            return "\n".join("\t".join(map(str, row)) for row in sums(self.known))
        hour = int(re.findall(r"\((\d+) \* 3600000", statement)[0])
        rows = {name: row for name, row in self.known.items() if row[0] // HOUR == hour}
        return "\n".join(f"{name}\t{row[1]}\t{row[2]}" for name, row in rows.items())

    def stores(self) -> Stores:
        return opened(Database("pg", "main", "postgres"), self, self)  # type: ignore[arg-type]


def sums(runs: dict[str, Any]) -> list[tuple[int, int, int]]:
    hours = sorted({row[0] // HOUR for row in runs.values()})
    of = {hour: [row for row in runs.values() if row[0] // HOUR == hour] for hour in hours}
    return [(hour, len(of[hour]), sum(row[1] for row in of[hour])) for hour in hours]


LEVEL = {"a": (5, 10), "b": (HOUR + 5, HOUR + 10)}


def world() -> World:
    return World(dict(LEVEL), {name: (*row, 1) for name, row in LEVEL.items()})


def test_nothing_is_missed_where_all_is_equal() -> None:
    found = world()
    assert found.stores().different_hours() == []
    assert found.stores().missed() == {}


def test_runs_that_are_missing_or_older_are_missed() -> None:
    found = world()
    found.runs |= {"a": (5, 11), "c": (2 * HOUR, 2 * HOUR + 1), "d": (7, 8)}
    assert found.stores().missed() == {0: {"a": 11, "d": 8}, 2: {"c": 2 * HOUR + 1}}


def test_runs_that_only_clickhouse_has_stay() -> None:
    found = world()
    found.known["gone"] = (6, 7, 1)
    assert found.stores().different_hours() == [0]
    assert found.stores().missed() == {}


def test_what_a_later_version_hides_is_left() -> None:
    """The webapp's own backfill writes versions above every position: such a run would be sent for ever."""
    found = world()
    found.known["a"] = (5, 9, 2**60)
    assert found.stores().missed() == {}


def test_changes_under_way_are_waited_for() -> None:
    found = world()
    found.runs["a"] = (5, 11)
    stores, pauses = found.stores(), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            found.known["a"] = (5, 11, 2)

    assert wait(stores, stores.missed(), 15, pause) == {}
    assert pauses == [1, 1]


def test_missed_runs_are_sent() -> None:
    found = world()
    found.runs |= {"a": (5, 11), "c": (2 * HOUR, 2 * HOUR + 1)}
    stores = found.stores()
    send(stores, stores.missed(), 5, lambda _: None)
    assert sorted(found.touched) == ["a", "c"]
    assert found.stores().missed() == {}


def test_a_webapp_that_replicates_nothing_is_an_error() -> None:
    found = world()
    found.runs["a"] = (5, 11)
    found.replicates = False
    stores = found.stores()
    with pytest.raises(DatabaseError, match="1 runs were not there 5 s after"):
        send(stores, stores.missed(), 5, lambda _: None)


def test_batches_are_small_and_the_oldest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication_gap, "BATCH", 2)
    missed = {3: {"c": 3}, 1: {"a": 1, "b": 2}}
    assert list(batches(missed)) == [{1: {"a": 1, "b": 2}}, {3: {"c": 3}}]


@pytest.mark.parametrize("check", [True, False])
def test_a_dry_run_predicts(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    found = world()
    found.runs["a"] = (5, 11)
    seen: list[_clickhouse.Server] = []

    def ask(server: _clickhouse.Server, statement: str) -> str:
        seen.append(server)
        return found.ask(statement)

    monkeypatch.setattr(replication_gap, "run", found)
    monkeypatch.setattr(_clickhouse.Server, "ask", ask)
    result = invoke(
        replication_gap.main,
        check=check,
        database={"container": "pg"},
        clickhouse_url="http://trigger@trigger-clickhouse:8123",
        clickhouse_password="pass word",
        clickhouse_container="ch",
        patience=0,
    )
    assert (result["changed"], result["replication_gap"]) == (True, {"runs": 1})
    assert found.touched == ([] if check else ["a"])
    assert {(server.origin.endpoint.host, server.user, server.password) for server in seen} == {
        ("10.1.2.3", "trigger", "pass word")
    }
    assert "pass word" not in repr(seen[0])


def test_a_container_that_does_not_run_is_an_error() -> None:
    server = _clickhouse.server("http://trigger@trigger-clickhouse:8123", "", "")
    for answer in (Completed(1, "", "no such container"), Completed(0, '[false, {"a": {"IPAddress": ""}}]', "")):
        with pytest.raises(ServiceError, match="The container ch does not run"):
            _clickhouse.in_container(server, "ch", lambda *_, answer=answer, **__: answer, 5)
    assert _clickhouse.in_container(server, "", pytest.fail, 5).origin.endpoint.host == "trigger-clickhouse"  # type: ignore[arg-type]
