# SPDX-License-Identifier: MIT
"""Stores of an installation that was made by other means, as far as they need no server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from trigger_backup.engine import Engine
from trigger_backup.foreign import (
    AdoptedImages,
    ForeignClickHouse,
    ForeignImages,
    ForeignObjects,
    ForeignPostgres,
    ForeignRedis,
)
from trigger_backup.plan import read_json
from trigger_backup.process import BackupError, Shell
from trigger_backup.stores import Files

from tests.unit.roles.backup.folders import FolderEngine
from tests.unit.roles.backup.test_stores import FakeService, registry


class FakeShell(Shell):
    """Gives the answers that a test wants, and keeps what it was asked."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = answers
        self.calls: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def run(self, words: Sequence[str], **given: Any) -> subprocess.CompletedProcess[bytes]:
        self.calls.append((words, given.get("environment") or {}))
        text = next((answer for part, answer in self.answers.items() if part in " ".join(words)), "")
        return subprocess.CompletedProcess(words, 0, text.encode(), b"")


# -- Postgres ----------------------------------------------------------------------------------------------------------


def test_roles_of_the_old_server_stay_behind(tmp_path: Path) -> None:
    shell = FakeShell({})
    store = ForeignPostgres(Engine(shell), {"container": "c", "user": "u", "database": "d", "slots": []})
    store.copy_roles(tmp_path / "globals.sql")
    store.restore_roles("c", tmp_path / "globals.sql")
    assert shell.calls == []
    assert {"--no-owner", "--no-privileges", "--exit-on-error"} == set(store.options)


# -- Redis -------------------------------------------------------------------------------------------------------------

IDLE = "rdb_bgsave_in_progress:0\naof_rewrite_in_progress:0\nrdb_last_bgsave_status:ok\nredis_version:7.4.3\n"


def redis(answers: Mapping[str, str], password: str = "") -> tuple[ForeignRedis, FakeShell]:
    shell = FakeShell({"INFO": f"{IDLE}db0:keys=3,expires=1,avg_ttl=0\n", **answers})
    return ForeignRedis(Engine(shell), {"container": "old", "password": password}), shell


def test_redis_says_where_its_file_is(tmp_path: Path) -> None:
    store, shell = redis({"GET dir": "dir\n/elsewhere\n", "GET dbfilename": "dbfilename\nother.rdb\n"})
    store.prepare()
    store.snapshot()
    assert store.copy(tmp_path) == {"count": {"keys": 3, "expires": 1}, "version": "7.4.3"}
    assert ["docker", "cp", "--follow-link", "old:/elsewhere/other.rdb"] in [words[:4] for words, _ in shell.calls]


def test_a_password_is_no_argument() -> None:
    store, shell = redis({}, "s3cret")
    store.info("old")
    ((words, environment),) = shell.calls
    assert "s3cret" not in " ".join(words)
    assert environment == {"REDISCLI_AUTH": "s3cret"}
    assert words[2:4] == ["-e", "REDISCLI_AUTH"]


def test_a_refusal_of_redis_is_an_error() -> None:
    with pytest.raises(BackupError, match="NOAUTH"):
        redis({"INFO": "NOAUTH Authentication required."})[0].info("old")


def test_a_failed_save_is_an_error() -> None:
    store, _ = redis({"INFO": IDLE.replace("status:ok", "status:err")})
    with pytest.raises(BackupError, match="docker logs old"):
        store.snapshot()


# -- ClickHouse --------------------------------------------------------------------------------------------------------


class FakeClickHouse(ForeignClickHouse):
    """Answers by the beginning of a statement; views may need others."""

    def __init__(self, answers: Mapping[str, list[list[str]]], database: str = "default") -> None:
        super().__init__(Engine(Shell()), {"container": "c", "user": "u"}, "p", database)
        self.answers = answers
        self.asked: list[str] = []
        self.sent: list[tuple[Mapping[str, str], bytes]] = []
        self.needs: dict[str, str] = {}

    def ask(self, container: str, statement: str) -> list[list[str]]:
        if statement in self.needs and self.needs[statement] not in self.asked:
            raise BackupError(f"unknown table of {statement}")
        self.asked.append(statement)
        return next((rows for part, rows in self.answers.items() if part in statement), [])

    @contextmanager
    def request(self, container: str, query: Mapping[str, str], body: bytes | IO[bytes]) -> Iterator[Any]:
        self.sent.append((query, body if isinstance(body, bytes) else body.read()))
        yield type("Answer", (), {"read": lambda _self, _size, parts=[b"1\tx\n", b""]: parts.pop(0)})()


