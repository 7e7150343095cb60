# SPDX-License-Identifier: MIT
"""The run engine: states of a run in Postgres, queues in Redis, and what happens when a worker does not answer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import psycopg2

from doubles.webapp.database import Cursor, Row, insert
from doubles.webapp.ids import identifier
from doubles.webapp.log import log
from doubles.webapp.state import State, compact
from doubles.webapp.worker_auth import Worker

MACHINES = {
    "micro": (0.25, 0.25), "small-1x": (0.5, 0.5), "small-2x": (1.0, 1.0), "medium-1x": (1.0, 2.0),
    "medium-2x": (2.0, 4.0), "large-1x": (4.0, 8.0), "large-2x": (8.0, 16.0),
}  # fmt: skip
API_STATUS = {
    "PENDING": "QUEUED", "PENDING_VERSION": "PENDING_VERSION", "WAITING_FOR_DEPLOY": "PENDING_VERSION",
    "DEQUEUED": "DEQUEUED", "EXECUTING": "EXECUTING", "COMPLETED_SUCCESSFULLY": "COMPLETED",
    "COMPLETED_WITH_ERRORS": "FAILED", "SYSTEM_FAILURE": "SYSTEM_FAILURE", "CRASHED": "CRASHED",
    "CANCELED": "CANCELED", "EXPIRED": "EXPIRED", "TIMED_OUT": "TIMED_OUT",
}  # fmt: skip
# Extra seconds after the time-out before a run that nobody started is offered again: measured from the distances
# between the attempts of a run that no worker could start (47, 68, 72, 81, 104, 159, 272 and 531 s).
PAUSES = (0, 8, 12, 21, 44, 99, 212, 471)


class RunError(Exception):
    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def queue_key(name: str) -> str:
    return f"engine:runqueue:workerQueue:{name}"


def pause(tries: int) -> int:
    return PAUSES[min(max(tries - 1, 0), len(PAUSES) - 1)]


def snapshot(cursor: Cursor, run: Row, execution: str, status: str, description: str, **columns: Any) -> Row:
    return insert(
        cursor,
        "TaskRunExecutionSnapshot",
        id=identifier(),
        runId=run["id"],
        executionStatus=execution,
        runStatus=status,
        description=description,
        attemptNumber=run["attemptNumber"],
        **columns,
    )


def latest(cursor: Cursor, run_id: str) -> Row:
    cursor.execute(
        'SELECT * FROM "TaskRunExecutionSnapshot" WHERE "runId" = %s AND "isValid" ORDER BY "createdAt" DESC LIMIT 1',
        (run_id,),
    )
    return dict(cursor.fetchone())


def lock_run(cursor: Cursor, column: str, value: str) -> Row:
    cursor.execute(f'SELECT * FROM "TaskRun" WHERE "{column}" = %s FOR UPDATE', (value,))
    row = cursor.fetchone()
    if row is None:
        raise RunError("Run not found", 404)
    return dict(row)


def update_run(cursor: Cursor, run: Row, **columns: Any) -> Row:
    """Set columns; a value `now` in a timestamp column is the database's clock in UTC."""
    now = "clock_timestamp() AT TIME ZONE 'UTC'"
    parts = [f'"{name}" = ' + (now if value == "now" else "%s") for name, value in columns.items()]
    values = [value for value in columns.values() if value != "now"]
    cursor.execute(
        f'UPDATE "TaskRun" SET {", ".join(parts)}, "updatedAt" = {now} WHERE id = %s RETURNING *', [*values, run["id"]]
    )
    return dict(cursor.fetchone())


def snapshot_view(row: Row) -> Row:
    return {
        "id": row["id"], "friendlyId": f"snapshot_{row['id']}", "executionStatus": row["executionStatus"],
        "description": row["description"], "createdAt": row["createdAt"].isoformat() + "Z",
    }  # fmt: skip


