# SPDX-License-Identifier: MIT
"""The two migrations of the entry point: `postgres` (prisma migrate deploy) and `clickhouse` (goose up)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2

from doubles.postgres import connection_arguments
from doubles.rules import fatal, load
from doubles.webapp.clickhouse import ClickHouseError, query

HERE = Path(__file__).parent
RULES = HERE / "rules.yml"
# The lock that prisma takes, so that replicas that start at once migrate one after the other.
LOCK = 72707369


def statements(text: str) -> list[str]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [part.strip().rstrip(";") for part in lines.split("\n\n") if part.strip()]


def create_database(arguments: dict[str, Any]) -> None:
    """Prisma makes the database when it is missing."""
    try:
        psycopg2.connect(**arguments).close()
    except psycopg2.OperationalError as failure:
        if f'database "{arguments["dbname"]}" does not exist' not in str(failure):
            raise
        connection = psycopg2.connect(**{**arguments, "dbname": "postgres"})
        connection.autocommit = True
        with connection.cursor() as cursor:
            name = arguments["dbname"].replace('"', '""')
            cursor.execute(f'CREATE DATABASE "{name}"')
        connection.close()


def migrate_postgres(environment: Mapping[str, str]) -> None:
    arguments = connection_arguments(environment["DIRECT_URL"])
    create_database(arguments)
    with psycopg2.connect(**arguments) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        cursor.execute((HERE / "postgres.sql").read_text())
    connection.close()
    print("All migrations have been successfully applied.")


def migrate_clickhouse(environment: Mapping[str, str]) -> None:
    for statement in statements((HERE / "clickhouse.sql").read_text()):
        query(environment["CLICKHOUSE_URL"], statement)
    print("goose: successfully migrated database to version: 11")


def main() -> None:
    stage = sys.argv[1]
    problems = fatal(load(RULES), os.environ, stage)
    if problems:
        sys.exit("Error: " + "; ".join(problems))
    try:
        {"postgres": migrate_postgres, "clickhouse": migrate_clickhouse}[stage](os.environ)
    except (psycopg2.Error, ClickHouseError, ValueError) as failure:
        sys.exit(f"Error: {failure}")


if __name__ == "__main__":
    main()
