# SPDX-License-Identifier: MIT
"""The stores of an installation that was not made by this collection, as far as they differ from ours."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .clickhouse import ClickHouse, quoted
from .engine import Engine
from .images import LINKS, TREE, Images, copy_links, linked
from .objects import INDEX, Objects
from .plan import write_json
from .postgres import Postgres
from .process import BackupError, Shell, remove_folder, said
from .redis import FILE, Redis, counted
from .sigv4 import Key
from .stores import Facts, Files, Service

FOLDER = "clickhouse"
# Text that every release writes and reads in the same way, also columns of the type JSON.
FORMAT = "TabSeparated"
# Rows are counted afterwards, so none of them may be merged on its way; and a table may have many partitions.
AS_THEY_ARE = {"optimize_on_insert": "0", "max_partitions_per_insert_block": "0"}
BLOCK = 2**20


class ForeignPostgres(Postgres):
    """A database whose owner does not come along: a role of the old server would keep its password."""

    options = ("--exit-on-error", "--no-owner", "--no-privileges")

    def copy_roles(self, path: Path) -> None:
        """Leave them where they are."""

    def restore_roles(self, container: str, path: Path) -> None:
        """There are none."""


class ForeignRedis(Redis):
    """A Redis of which neither folder nor file is known before it says so."""

    def __init__(self, engine: Engine, row: Mapping[str, Any]) -> None:
        super().__init__(engine, {"container": row["container"], "volume": ""})
        self.password: str = row["password"]

    def ask(self, container: str, *words: str) -> str:
        # By the environment: an argument would be seen by everybody.
        flags = ["-e", "REDISCLI_AUTH"] if self.password else []
        command = ["docker", "exec", *flags, container, "redis-cli", *words]
        done = self.engine.shell.run(command, environment={"REDISCLI_AUTH": self.password})
        answer = done.stdout.decode(errors="replace").strip()
        if done.returncode != 0 or re.match(r"\(error\)|ERR|NOAUTH|WRONGPASS|MISCONF|LOADING", answer):
            raise BackupError(f"Redis ({container}) refuses {' '.join(words)}: {(answer or said(done))[:200]}")
        return answer

    def prepare(self) -> None:
        self._wait(forever=True)

    def snapshot(self) -> None:
        """Save it: nobody writes any more."""
        self.keys = counted(self._wait(forever=True))
        self.ask(self.container, "BGSAVE")
        time.sleep(0.2)
        if self._wait(forever=True)["rdb_last_bgsave_status"] != "ok":
            raise BackupError(f"Redis could not save its data. Its log says why: docker logs {self.container}")

    def copy(self, stage: Path) -> Facts:
        place, name = (self.ask(self.container, "CONFIG", "GET", key).split()[-1] for key in ("dir", "dbfilename"))
        (stage / FILE).parent.mkdir(parents=True, exist_ok=True)
        self.engine.copy_out(self.container, f"{place}/{name}", stage / FILE)
        return {"count": self.keys, "version": self.info(self.container)["redis_version"]}

    def release(self) -> None:
        """Nothing is held."""


class ForeignClickHouse(ClickHouse):
    """A ClickHouse that may not write backups: its tables are read and written over HTTP."""

    def __init__(self, engine: Engine, row: Mapping[str, Any], password: str, database: str = "default") -> None:
        super().__init__(engine, {"config": "/", "volume": "", **row}, password)
        # Where the migrations keep what they have done; ours is `default`.
        self.database = database

    def prepare(self) -> None:
        inner = f"SELECT concat(database, '.', name) FROM system.tables WHERE name LIKE '.inner%' AND {OURS}"
        found = [row[0] for row in self.ask(self.container, inner)]
        if found:
            raise BackupError(f"ClickHouse has views with tables of their own, which are not taken over: {found[0]}")

    def snapshot(self) -> None:
        self.ask(self.container, "SYSTEM STOP MERGES")
        self.rows = self.counts(self.container)
        self.cut = self.ask(self.container, "SELECT toString(now64(6, 'UTC'))")[0][0]

    def release(self) -> None:
        if self.engine.running(self.container):
            self.ask(self.container, "SYSTEM START MERGES")

    def copy(self, stage: Path) -> Facts:
        folder = stage / FOLDER
        remove_folder(folder)
        folder.mkdir(parents=True)
        tables: list[dict[str, Any]] = []
        listed = f"SELECT database, name, engine, create_table_query FROM system.tables WHERE {OURS} ORDER BY 1, 2"
        for number, (database, name, kind, made) in enumerate(self.texts(listed)):
            row: dict[str, Any] = {"database": database, "name": name, "made": made, "columns": [], "file": ""}
            if kind.endswith("MergeTree"):
                row["columns"] = [column for (column,) in self.texts(COLUMNS.format(literal(database), literal(name)))]
                row["file"] = f"{number}.tsv"
                self._read(row, folder / row["file"])
            tables.append(self.moved(row))
        rows = {f"{self.our(name.partition('.')[0])}.{name.partition('.')[2]}": n for name, n in self.rows.items()}
        version = self.ask(self.container, "SELECT version()")[0][0]
        return {"tables": tables, "rows": rows, "cut": self.cut, "version": version, "exact": True}

    def our(self, database: str) -> str:
        return "default" if database == self.database else database

    def moved(self, row: dict[str, Any]) -> dict[str, Any]:
        """Give a table as it is to be made: in the database that the webapp's migrations use here."""
        database = row["database"]
        if self.our(database) == database:
            return row
        made = re.sub(rf"^(CREATE [A-Z ]+?)`?{re.escape(database)}`?\.", r"\1`default`.", row["made"], count=1)
        return {**row, "database": "default", "made": made}

    def texts(self, query: str) -> Iterator[list[str]]:
        """Give rows of texts, which the format escapes."""
        for row in self.ask(self.container, query):
            yield [re.sub(r"\\(.)", lambda found: ESCAPED.get(found[1], found[1]), text) for text in row]

    def _read(self, row: Mapping[str, Any], path: Path) -> None:
        columns = ", ".join(map(quoted, row["columns"]))
        query = f"SELECT {columns} FROM {quoted(row['database'])}.{quoted(row['name'])} FORMAT {FORMAT}"
        with open(path, "wb") as file, self.request(self.container, {}, query.encode()) as answer:
            for block in iter(lambda: answer.read(BLOCK), b""):
                file.write(block)

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        container = service.container
        for database, name in self.ask(container, f"SELECT database, name FROM system.tables WHERE {OURS}"):
            self.ask(container, f"DROP TABLE IF EXISTS {quoted(database)}.{quoted(name)} SYNC")
        for database in sorted({row["database"] for row in facts["tables"]}):
            self.ask(container, f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        with_data = [row for row in facts["tables"] if row["file"]]
        for row in with_data:
            self.ask(container, row["made"])
        self.ask(container, "SYSTEM STOP MERGES")
        for row in with_data:
            path = files.stage / FOLDER / row["file"]
            if path.stat().st_size:
                columns = ", ".join(map(quoted, row["columns"]))
                insert = f"INSERT INTO {quoted(row['database'])}.{quoted(row['name'])} ({columns}) FORMAT {FORMAT}"
                with open(path, "rb") as file, self.request(container, {"query": insert, **AS_THEY_ARE}, file):
                    pass
        # Views come last: each insert would fill what they lead to once more.
        self._make(container, [row["made"] for row in facts["tables"] if not row["file"]])

    def _make(self, container: str, wanted: list[str]) -> None:
        """Make views, of which one may need another one."""
        while wanted:
            left = []
            for statement in wanted:
                try:
                    self.ask(container, statement)
                except BackupError as error:
                    left.append(statement)
                    wrong = error
            if len(left) == len(wanted):
                raise wrong
            wanted = left


OURS = "database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')"
# What ClickHouse computes is not written.
COLUMNS = (
    "SELECT name FROM system.columns WHERE database = {} AND table = {} "
    "AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL') ORDER BY position"
)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class ForeignObjects(Objects):
    """A bucket that may not have been made yet."""

    def __init__(self, engine: Engine, row: Mapping[str, Any]) -> None:
        super().__init__(engine, {"script": "", **row}, Key(row["access_key"], row["secret_key"]))

    def size(self) -> int:
        return super().size() if self.has_bucket() else 0

    def has_bucket(self) -> bool:
        try:
            next(iter(self.reach(self.container).objects()), None)
        except BackupError as error:
            if "NoSuchBucket" in str(error):
                return False
            raise
        return True

    def copy(self, stage: Path) -> Facts:
        if self.has_bucket():
            return super().copy(stage)
        write_json(stage / INDEX, {})
        return {"objects": 0, "bytes": 0}


class ForeignImages(Images):
    """The images of a registry that is stopped, in whatever folder of the host they are."""

    def __init__(self, engine: Engine, row: Mapping[str, Any]) -> None:
        super().__init__(engine, {"container": row["container"], "volume": "", "lock_file": "/"})
        self.folder = Path(row["folder"])

    def tree(self) -> Path:
        return self.folder / TREE

    def size(self) -> int:
        return sum(path.lstat().st_size for path in self.tree().rglob("*")) if self.tree().is_dir() else 0

    def copy(self, stage: Path) -> Facts:
        links = stage / LINKS
        remove_folder(links)
        links.parent.mkdir(parents=True, exist_ok=True)
        source = self.tree() / "repositories"
        if not source.is_dir():
            return {"links": 0, "paths": {}}
        copy_links(source, links)
        found = sum(1 for _ in linked(links))
        return {"links": found, "paths": {"blobs": os.path.realpath(self.tree() / "blobs")}}


class AdoptedImages(Images):
    """The images of ours, of which most may have been copied while the old registry ran."""

    def early(self, old: ForeignImages) -> None:
        """Copy layers, which never change. One that is half copied is noticed when they are compared."""
        blobs = old.tree() / "blobs"
        if blobs.is_dir():
            tree = self.tree()
            tree.mkdir(parents=True, exist_ok=True)
            Shell().output(["cp", "--archive", "--update", str(blobs), str(tree)])

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        if facts["links"]:
            tree = service.volume(self.volume) / TREE
            tree.mkdir(parents=True, exist_ok=True)
            Shell().output(["cp", "--archive", "--update", str(files.at(facts["paths"]["blobs"])), str(tree)])
            remove_folder(tree / "repositories")
            Shell().output(["cp", "--archive", str(files.stage / LINKS), str(tree / "repositories")])
