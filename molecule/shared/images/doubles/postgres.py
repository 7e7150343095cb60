# SPDX-License-Identifier: MIT
"""PostgreSQL for the doubles: addresses as Prisma and Electric write them, and logical replication."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# Parameters of the address that libpq knows; the others (schema, connection_limit ...) belong to Prisma.
LIBPQ = ("sslmode", "sslrootcert", "connect_timeout", "application_name")


def connection_arguments(url: str) -> dict[str, Any]:
    """libpq's keywords from an address whose user and password are percent-encoded."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.hostname:
        raise ValueError("not a PostgreSQL address")
    found = {
        "host": parts.hostname,
        "port": str(parts.port or 5432),
        "user": unquote(parts.username or "postgres"),
        "password": unquote(parts.password or ""),
        "dbname": unquote(parts.path.lstrip("/")) or "postgres",
        "connect_timeout": "10",
    }
    given = parse_qs(parts.query)
    return {**found, **{name: given[name][-1] for name in LIBPQ if name in given}}


def prepare_replication(url: str, slot: str, publication: str, tables: str = "") -> None:
    """Make publication and slot where they are not there yet, as whoever follows them does at its start."""
    import psycopg2

    connection: Any = psycopg2.connect(**connection_arguments(url))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (publication,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE PUBLICATION "{publication}" {tables}')
            cursor.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (slot,))
            if cursor.fetchone() is None:
                cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
    finally:
        connection.close()


def stream(
    url: str, slot: str, publication: str, on_message: Callable[[bytes, int], bool], stop: threading.Event
) -> None:
    """Follow the slot until told to stop. `on_message` gets each message and says whether all before it is safe."""
    import psycopg2
    import psycopg2.extras

    connection: Any = psycopg2.connect(
        **connection_arguments(url), connection_factory=psycopg2.extras.LogicalReplicationConnection
    )
    try:
        cursor = connection.cursor()
        cursor.start_replication(
            slot_name=slot,
            decode=False,
            status_interval=10,
            options={"proto_version": "1", "publication_names": publication},
        )
        while not stop.is_set():
            message = cursor.read_message()
            if message is None:
                select.select([cursor], [], [], 1)
                cursor.send_feedback()
            elif on_message(message.payload, message.data_start):
                cursor.send_feedback(flush_lsn=message.data_start)
    finally:
        connection.close()
