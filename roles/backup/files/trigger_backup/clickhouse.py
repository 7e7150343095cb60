# SPDX-License-Identifier: MIT
"""ClickHouse: its own BACKUP of every database, into a folder of its volume."""

from __future__ import annotations

import http.client
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from . import process
from .engine import Engine
from .process import BackupError, Shell, remove_folder
from .stores import Facts, Files, Service, Store, differences

# In the container. The webapp's configuration of ClickHouse allows it.
FOLDER = "/var/lib/clickhouse/backups"
PORT = 8123
PREFIX = "trigger-"
OWN = "('system', 'INFORMATION_SCHEMA', 'information_schema')"
# The server keeps tables of more than 50 GB from being dropped.
LARGE = "SETTINGS max_table_size_to_drop = 0"
RUNS = "trigger_dev.task_runs_v2"
# How long the webapp waits for it. A BACKUP lists what it holds at its start and copies then.
HOLD_SECONDS = 5.0
# For one answer. Statements that change tables take long.
ANSWER_SECONDS = 300.0
# A request needs some time: without any it would not wait for the answer at all.
LEAST_SECONDS = 0.1


class ClickHouse(Store):
    """The analytics of the webapp."""

    name = "clickhouse"

    def __init__(self, engine: Engine, row: Mapping[str, Any], password: str) -> None:
        self.engine = engine
        self.container: str = row["container"]
        self.user: str = row["user"]
        self.volume: str = row["volume"]
        self.config = Path(row["config"])
        self.password = password
        self.addresses: dict[str, str] = {}
        self.backup = ""
        self.operation = ""
        self.rows: dict[str, int] = {}
        # Whether nothing was written from the count to the end of the BACKUP.
        self.exact = False
        self.cut = ""

    @contextmanager
    def request(
        self, container: str, query: Mapping[str, str], body: bytes | IO[bytes]
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a statement over HTTP, and give the answer for as long as it is read."""
        address = self.addresses.get(container) or self.engine.address(container)
        self.addresses[container] = address  # nothing restarts it meanwhile
        seconds = max(LEAST_SECONDS, min(ANSWER_SECONDS, self.until - time.monotonic()))
        connection = http.client.HTTPConnection(address, PORT, timeout=seconds)
        headers = {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password}
        try:
            connection.request("POST", f"/?{urlencode(query)}" if query else "/", body, headers)
            answer = connection.getresponse()
            if answer.status != 200:
                statement = query.get("query") or (body.decode() if isinstance(body, bytes) else "")
                text = answer.read().decode(errors="replace").strip()[:400]
                raise BackupError(f"ClickHouse refuses {statement.split('(')[0][:60].strip()!r}: {text}")
            yield answer
        except TimeoutError:
            raise BackupError(
                f"ClickHouse ({container}) did not answer within {seconds:.0f} s. The log of its container says why "
                "(docker logs). Correct that, and start the same playbook or command again."
            ) from None
        except OSError as error:
            raise BackupError(f"ClickHouse ({container}) does not answer: {error}") from None
        finally:
            connection.close()

    def ask(self, container: str, statement: str) -> list[list[str]]:
        """Run one statement, and give its rows."""
        with self.request(container, {}, statement.encode()) as answer:
            text = answer.read().decode(errors="replace")
        return [line.split("\t") for line in text.splitlines()]

    def databases(self, container: str) -> list[str]:
        """Give those that hold tables."""
        query = f"SELECT DISTINCT database FROM system.tables WHERE database NOT IN {OWN} ORDER BY database"
        return [row[0] for row in self.ask(container, query)]

    def counts(self, container: str) -> dict[str, int]:
        query = f"SELECT concat(database, '.', name), total_rows FROM system.tables WHERE database NOT IN {OWN}"
        return {row[0]: int(row[1]) for row in self.ask(container, f"{query} AND engine LIKE '%MergeTree' ORDER BY 1")}

    def size(self) -> int:
        """A BACKUP into a folder copies everything once."""
        return int(
            self.ask(
                self.container, f"SELECT ifNull(sum(total_bytes), 0) FROM system.tables WHERE database NOT IN {OWN}"
            )[0][0]
        )

    def prepare(self) -> None:
        """See that it may write a backup: without that the webapp would be stopped for nothing."""
        if FOLDER not in self.config.read_text(encoding="utf-8"):
            raise BackupError(f"ClickHouse may not write backups ({self.config}). Run the playbook site once.")

    def snapshot(self) -> None:
        self.release()
        self.backup = f"{PREFIX}current"  # restic compares with the last backup of the same paths
        # Merges drop superseded rows at any time: without them the count stays what it is at this moment.
        self.ask(self.container, "SYSTEM STOP MERGES")
        self.rows = self.counts(self.container)
        self.cut = self.ask(self.container, "SELECT toString(now64(6, 'UTC'))")[0][0]
        self.operation = self._begin(self.container, "BACKUP", "TO", self.backup, self.databases(self.container))
        deadline = time.monotonic() + HOLD_SECONDS
        while not (ended := self._ended(self.container, self.operation)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.exact = ended
        self.ask(self.container, "SYSTEM START MERGES")  # with too many parts the server refuses to insert

    def copy(self, stage: Path) -> Facts:
        self._finish(self.container, self.operation)
        version = self.ask(self.container, "SELECT version()")[0][0]
        return {
            "backup": self.backup,
            "cut": self.cut,
            "rows": self.rows,
            "exact": self.exact,
            "version": version,
            "paths": {"backup": str(self._folder() / self.backup)},
        }

    def _folder(self) -> Path:
        return self.engine.folder(self.volume) / "backups"

    def release(self) -> None:
        if not self.engine.running(self.container):
            return
        self.ask(self.container, "SYSTEM START MERGES")
        for left in self._folder().glob(f"{PREFIX}*"):
            shutil.rmtree(left)

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        container = service.container
        folder = service.volume(self.volume) / "backups"
        folder.mkdir(exist_ok=True)
        owner = folder.parent.stat()
        shutil.chown(folder, owner.st_uid, owner.st_gid)
        place = folder / facts["backup"]
        remove_folder(place)
        Shell().output(["cp", "--archive", str(files.at(facts["paths"]["backup"])), str(place)])
        try:
            wanted = sorted({name.partition(".")[0] for name in facts["rows"]})
            for table in self.ask(container, f"SELECT database, name FROM system.tables WHERE database NOT IN {OWN}"):
                self.ask(container, f"DROP TABLE IF EXISTS {quoted(table[0])}.{quoted(table[1])} SYNC {LARGE}")
            # Merges are stopped for tables that are there: so the tables come first, and the rows can be counted.
            for options in ("structure_only = true", "structure_only = false"):
                operation = self._begin(container, "RESTORE", "FROM", facts["backup"], wanted, options)
                self._finish(container, operation)
                self.ask(container, "SYSTEM STOP MERGES")
        finally:
            shutil.rmtree(place)

    def level(self, service: Service, facts: Mapping[str, Any]) -> None:
        """Delete runs that were made after the cut: Postgres does not know them."""
        container = service.container
        self.ask(container, "SYSTEM START MERGES")
        if RUNS not in facts["rows"]:
            return
        cut = facts["cut"]
        self.ask(
            container,
            f"ALTER TABLE {RUNS} DELETE WHERE created_at > parseDateTime64BestEffort('{cut}', 6, 'UTC')",
        )

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        found = self.counts(service.container)
        wanted = facts["rows"] if facts["exact"] else {name: found.get(name) for name in facts["rows"]}
        missing = [f"ClickHouse table {name} is missing" for name in facts["rows"] if name not in found]
        return missing or differences("ClickHouse table", wanted, found)

    def _begin(self, container: str, verb: str, way: str, name: str, databases: list[str], options: str = "") -> str:
        if not databases:
            raise BackupError("ClickHouse has no tables. Deploy the webapp first (playbook site).")
        what = ", ".join(f"DATABASE {quoted(each)}" for each in databases)
        settings = f" SETTINGS {options}" if options else ""
        return self.ask(container, f"{verb} {what} {way} File('{FOLDER}/{name}'){settings} ASYNC")[0][0]

    def _ended(self, container: str, operation: str) -> bool:
        rows = self.ask(container, f"SELECT status, error FROM system.backups WHERE id = '{operation}'")
        if not rows:
            raise BackupError("ClickHouse was restarted during the backup. Start the backup again.")
        status, error = (*rows[0], "")[:2]
        if status in ("BACKUP_FAILED", "RESTORE_FAILED", "BACKUP_CANCELLED", "RESTORE_CANCELLED"):
            raise BackupError(f"ClickHouse: {status}: {error[:400]}")
        return status in ("BACKUP_CREATED", "RESTORED")

    def _finish(self, container: str, operation: str) -> None:
        deadline = time.monotonic() + process.LONG_SECONDS
        while not self._ended(container, operation):
            if time.monotonic() > deadline:
                raise BackupError(
                    f"ClickHouse ({container}) did not end its BACKUP or RESTORE within "
                    f"{process.LONG_SECONDS / 3600:.0f} h. The log of its container says why (docker logs)."
                )
            time.sleep(0.3)


def quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