TABLES = [
    ["goose", "versions", "MergeTree", "CREATE TABLE goose.versions (`id` Int64) ENGINE = MergeTree"],
    ["trigger_dev", "a_view", "View", "CREATE VIEW trigger_dev.a_view AS SELECT * FROM trigger_dev.b_view"],
    ["trigger_dev", "b_view", "View", "CREATE VIEW trigger_dev.b_view AS SELECT 'a\\tb'"],
]


def test_tables_come_first_and_views_in_the_order_in_which_they_can_be_made(tmp_path: Path) -> None:
    old = FakeClickHouse({"create_table_query": TABLES, "system.columns": [["id"]], "version()": [["25.3"]]}, "goose")
    old.rows, old.cut = {"goose.versions": 1}, "2026-01-01 00:00:00"
    facts = old.copy(tmp_path)
    assert facts["rows"] == {"default.versions": 1}
    assert facts["exact"]
    new = FakeClickHouse({})
    first, second = "CREATE VIEW trigger_dev.b_view AS SELECT 'a\tb'", TABLES[1][3]
    new.needs = {second: first}
    new.restore(FakeService(tmp_path), Files(Path("/"), tmp_path), facts)
    made = [statement for statement in new.asked if statement.startswith("CREATE") and "DATABASE" not in statement]
    assert made == ["CREATE TABLE `default`.versions (`id` Int64) ENGINE = MergeTree", first, second]
    ((query, body),) = new.sent
    assert query["query"] == "INSERT INTO `default`.`versions` (`id`) FORMAT TabSeparated"
    assert query["optimize_on_insert"] == "0"
    assert body == b"1\tx\n"
    # Rows are counted before the server merges them.
    assert new.asked.index("SYSTEM STOP MERGES") < new.asked.index(first)


def test_a_view_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    new = FakeClickHouse({})
    new.needs = {"CREATE VIEW x": "never"}
    table = {"database": "d", "name": "x", "made": "CREATE VIEW x", "columns": [], "file": ""}
    with pytest.raises(BackupError, match="unknown table"):
        new.restore(FakeService(tmp_path), Files(Path("/"), tmp_path), {"tables": [table]})


def test_views_with_tables_of_their_own_are_refused() -> None:
    with pytest.raises(BackupError, match=r"not taken over: d\.\.inner"):
        FakeClickHouse({".inner%": [["d..inner_id.1"]]}).prepare()


# -- objects and images ------------------------------------------------------------------------------------------------


def test_a_bucket_that_was_never_made_has_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"container": "c", "bucket": "packets", "region": "r", "access_key": "a", "secret_key": "s"}
    store = ForeignObjects(Engine(Shell()), row)

    class Missing:
        def objects(self) -> Iterator[Any]:
            raise BackupError("The object store refuses GET packets/: 404 <Code>NoSuchBucket</Code>")
            yield

    monkeypatch.setattr(store, "reach", lambda _container: Missing())
    assert store.size() == 0
    assert store.copy(tmp_path) == {"objects": 0, "bytes": 0}
    assert read_json(tmp_path / "objects.json") == {}


def test_layers_are_copied_early_and_what_came_since_later(tmp_path: Path) -> None:
    source, stage = tmp_path / "old", tmp_path / "stage"
    first = registry(source)
    old = ForeignImages(Engine(Shell()), {"container": "c", "folder": str(source)})
    assert old.size() > 0
    (tmp_path / "v").mkdir()
    new = AdoptedImages(FolderEngine(tmp_path, Shell()), {"container": "n", "volume": "v", "lock_file": "/"})
    new.early(old)
    assert not (tmp_path / "v/docker/registry/v2/repositories").exists()
    second = registry(source, b"another layer")
    facts = old.copy(stage)
    assert facts["links"] == 2
    new.restore(FakeService(tmp_path / "v"), Files(Path("/"), stage), facts)
    assert new.compare(FakeService(tmp_path / "v"), facts) == []
    # The old registry is as it was.
    assert old.copy(tmp_path / "again")["links"] == 2
    # What an interrupted copy has left is noticed.
    (tmp_path / "v/docker/registry/v2/blobs/sha256" / first[:2] / first / "data").write_bytes(b"lay")
    wrong = new.compare(FakeService(tmp_path / "v"), facts)
    assert [text for text in wrong if first in text and "damaged" in text]
    assert not [text for text in wrong if second in text]
