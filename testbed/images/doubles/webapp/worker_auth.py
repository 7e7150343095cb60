# SPDX-License-Identifier: MIT
"""Worker groups: how a token authenticates, and the group that the first start makes."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2.errors

from doubles.webapp.database import Cursor, Row, insert
from doubles.webapp.ids import identifier, sha256, worker_token
from doubles.webapp.log import log, plain
from doubles.webapp.state import State

REFUSED = {"error": "Invalid or missing worker token"}
DEFAULT_FLAG = "defaultWorkerInstanceGroupId"
# A positive answer is remembered this long per token and instance, so an old token survives a rotation for a while.
CACHE_SECONDS = 600.0
INSTANCE, SECRET = "x-trigger-worker-instance-name", "x-trigger-worker-managed-secret"


@dataclass
class TokenCache:
    """Hits are kept, misses are not: a new token works at once."""

    life: float = CACHE_SECONDS
    entries: dict[tuple[str, str], tuple[float, Row]] = field(default_factory=dict)

    def get(self, token: str, instance: str, now: float) -> Row | None:
        made, group = self.entries.get((token, instance), (0.0, None))
        return group if group is not None and now - made < self.life else None

    def put(self, token: str, instance: str, group: Row, now: float) -> None:
        self.entries[token, instance] = (now, group)


@dataclass(frozen=True)
class Worker:
    group: Row
    instance: Row


class WorkerAuthentication:
    def __init__(self, state: State) -> None:
        self.state = state
        self.cache = TokenCache()

    async def authenticate(self, headers: Mapping[str, str]) -> Worker | None:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        name = headers.get(INSTANCE, "")
        if scheme != "Bearer" or not token.startswith("tr_wgt_"):
            log("error", "[WorkerGroupTokenService] Token does not start with expected prefix", token=token)
            return None
        if not name:
            log("error", "[WorkerGroupTokenService] No instance name sent in request", headers=dict(headers))
            return None
        group = self.cache.get(token, name, time.monotonic())
        if group is None:
            group = await self.state.database.one(
                'SELECT g.* FROM "WorkerInstanceGroup" g JOIN "WorkerGroupToken" t ON t.id = g."tokenId" '
                'WHERE t."tokenHash" = %s',
                (sha256(token),),
            )
            if group is None:
                log("warn", "[WorkerGroupTokenService] No matching worker group found", token=token)
                return None
            self.cache.put(token, name, group, time.monotonic())
        if group["type"] == "MANAGED" and not hmac.compare_digest(
            headers.get(SECRET, "").encode(), self.state.settings.managed_worker_secret.encode()
        ):
            log("error", "[WorkerGroupTokenService] Managed secret mismatch", headers=dict(headers))
            return None
        return Worker(group, await self._instance(group, name))

    async def _instance(self, group: Row, name: str) -> Row:
        def job(cursor: Cursor) -> Row:
            cursor.execute(
                'INSERT INTO "WorkerInstance" (id, name, "resourceIdentifier", "workerGroupId", "updatedAt") '
                "VALUES (%s, %s, %s, %s, clock_timestamp() AT TIME ZONE 'UTC') "
                'ON CONFLICT ("workerGroupId", "resourceIdentifier") DO NOTHING',
                (identifier(), name, name, group["id"]),
            )
            cursor.execute(
                'SELECT * FROM "WorkerInstance" WHERE "workerGroupId" = %s AND "resourceIdentifier" = %s',
                (group["id"], name),
            )
            return dict(cursor.fetchone())

        row: Row = await self.state.database.transaction(job)
        return row


def make_group(cursor: Cursor, name: str, description: str | None) -> tuple[Row, str, str]:
    """Group and token; the first group becomes the default of the whole installation."""
    token = worker_token()
    row = insert(cursor, "WorkerGroupToken", id=identifier(), tokenHash=sha256(token))
    group = insert(
        cursor,
        "WorkerInstanceGroup",
        id=identifier(),
        type="MANAGED",
        name=name,
        masterQueue=name,
        description=description,
        tokenId=row["id"],
    )
    cursor.execute(
        'INSERT INTO "FeatureFlag" (id, key, value) VALUES (%s, %s, to_jsonb(%s::text)) ON CONFLICT (key) DO NOTHING',
        (identifier(), DEFAULT_FLAG, group["id"]),
    )
    return group, token, row["id"]


async def default_group(state: State) -> Row | None:
    return await state.database.one(
        'SELECT g.* FROM "WorkerInstanceGroup" g JOIN "FeatureFlag" f ON f.value #>> \'{}\' = g.id WHERE f.key = %s',
        (DEFAULT_FLAG,),
    )


def write_token(path: Path, token: str) -> None:
    """Folder 0755 when missing, file 0600 when new; an existing file is overwritten and keeps its mode."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)


async def bootstrap(state: State) -> None:
    """Runs beside the start. The group is committed before the file is written: a failure of the latter is for ever."""
    name = state.environment.get("TRIGGER_BOOTSTRAP_WORKER_GROUP_NAME", "")
    if "no_bootstrap" in state.quirks:
        return
    try:
        found = await state.database.one('SELECT id FROM "WorkerInstanceGroup" WHERE name = %s', (name,))
        if found:
            plain(f"[bootstrap] Worker group {name} already exists")
            return
        made: tuple[Any, str, str] = await state.database.transaction(lambda cursor: make_group(cursor, name, None))
        token = made[1]
        line = "=" * 58
        plain(
            f"{line}\nTrigger.dev Bootstrap - Worker Token\n\n"
            "WARNING: This will only be shown once. Save it now!\n\n"
            f"Worker group:\n{name}\n\nToken:\n{token}\n\n"
            "If using docker compose, set this value:\n"
            f"TRIGGER_WORKER_TOKEN={token}\n\n"
            "or, if you are using a shared folder:\n"
            f"TRIGGER_WORKER_TOKEN=file://{state.environment.get('TRIGGER_BOOTSTRAP_WORKER_TOKEN_PATH', '')}\n{line}"
        )
        path = state.environment.get("TRIGGER_BOOTSTRAP_WORKER_TOKEN_PATH")
        if path:
            write_token(Path(path), token)
            plain(f"[bootstrap] Worker token saved to {path}")
    except (OSError, psycopg2.Error) as failure:
        code = "EACCES: permission denied: " if isinstance(failure, PermissionError) else ""
        log("error", "Failed to create worker group", error=f"{code}{failure}")
