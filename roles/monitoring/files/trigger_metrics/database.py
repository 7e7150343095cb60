# SPDX-License-Identifier: MIT
"""What the webapp's database tells of runs, workers and replication. Neither its metrics nor its API tell that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .command import Run
from .exposition import Sample
from .runs import ENDED, ENDED_QUERY, WAITING, WAITING_QUERY
from .slots import QUERY as SLOTS

SECONDS = 8
# In milliseconds, for a table with millions of runs. Shorter than the program waits: nothing goes on behind its back.
STATEMENT_TIMEOUT = 5000

WORKERS = """
SELECT w.name AS worker, g.name AS worker_group, extract(epoch FROM w."lastHeartbeatAt")::float AS heartbeat
FROM "WorkerInstance" w JOIN "WorkerInstanceGroup" g ON g.id = w."workerGroupId"
"""


class DatabaseError(Exception):
    """Its text says why there is no answer."""


class Database:
    """The bundled database, over its local socket, which asks for no password."""

    def __init__(self, run: Run, told: Mapping[str, str]) -> None:
        self.run, self.told = run, told

    def rows(self, query: str) -> list[dict[str, Any]]:
        argv = ["docker", "exec", "-i", "-u", "postgres", self.told["container"], "psql", "-X", "-q", "-A", "-t"]
        argv += ["-v", "ON_ERROR_STOP=1", "-U", self.told["user"], "-d", self.told["database"]]
        whole = f"SELECT coalesce(json_agg(found), '[]') FROM ({query}) AS found;\n"
        done = self.run(argv, stdin=f"SET statement_timeout = {STATEMENT_TIMEOUT};\n{whole}", timeout=SECONDS)
        if done.code != 0:
            raise DatabaseError(f"the database in {self.told['container']}: {done.error}")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


def waiting(database: Database) -> Iterator[Sample]:
    """Count runs that have not ended. A status that no run has is 0, so that what is over ends at once."""
    found = {row["status"]: row for row in database.rows(WAITING_QUERY)}
    for status in WAITING:
        row = found.get(status, {"number": 0, "age": 0.0})
        yield Sample("trigger_runs", row["number"], {"status": status})
        yield Sample("trigger_runs_oldest_age_seconds", max(0.0, row["age"]), {"status": status})


def ended(database: Database) -> Iterator[Sample]:
    found = {row["status"]: row["number"] for row in database.rows(ENDED_QUERY)}
    for status in ENDED:
        yield Sample("trigger_runs_ended_last_hour", found.get(status, 0), {"status": status})


def workers(database: Database, expected: Sequence[tuple[str, str, float]]) -> Iterator[Sample]:
    """Tell of heartbeats. Rows of workers that are gone stay for ever: what counts is the inventory."""
    for row in database.rows(WORKERS):
        # One that never sent any is as silent as one of 1970.
        labels = {"worker": row["worker"], "worker_group": row["worker_group"]}
        yield Sample("trigger_worker_heartbeat_timestamp_seconds", row["heartbeat"] or 0, labels)
    for worker, group, seconds in expected:
        yield Sample("trigger_worker_heartbeat_interval_seconds", seconds, {"worker": worker, "worker_group": group})


def slots(database: Database, names: Sequence[str], lag_max_bytes: float) -> Iterator[Sample]:
    yield Sample("trigger_replication_slot_lag_max_bytes", lag_max_bytes)
    found = {row["name"]: row for row in database.rows(SLOTS)}
    for name in dict.fromkeys([*names, *found]):
        labels = {"slot": name}
        row = found.get(name)
        yield Sample("trigger_replication_slot_present", row is not None, labels)
        if row is not None:
            lost = row["wal"] == "lost" or row["lag"] is None
            yield Sample("trigger_replication_slot_active", row["active"], labels)
            yield Sample("trigger_replication_slot_lost", lost, labels)
            if not lost:
                yield Sample("trigger_replication_slot_lag_bytes", max(0, row["lag"]), labels)
