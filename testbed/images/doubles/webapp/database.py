# SPDX-License-Identifier: MIT
"""Queries in threads over a bounded pool; a connection that the server closed is replaced once, unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg2
import psycopg2.extras

from doubles.postgres import connection_arguments

Row = dict[str, Any]
Cursor = Any


class Database:
    def __init__(self, url: str, size: int) -> None:
        self.arguments = connection_arguments(url)
        self.free: list[Any] = []
        self.slots = asyncio.Semaphore(max(size, 1))

    def _work(self, job: Callable[[Cursor], Any]) -> Any:
        try:
            connection, reused = self.free.pop(), True
        except IndexError:
            connection, reused = psycopg2.connect(**self.arguments), False
        try:
            with connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                result = job(cursor)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            with suppress(psycopg2.Error):
                connection.close()
            if not reused:
                raise
            self.free.clear()
            return self._work(job)
        except BaseException:
            connection.close()
            raise
        self.free.append(connection)
        return result

    async def transaction(self, job: Callable[[Cursor], Any]) -> Any:
        async with self.slots:
            return await asyncio.to_thread(self._work, job)

    async def all(self, statement: str, arguments: Sequence[Any] = ()) -> list[Row]:
        def job(cursor: Cursor) -> list[Row]:
            cursor.execute(statement, arguments)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

        rows: list[Row] = await self.transaction(job)
        return rows

    async def one(self, statement: str, arguments: Sequence[Any] = ()) -> Row | None:
        rows = await self.all(statement, arguments)
        return rows[0] if rows else None


def insert(cursor: Cursor, table: str, **columns: Any) -> Row:
    """Insert a row; `updatedAt` is filled in as Prisma does."""
    values = dict(columns)
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(["%s"] * len(values))
    cursor.execute(
        f'INSERT INTO "{table}" ({names}, "updatedAt") '
        f"VALUES ({marks}, clock_timestamp() AT TIME ZONE 'UTC') RETURNING *",
        [psycopg2.extras.Json(value) if isinstance(value, dict) else value for value in values.values()],
    )
    return dict(cursor.fetchone())
