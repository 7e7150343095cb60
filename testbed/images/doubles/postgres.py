# SPDX-License-Identifier: MIT
"""PostgreSQL for the doubles: addresses as Prisma, node-postgres and Electric read them, and logical replication."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# Parameters of the address that mean the same to all; the others (schema, connection_limit ...) belong to Prisma.
SHARED = ("connect_timeout", "application_name")
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"


def as_prisma(given: Mapping[str, str]) -> dict[str, str]:
    """Prisma knows three words, and looks at a certificate only when sslaccept is strict; its CA is in sslcert."""
    mode = given.get("sslmode", "prefer")
    if mode == "disable":
        return {"sslmode": "disable"}
    if given.get("sslaccept") != "strict":
        return {"sslmode": "require" if mode == "require" else "prefer"}
    return {"sslmode": "verify-full", "sslrootcert": given.get("sslcert", SYSTEM_CA)}


def as_node(given: Mapping[str, str]) -> dict[str, str]:
    """node-postgres checks the certificate with every word but two, and speaks no TLS without any."""
    mode = given.get("sslmode", "disable" if "sslrootcert" not in given else "verify-full")
    if mode in ("disable", "no-verify"):
        return {"sslmode": "require" if mode == "no-verify" else "disable"}
    extra = os.environ.get("NODE_EXTRA_CA_CERTS") or SYSTEM_CA
    return {"sslmode": "verify-full", "sslrootcert": given.get("sslrootcert", extra)}


def as_electric(given: Mapping[str, str]) -> dict[str, str]:
    """Electric takes its CA from a variable, and checks nothing without it."""
    authority = os.environ.get("ELECTRIC_DATABASE_CA_CERTIFICATE_FILE", "")
    if given.get("sslmode") == "require" and authority:
        return {"sslmode": "verify-full", "sslrootcert": authority}
    return {"sslmode": given.get("sslmode", "prefer")}


def connection_arguments(url: str, reader: Callable[[Mapping[str, str]], dict[str, str]] = as_prisma) -> dict[str, Any]:
    """libpq's keywords from an address with percent-encoded user and password, as one of its readers means them."""
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
    given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {**found, **{name: given[name] for name in SHARED if name in given}, **reader(given)}


def replication_reader() -> Callable[[Mapping[str, str]], dict[str, str]]:
    """The program that follows the slot: Electric's image, or the webapp with node-postgres."""
    return as_electric if "ELECTRIC_INSECURE" in os.environ or "ELECTRIC_SECRET" in os.environ else as_node


def prepare_replication(url: str, slot: str, publication: str, tables: str = "") -> None:
    """Make publication and slot where they are not there yet, as whoever follows them does at its start."""
    import psycopg2

    connection: Any = psycopg2.connect(**connection_arguments(url, replication_reader()))
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
        **connection_arguments(url, replication_reader()),
        connection_factory=psycopg2.extras.LogicalReplicationConnection,
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
