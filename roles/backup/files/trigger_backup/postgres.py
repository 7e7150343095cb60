# SPDX-License-Identifier: MIT
"""Postgres: a dump of an exported snapshot, and a log position that later changes stay above."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .engine import Engine
from .process import ANSWER_SECONDS, BackupError, Session
from .recovery import recover
from .stores import Facts, Files, Service, Store, differences

DUMP = "postgres/database.dump"
GLOBALS = "postgres/globals.sql"
# Every table with its number of rows. A plain count(*) of each, in one statement.
COUNT = """
SELECT format('%I.%I', schemaname, tablename),
  (xpath('/row/c/text()',
    query_to_xml(format('SELECT count(*) AS c FROM %I.%I', schemaname, tablename), false, true, '')))[1]
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1;
"""
# The webapp sends changes to ClickHouse in batches: what it had not sent when it was stopped is sent now.
TOUCH = """
UPDATE "TaskRun" SET "updatedAt" = "updatedAt" WHERE "updatedAt" > {since} - interval '15 minutes';
"""
# The dump reads the same tables, and writes them to the disk, too: so to count their rows takes less time than that.
COUNT_TIMES = 4
LAST = """(SELECT max("updatedAt") FROM "TaskRun")"""
# ClickHouse takes the log position of a commit for the version of a row: in a fresh server, which begins at 0, changes
# of older rows would lose for ever (measured). So the log goes on this many times 4 GiB above the backup's position.
LSN_STEPS = 16
# Where ClickHouse is not restored, it has what was done since the backup, however old that is.
LSN_STEPS_ALONE = 1024
# How long a dump waits for a table that something else has locked, as pg_dump takes it.
LOCK_MINUTES = 5
LOCK_OPTION = f"--lock-wait-timeout={LOCK_MINUTES}min"
# The end of the statement that pg_dump locks its tables with, and that it prints if it fails. A long list is before it.
LOCKING = "IN ACCESS SHARE MODE"


class Postgres(Store):
    """The database of the webapp."""

    name = "postgres"
    staged = ("postgres",)
    # Of pg_restore.
    options: tuple[str, ...] = ("--exit-on-error",)

    def __init__(self, engine: Engine, row: Mapping[str, Any]) -> None:
        self.engine = engine
        self.container: str = row["container"]
        self.user: str = row["user"]
        self.database: str = row["database"]
        self.volume: str = row.get("volume", "")
        # Of the replication to ClickHouse.
        self.slots: list[str] = row["slots"]
        self.session: Session | None = None
        self.held: list[str] = []

    def psql(self, container: str, *, database: str = "") -> list[str]:
        words = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", self.user, "-d", database or self.database]
        return self.engine.program(container, *words)

    def sql(self, container: str, statements: str, *, database: str = "") -> list[list[str]]:
        words = self.psql(container, database=database)
        answer = self.engine.shell.output(words, data=statements.encode(), doing="Asking Postgres")
        return [line.split("|") for line in answer.splitlines()]

    def size(self) -> int:
        """The server compresses large values, and the dump holds them as they are."""
        return 2 * int(self.sql(self.container, "SELECT pg_database_size(current_database())")[0][0])

    def stored(self) -> int:
        """The repository compresses what the dump does not."""
        return self.size() // 2

    def prepare(self) -> None:
        """Connect: what is asked in the pause is then answered at once."""
        self.release()
        self.session = Session(self.psql(self.container), r"\echo", "Postgres")
        self.rows("SELECT 1;")

    def rows(self, statements: str, seconds: float = 0.0) -> list[list[str]]:
        """Run statements in the session, and give the rows that they print."""
        assert self.session
        return [line.split("|") for line in self.session.ask(statements, seconds, self.until)]

    def snapshot(self) -> None:
        opened = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot(), pg_current_wal_lsn();"
        rows = self.rows(opened)
        if len(rows) != 1 or len(rows[0]) != 2:
            raise BackupError(f"Postgres gives no snapshot: {' '.join(' '.join(row) for row in rows)[-300:]}")
        self.held = rows[0]

    def copy(self, stage: Path) -> Facts:
        snapshot, lsn = self.held
        (stage / DUMP).parent.mkdir(parents=True, exist_ok=True)
        # Uncompressed: restic compresses, and keeps once what did not change.
        dump = ["pg_dump", "-U", self.user, "--format=custom", "--compress=0", LOCK_OPTION]
        dump += [f"--snapshot={snapshot}", self.database]
        began = time.monotonic()
        try:
            program = self.engine.program(self.container, *dump)
            self.engine.shell.into_file(program, stage / DUMP, doing="Dumping Postgres")
        except BackupError as error:
            if LOCKING not in str(error) or time.monotonic() - began < 60 * LOCK_MINUTES:
                raise
            raise BackupError(
                f"Dumping Postgres failed: it could not lock its tables within {LOCK_MINUTES} minutes. Something else "
                "has locked one, such as a migration; pg_locks and pg_stat_activity name it. Start the same playbook "
                "or command again when that is over."
            ) from None
        counting = ANSWER_SECONDS + COUNT_TIMES * (time.monotonic() - began)
        self.copy_roles(stage / GLOBALS)
        counts = {row[0]: int(row[1]) for row in self.rows(COUNT, counting)}
        version = self.sql(self.container, "SHOW server_version")[0][0]
        return {"lsn": lsn, "rows": counts, "version": version, "database": self.database, "user": self.user}

    def copy_roles(self, path: Path) -> None:
        words = ["pg_dumpall", "-U", self.user, "--globals-only", LOCK_OPTION]
        self.engine.shell.into_file(
            self.engine.program(self.container, *words), path, doing="Dumping the roles of Postgres"
        )

    def release(self) -> None:
        if self.session:
            self.session.close()
            self.session = None

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        if "mark" in facts:
            self._restore_point(service, files, facts)
        else:
            self._restore_dump(service, files, facts)
        self._make_slots(service.container, facts.get("analytics_cut", ""))

    def _restore_point(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        def sql(statements: str) -> list[list[str]]:
            return self.sql(service.container, statements, database="postgres")

        recover(self.engine, service, sql, files.at(facts["paths"]["log"]), facts["mark"])
        if not facts.get("analytics_cut"):  # ClickHouse is not restored: it may have later versions
            self._raise_log_position(service, facts["lsn"], LSN_STEPS_ALONE)

    def _restore_dump(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        container = service.container
        self._raise_log_position(service, facts["lsn"], LSN_STEPS_ALONE if facts.get("alone") else LSN_STEPS)
        # CREATE DATABASE takes one name only as it is written here; names of ours need no quotes.
        database = f'"{self.database}"'
        # Those of an interrupted restore: a database with a slot cannot be dropped.
        drop = (
            f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{self.database}';"
        )
        self.sql(container, drop, database="postgres")
        self.sql(container, f"DROP DATABASE IF EXISTS {database} WITH (FORCE);", database="postgres")
        self.sql(container, f"CREATE DATABASE {database};", database="postgres")
        self.restore_roles(container, files.stage / GLOBALS)
        words = ["pg_restore", "-U", self.user, "-d", self.database, *self.options]
        self.engine.shell.from_file(
            self.engine.program(container, *words), files.stage / DUMP, doing="Restoring Postgres"
        )
        self.sql(container, "ANALYZE;")

    def _make_slots(self, container: str, cut: str) -> None:
        """Make the slots before the webapp starts: it begins to work 0.4 s before it makes them itself (measured).

        What runs do in that time would never reach ClickHouse. `cut`: what ClickHouse has, if that is older.
        """
        for name in self.slots:
            self.sql(container, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput');")
        if self.slots and self.sql(container, """SELECT to_regclass('"TaskRun"') IS NOT NULL""") == [["t"]]:
            self.sql(container, TOUCH.format(since=f"timestamp '{cut}'" if cut else LAST))

    def restore_roles(self, container: str, path: Path) -> None:
        """Make the roles that are missing. The server's own has been made with it, and has its password."""
        known = {row[0] for row in self.sql(container, "SELECT rolname FROM pg_roles", database="postgres")}
        wanted = []
        for line in path.read_text(encoding="utf-8").splitlines():
            made = line.startswith("CREATE ROLE ") and line[len("CREATE ROLE ") :].rstrip(";").strip('"') in known
            changed = line.startswith((f"ALTER ROLE {self.user} ", f'ALTER ROLE "{self.user}" '))
            # Newer versions of pg_dumpall write them for psql, and an older one refuses them.
            restricted = line.startswith(("\\restrict ", "\\unrestrict "))
            if not made and not changed and not restricted:
                wanted.append(line)
        self.sql(container, "\n".join(wanted) + "\n", database="postgres")

    def _raise_log_position(self, service: Service, lsn: str, steps: int) -> None:
        container = service.container
        folder = self.sql(container, "SHOW data_directory", database="postgres")[0][0]
        found = self.engine.inspect(container)
        assert found
        high = int(lsn.partition("/")[0], 16) + steps
        service.stop()  # a server that was shut down in order; of any other the tool keeps its hands off
        words = ["docker", "run", "--rm", "--network", "none", "--cap-drop", "ALL", "--volumes-from", container]
        words += ["--user", found["Config"]["User"] or "postgres", "--entrypoint", "pg_resetwal", found["Image"]]
        self.engine.shell.output(
            [*words, "-l", f"00000001{high:08X}00000000", folder], doing="Raising the log position of Postgres"
        )
        service.start()

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        if "mark" in facts:  # the server has found the mark, or it would not run
            return []
        found = {row[0]: int(row[1]) for row in self.sql(service.container, COUNT)}
        return differences("Postgres table", facts["rows"], found)
