# SPDX-License-Identifier: MIT
"""Runs to ClickHouse through logical replication: one leader, one slot, one publication."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import psycopg2
from redis.exceptions import RedisError

from doubles.postgres import prepare_replication, stream
from doubles.rules import number
from doubles.webapp.clickhouse import ClickHouseError, query
from doubles.webapp.ids import random_text
from doubles.webapp.log import log
from doubles.webapp.pgoutput import Change, Commit, Decoder, Row
from doubles.webapp.state import State

RETRIES = 3
# Column in ClickHouse -> column of "TaskRun".
COLUMNS = {
    "environment_id": "runtimeEnvironmentId", "organization_id": "organizationId", "project_id": "projectId",
    "run_id": "id", "environment_type": "environmentType", "friendly_id": "friendlyId", "engine": "engine",
    "status": "status", "worker_queue": "workerQueue", "queue": "queue", "task_identifier": "taskIdentifier",
    "created_at": "createdAt", "updated_at": "updatedAt", "started_at": "startedAt", "executed_at": "executedAt",
    "completed_at": "completedAt",
}  # fmt: skip


def parsed(text: str | None) -> Any:
    """The JSON columns hold an object with the value below `data`."""
    if text is None:
        return {}
    try:
        return {"data": json.loads(text)}
    except ValueError:
        return {"data": text}


def clickhouse_row(change: Change, version: int) -> dict[str, Any]:
    source: Row = change.row
    return {
        **{target: source.get(name) for target, name in COLUMNS.items()},
        "attempt": int(source.get("attemptNumber") or 1),
        "output": parsed(source.get("output")),
        "error": parsed(source.get("error")),
        "_version": version,
        "_is_deleted": int(change.kind == "delete"),
    }


class Replication:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.database_url = environment["DATABASE_URL"]
        self.clickhouse_url = environment["RUN_REPLICATION_CLICKHOUSE_URL"]
        self.slot = environment.get("RUN_REPLICATION_SLOT_NAME", "task_runs_to_clickhouse_v1")
        self.publication = environment.get("RUN_REPLICATION_PUBLICATION_NAME", "task_runs_to_clickhouse_v1_publication")
        self.lock_seconds = max(1, int(number(environment, "RUN_REPLICATION_LEADER_LOCK_TIMEOUT_MS", 30000) / 1000))
        self.stop = threading.Event()
        self.decoder = Decoder()
        self.rows: list[dict[str, Any]] = []

    def on_message(self, payload: bytes, position: int) -> bool:
        match self.decoder.decode(payload):
            case Change(table="TaskRun") as change:
                self.rows.append(clickhouse_row(change, position))
            case Commit():
                rows, self.rows = self.rows, []
                self.flush(rows)
                return True
        return False

    def flush(self, rows: list[dict[str, Any]]) -> None:
        """Tried a few times; after that the rows are lost, with a line in the log, as in the original."""
        if not rows:
            return
        data = "\n".join(json.dumps(row) for row in rows).encode()
        for attempt in range(RETRIES + 1):
            try:
                query(self.clickhouse_url, "INSERT INTO trigger_dev.task_runs_v2 FORMAT JSONEachRow", data)
                return
            except ClickHouseError as failure:
                log("error", "[RunsReplicationService] Error inserting task runs", attempt=attempt, error=str(failure))
                time.sleep(0.1 * 2**attempt)

    def follow(self) -> None:
        try:
            prepare_replication(self.database_url, self.slot, self.publication, 'FOR TABLE "TaskRun"')
            log("info", "Runs replication service started", slot=self.slot, publication=self.publication)
            stream(self.database_url, self.slot, self.publication, self.on_message, self.stop)
        except psycopg2.Error as failure:
            log("error", "[RunsReplicationService] Replication failed", error=str(failure).strip())

    async def lead(self, state: State) -> None:
        """The leader's lock in Redis decides which replica follows the slot; it is released at the end."""
        key, mine = f"runs-replication:logical-replication-client:{self.slot}", random_text(16)
        while not await state.patiently(lambda: state.redis.set(key, mine, nx=True, ex=self.lock_seconds)):
            await asyncio.sleep(0.5)
        worker = threading.Thread(target=self.follow, daemon=True)
        worker.start()
        try:
            while worker.is_alive():
                await asyncio.sleep(self.lock_seconds / 3)
                await state.patiently(lambda: state.redis.expire(key, self.lock_seconds))
        finally:
            self.stop.set()
            await asyncio.to_thread(worker.join, 3)
            try:
                await asyncio.wait_for(state.redis.delete(key), 2)
            except (RedisError, OSError, TimeoutError) as failure:
                log("error", "Leader lock was not released", error=str(failure))
