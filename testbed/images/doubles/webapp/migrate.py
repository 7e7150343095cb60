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
from doubles.rules import fatal, line, load, newest
from doubles.webapp.clickhouse import ClickHouseError, query

HERE = Path(__file__).parent
RULES = HERE / "rules.yml"
# The lock that prisma takes, so that replicas that start at once migrate one after the other.
LOCK = 72707369
# First release series -> migrations of Postgres after the first of this double, and version of ClickHouse's tables.
MIGRATIONS = {"4.2": (0, 11), "4.5": (109, 40)}
# First release series -> oldest ClickHouse whose settings the migrations know.
CLICKHOUSE_MINIMUM = {"4.2": (0, 0), "4.5": (25, 8)}


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
        # Assumed, not measured: like `prisma migrate deploy` an older program does not mind migrations that it does not
        # have, and starts on tables that it does not know.
        names = [(f"{number:03}", f"double_4_5_{number:03}") for number in range(1, newest(MIGRATIONS, line())[0] + 1)]
        statement = 'INSERT INTO "_prisma_migrations" (id, migration_name) VALUES (%s, %s) ON CONFLICT DO NOTHING'
        cursor.executemany(statement, [(f"4_5_{number}", name) for number, name in names])
    connection.close()
    print("All migrations have been successfully applied.")


def migrate_clickhouse(environment: Mapping[str, str]) -> None:
    url, version = environment["CLICKHOUSE_URL"], newest(MIGRATIONS, line())[1]
    found = query(url, "SELECT version()").strip()
    if tuple(int(part) for part in found.split(".")[:2]) < newest(CLICKHOUSE_MINIMUM, line()):
        raise ClickHouseError(f"code: 115, message: Setting is unknown (version {found})")
    for statement in statements((HERE / "clickhouse.sql").read_text()):
        query(url, statement)
    for number in range(12, version + 1):
        known = f"(SELECT count() FROM goose_db_version WHERE version_id = {number})"
        query(url, f"INSERT INTO goose_db_version (version_id, is_applied) SELECT {number}, 1 WHERE {known} = 0")
    print(f"goose: successfully migrated database to version: {version}")


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