class RunEngine:
    def __init__(self, state: State) -> None:
        self.state = state

    async def enqueue(self, run: Row) -> None:
        key = queue_key(run["workerQueue"])
        await self.state.patiently(lambda: self.state.redis.rpush(key, run["id"]))

    async def current_deployment(self, environment_id: str) -> Row | None:
        return await self.state.database.one(
            'SELECT * FROM "WorkerDeployment" WHERE "environmentId" = %s AND status = \'DEPLOYED\' '
            'ORDER BY "deployedAt" DESC LIMIT 1',
            (environment_id,),
        )

    async def trigger(
        self, environment: Row, task: str, payload: str, payload_type: str, group: Row, machine: str
    ) -> Row:
        deployment = await self.current_deployment(environment["id"])
        status = "PENDING" if deployment else "PENDING_VERSION"
        identity = identifier()

        def job(cursor: Cursor) -> Row:
            run = insert(
                cursor,
                "TaskRun",
                id=identity,
                friendlyId=f"run_{identity}",
                status=status,
                taskIdentifier=task,
                payload=payload,
                payloadType=payload_type,
                runtimeEnvironmentId=environment["id"],
                environmentType=environment["type"],
                projectId=environment["projectId"],
                organizationId=environment["organizationId"],
                queue=f"task/{task}",
                masterQueue=group["masterQueue"],
                workerQueue=group["masterQueue"],
                machinePreset=machine,
            )
            snapshot(cursor, run, "QUEUED" if deployment else "RUN_CREATED", status, "Run was created")
            return run

        run: Row = await self.state.database.transaction(job)
        if deployment:
            await self.enqueue(run)
        return run

    async def release_waiting(self, environment_id: str) -> None:
        """Runs that were triggered before there was anything to run."""

        def job(cursor: Cursor) -> list[Row]:
            cursor.execute(
                'SELECT * FROM "TaskRun" WHERE "runtimeEnvironmentId" = %s AND status = \'PENDING_VERSION\' FOR UPDATE',
                (environment_id,),
            )
            runs = [update_run(cursor, dict(row), status="PENDING") for row in cursor.fetchall()]
            for run in runs:
                snapshot(cursor, run, "QUEUED", "PENDING", "Run was queued after a deployment")
            return runs

        for run in await self.state.database.transaction(job):
            await self.enqueue(run)

    async def dequeue(self, worker: Worker) -> list[Row]:
        """A long poll that does not end with its request: when the caller has gone, the run is taken all the same."""
        key = queue_key(worker.group["masterQueue"])
        # The oldest request gets the next run, so requests that began together must not stay in one order for ever:
        # which of several workers takes a run is chance (measured).
        seconds = self.state.settings.dequeue_seconds + random.uniform(0, 1)
        found = await self.state.patiently(lambda: self.state.redis.blpop([key], timeout=seconds))
        if not found:
            return []
        message = await self._take(str(found[1]), worker)
        return [message] if message else []

    async def _take(self, run_id: str, worker: Worker) -> Row | None:
        def job(cursor: Cursor) -> tuple[Row, Row, Row] | None:
            run = lock_run(cursor, "id", run_id)
            if latest(cursor, run_id)["executionStatus"] != "QUEUED":
                return None
            cursor.execute(
                'SELECT d.* FROM "WorkerDeployment" d WHERE d."environmentId" = %s AND d.status = \'DEPLOYED\' '
                'ORDER BY d."deployedAt" DESC LIMIT 1',
                (run["runtimeEnvironmentId"],),
            )
            deployment = dict(cursor.fetchone())
            run = update_run(cursor, run, status="DEQUEUED", lockedAt="now", lockedToVersionId=deployment["id"])
            taken = snapshot(
                cursor,
                run,
                "PENDING_EXECUTING",
                "DEQUEUED",
                "Run was dequeued for execution",
                workerId=worker.instance["id"],
            )
            return run, taken, deployment

        result = await self.state.database.transaction(job)
        if result is None:
            return None
        run, taken, deployment = result
        cpu, memory = MACHINES[run["machinePreset"]]
        return {
            "version": "1",
            "dequeuedAt": taken["createdAt"].isoformat() + "Z",
            "snapshot": snapshot_view(taken),
            "image": deployment["imageReference"],
            "completedWaitpoints": [],
            "backgroundWorker": {"id": deployment["id"], "friendlyId": f"worker_{deployment['id']}",
                                 "version": deployment["version"]},
            "deployment": {"id": deployment["id"], "friendlyId": deployment["friendlyId"]},
            "run": {
                "id": run["id"], "friendlyId": run["friendlyId"], "isTest": False,
                "machine": {"name": run["machinePreset"], "cpu": cpu, "memory": memory, "centsPerMs": 0},
                "attemptNumber": (run["attemptNumber"] or 0) + 1, "masterQueue": run["masterQueue"], "traceContext": {},
            },
            "environment": {"id": run["runtimeEnvironmentId"], "type": run["environmentType"]},
            "organization": {"id": run["organizationId"]},
            "project": {"id": run["projectId"]},
        }  # fmt: skip

    async def start(self, run_id: str, snapshot_id: str, runner: str | None) -> Row:
        def job(cursor: Cursor) -> tuple[Row, Row, Row]:
            run = lock_run(cursor, "friendlyId", run_id)
            now = latest(cursor, run["id"])
            if f"snapshot_{now['id']}" != snapshot_id or now["executionStatus"] != "PENDING_EXECUTING":
                raise RunError("Snapshot changed", 400)
            first = {"startedAt": "now"} if run["startedAt"] is None else {}
            run = update_run(
                cursor,
                run,
                status="EXECUTING",
                executedAt="now",
                attemptNumber=(run["attemptNumber"] or 0) + 1,
                **first,
            )
            started = snapshot(
                cursor,
                run,
                "EXECUTING",
                "EXECUTING",
                "Attempt created, starting execution",
                workerId=now["workerId"],
                runnerId=runner,
            )
            cursor.execute(
                'SELECT e."apiKey", e.slug, e.type, p."externalRef", o.slug AS org FROM "RuntimeEnvironment" e '
                'JOIN "Project" p ON p.id = e."projectId" JOIN "Organization" o ON o.id = e."organizationId" '
                "WHERE e.id = %s",
                (run["runtimeEnvironmentId"],),
            )
            return run, started, dict(cursor.fetchone())

        run, started, environment = await self.state.database.transaction(job)
        origins = self.state.settings
        return {
            "run": {"id": run["id"], "friendlyId": run["friendlyId"], "attemptNumber": run["attemptNumber"],
                    "status": run["status"]},
            "snapshot": snapshot_view(started),
            "execution": {
                "task": {"id": run["taskIdentifier"]},
                "attempt": {"number": run["attemptNumber"], "startedAt": started["createdAt"].isoformat() + "Z"},
                "run": {"id": run["friendlyId"], "payload": run["payload"], "payloadType": run["payloadType"]},
                "environment": {"id": run["runtimeEnvironmentId"], "slug": environment["slug"],
                                "type": environment["type"]},
                "project": {"id": run["projectId"], "ref": environment["externalRef"]},
                "organization": {"id": run["organizationId"], "slug": environment["org"]},
            },
            "envVars": {
                "TRIGGER_API_URL": origins.api_origin,
                "TRIGGER_STREAM_URL": origins.stream_origin,
                "TRIGGER_SECRET_KEY": environment["apiKey"],
                "TRIGGER_PROJECT_REF": environment["externalRef"],
            },
        }  # fmt: skip

    async def complete(self, run_id: str, snapshot_id: str, completion: Row) -> Row:
        def job(cursor: Cursor) -> tuple[Row, Row]:
            run = lock_run(cursor, "friendlyId", run_id)
            now = latest(cursor, run["id"])
            if f"snapshot_{now['id']}" != snapshot_id or now["executionStatus"] != "EXECUTING":
                raise RunError("Snapshot changed", 400)
            succeeded = bool(completion.get("ok"))
            status = "COMPLETED_SUCCESSFULLY" if succeeded else "COMPLETED_WITH_ERRORS"
            columns = (
                {"output": completion.get("output"), "outputType": completion.get("outputType", "application/json")}
                if succeeded
                else {"error": compact(completion.get("error", {}))}
            )
            run = update_run(cursor, run, status=status, completedAt="now", **columns)
            done = snapshot(
                cursor,
                run,
                "FINISHED",
                status,
                "Task completed successfully" if succeeded else "Run failed",
                workerId=now["workerId"],
                runnerId=now["runnerId"],
            )
            return run, done

        run, done = await self.state.database.transaction(job)
        return {
            "result": {
                "attemptStatus": "RUN_FINISHED",
                "snapshot": snapshot_view(done),
                "run": {"id": run["id"], "friendlyId": run["friendlyId"], "status": run["status"]},
            }
        }

    async def heartbeat(self, snapshot_id: str) -> None:
        await self.state.database.all(
            'UPDATE "TaskRunExecutionSnapshot" SET "lastHeartbeatAt" = clock_timestamp() AT TIME ZONE \'UTC\' '
            "WHERE id = %s",
            (snapshot_id.removeprefix("snapshot_"),),
        )

    async def latest_snapshot(self, run_id: str) -> Row:
        def job(cursor: Cursor) -> Row:
            return latest(cursor, lock_run(cursor, "friendlyId", run_id)["id"])

        return snapshot_view(await self.state.database.transaction(job))

    async def sweep(self) -> None:
        """Runs whose worker or runner fell silent go back to the queue."""
        while True:
            await asyncio.sleep(1)
            try:
                for row in await self._stalled():
                    await self._requeue(row)
            except psycopg2.Error as failure:
                log("error", "Run engine could not look for stalled runs", error=str(failure))

    async def _stalled(self) -> list[Row]:
        rows = await self.state.database.all(
            'SELECT DISTINCT ON (s."runId") s.*, '
            "extract(epoch FROM clock_timestamp() AT TIME ZONE 'UTC' - "
            'coalesce(s."lastHeartbeatAt", s."createdAt"))::float AS age, '
            '(SELECT count(*) FROM "TaskRunExecutionSnapshot" p WHERE p."runId" = s."runId" '
            "AND p.\"executionStatus\" = 'PENDING_EXECUTING' "
            'AND p."attemptNumber" IS NOT DISTINCT FROM s."attemptNumber") AS tries '
            'FROM "TaskRunExecutionSnapshot" s JOIN "TaskRun" r ON r.id = s."runId" '
            "WHERE r.status IN ('DEQUEUED', 'EXECUTING') AND s.\"isValid\" "
            'ORDER BY s."runId", s."createdAt" DESC'
        )
        limits = self.state.settings
        return [
            row for row in rows
            if (row["executionStatus"] == "PENDING_EXECUTING"
                and row["age"] > limits.pending_executing_seconds + pause(row["tries"]))
            or (row["executionStatus"] == "EXECUTING" and row["age"] > limits.executing_seconds)
        ]  # fmt: skip

    async def _requeue(self, stalled: Row) -> None:
        def job(cursor: Cursor) -> Row | None:
            run = lock_run(cursor, "id", stalled["runId"])
            if latest(cursor, run["id"])["id"] != stalled["id"]:
                return None
            run = update_run(cursor, run, status="PENDING")
            text = "Requeued the run after a failure"
            snapshot(cursor, run, "QUEUED", "PENDING", text)
            return run

        run = await self.state.database.transaction(job)
        if run:
            log("info", "Requeued the run after a failure", runId=run["friendlyId"])
            await self.enqueue(run)
