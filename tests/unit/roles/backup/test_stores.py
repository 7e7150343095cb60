# SPDX-License-Identifier: MIT
"""Single stores, as far as they need no server: what they write, compare and leave out."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup import clickhouse, postgres, process, stores
from trigger_backup import redis as redis_store
from trigger_backup.aside import Aside, Change
from trigger_backup.clickhouse import ClickHouse
from trigger_backup.engine import Engine
from trigger_backup.files import Installation
from trigger_backup.images import Images, copy_links, linked
from trigger_backup.move import RemoteBucket
from trigger_backup.objects import Object, Objects, file_of, md5_of, same
from trigger_backup.plan import Plan
from trigger_backup.postgres import LAST, TOUCH, Postgres
from trigger_backup.process import BackupError, Session, Shell
from trigger_backup.redis import Redis
from trigger_backup.sigv4 import Key
from trigger_backup.stores import Files, differences

from tests.unit.roles.backup.buckets import Store, serving


class FakeService:
    container = "c"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []

    def volume(self, name: str) -> Path:
        return self.root

    def stop(self) -> None:
        self.calls.append("stop")

    def start(self) -> None:
        self.calls.append("start")


# -- registry ----------------------------------------------------------------------------------------------------------


def registry(root: Path, content: bytes = b"layer") -> str:
    """Make a registry's tree with one image of one layer; gives its digest."""
    digest = hashlib.sha256(content).hexdigest()
    tree = root / "docker/registry/v2"
    data = tree / "blobs/sha256" / digest[:2] / digest / "data"
    data.parent.mkdir(parents=True)
    data.write_bytes(content)
    link = tree / "repositories/trigger/hello/_layers/sha256" / digest / "link"
    link.parent.mkdir(parents=True)
    link.write_text(f"sha256:{digest}")
    return digest


def images() -> Images:
    return Images(Engine(Shell()), {"container": "c", "volume": "v", "lock_file": "/x"})


def test_a_whole_registry_is_found_whole(tmp_path: Path) -> None:
    digest = registry(tmp_path)
    assert list(linked(tmp_path / "docker/registry/v2/repositories")) == [("sha256", digest)]
    assert images().compare(FakeService(tmp_path), {"links": 1}) == []


def test_the_first_backup_stores_the_layers_of_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = images()
    monkeypatch.setattr(store.engine, "folder", lambda _name: tmp_path)
    assert store.stored() == 0  # nothing was ever pushed
    digest = registry(tmp_path, b"x" * 4096)
    assert store.stored() == 4096 + len(f"sha256:{digest}")
    assert store.size() == 0  # they are not copied


@pytest.mark.parametrize(("damage", "words"), [("cut", "is damaged"), ("gone", "is missing"), ("unlinked", "0 links")])
def test_damage_of_a_registry_is_found(tmp_path: Path, damage: str, words: str) -> None:
    registry(tmp_path)
    (data,) = tmp_path.rglob("data")
    if damage == "cut":
        data.write_bytes(b"lay")
    elif damage == "gone":
        data.unlink()
    else:
        next(tmp_path.rglob("link")).unlink()
    (found,) = images().compare(FakeService(tmp_path), {"links": 1})
    assert words in found


def test_uploads_are_no_part_of_a_backup(tmp_path: Path) -> None:
    """Those that go on vanish while they are copied."""
    digest = registry(tmp_path / "volume")
    source = tmp_path / "volume/docker/registry/v2/repositories"
    upload = source / "trigger/hello/_uploads/1/link"
    upload.parent.mkdir(parents=True)
    upload.write_text("x")
    copy_links(source, tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").rglob("*") if path.is_file()] == ["link"]
    assert list(linked(tmp_path / "copy")) == [("sha256", digest)]


# -- Redis -------------------------------------------------------------------------------------------------------------


def test_redis_gets_its_data_as_the_base_of_the_append_only_file(tmp_path: Path) -> None:
    """A server with appendonly does not read a dump.rdb (measured)."""
    files = Files(tmp_path / "fetched", Path("/stage"))
    (files.stage / "redis").mkdir(parents=True)
    (files.stage / redis_store.FILE).write_bytes(b"REDIS")
    volume = tmp_path / "volume"
    (volume / "appendonlydir").mkdir(parents=True)
    (volume / "appendonlydir/old").touch()
    (volume / "dump.rdb").touch()
    service = FakeService(volume)
    store = redis_store.Redis(Engine(Shell()), {"container": "c", "volume": "v"})
    store.restore(service, files, {})
    assert service.calls == ["stop", "start"]
    assert {path.relative_to(volume).as_posix() for path in volume.rglob("*") if path.is_file()} == {
        "appendonlydir/appendonly.aof.1.base.rdb",
        "appendonlydir/appendonly.aof.manifest",
    }
    text = (volume / "appendonlydir/appendonly.aof.manifest").read_text()
    assert text == "file appendonly.aof.1.base.rdb seq 1 type b\n"


def test_keys_that_end_by_themselves_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = redis_store.Redis(Engine(Shell()), {"container": "c", "volume": "v"})
    monkeypatch.setattr(store, "info", lambda _: {"db0": "keys=10,expires=1,avg_ttl=5"})
    assert store.compare(FakeService(tmp_path), {"exact": True, "count": {"keys": 14, "expires": 5}}) == []
    assert store.compare(FakeService(tmp_path), {"exact": False, "count": {"keys": 14, "expires": 4}}) == []
    assert store.compare(FakeService(tmp_path), {"exact": True, "count": {"keys": 14, "expires": 4}}) == [
        "Redis: 9 lasting keys instead of 10"
    ]


# -- ClickHouse --------------------------------------------------------------------------------------------------------

CLICKHOUSE = {"container": "c", "user": "trigger", "volume": "v", "config": "/x"}


@pytest.mark.parametrize(
    ("found", "exact", "wrong"),
    [
        ({"a": 2, "b": 1}, True, []),
        ({"a": 3, "b": 1}, True, ["ClickHouse table a: 3 instead of 2"]),
        ({"a": 3, "b": 1}, False, []),  # it was written to meanwhile
        ({"b": 1}, False, ["ClickHouse table a is missing"]),
    ],
)
def test_tables_of_clickhouse_are_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: dict[str, int], exact: bool, wrong: list[str]
) -> None:
    store = ClickHouse(Engine(Shell()), CLICKHOUSE, "")
    monkeypatch.setattr(store, "counts", lambda _: found)
    assert store.compare(FakeService(tmp_path), {"rows": {"a": 2, "b": 1}, "exact": exact}) == wrong


def test_a_clickhouse_that_may_not_write_backups_is_refused_before_the_pause(tmp_path: Path) -> None:
    config = tmp_path / "clickhouse-config.xml"
    store = ClickHouse(Engine(Shell()), {**CLICKHOUSE, "config": str(config)}, "")
    config.write_text("<clickhouse/>")
    with pytest.raises(BackupError, match="Run the playbook site once"):
        store.prepare()
    config.write_text("<allowed_path>/var/lib/clickhouse/backups/</allowed_path>")
    store.prepare()


@pytest.mark.parametrize("exact", [True, False])
def test_merges_are_stopped_for_no_longer_than_the_webapp(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, exact: bool
) -> None:
    """A BACKUP may take hours. The webapp writes meanwhile, and a server with too many parts refuses that."""
    store = ClickHouse(Engine(Shell()), CLICKHOUSE, "")
    asked: list[str] = []

    def ask(_container: str, statement: str) -> list[list[str]]:
        asked.append(statement)
        answers = {
            "SELECT DISTINCT": [["trigger_dev"]],
            "SELECT concat": [["trigger_dev.runs", "2"]],
            "SELECT toString": [["2026-01-31 12:00:00.000000"]],
            "BACKUP": [["operation"]],
            "SELECT status": [["BACKUP_CREATED" if exact else "CREATING_BACKUP", ""]],
        }
        return next((rows for words, rows in answers.items() if statement.startswith(words)), [])

    monkeypatch.setattr(store, "ask", ask)
    monkeypatch.setattr(store, "release", lambda: None)
    monkeypatch.setattr(clickhouse, "HOLD_SECONDS", 0.1)
    store.snapshot()
    merges = [statement for statement in asked if "MERGES" in statement]
    assert merges == ["SYSTEM STOP MERGES", "SYSTEM START MERGES"]
    assert asked.index("SYSTEM STOP MERGES") < next(i for i, each in enumerate(asked) if "concat" in each)
    assert asked[-1] == "SYSTEM START MERGES"
    assert store.exact == exact


def test_a_backup_of_clickhouse_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ClickHouse(Engine(Shell()), CLICKHOUSE, "")
    monkeypatch.setattr(store, "ask", lambda *_: [["CREATING_BACKUP", ""]])
    monkeypatch.setattr(process, "LONG_SECONDS", 0.0)
    with pytest.raises(BackupError, match=r"ClickHouse \(c\) did not end its BACKUP"):
        store._finish("c", "operation")


def test_a_clickhouse_that_hangs_in_the_pause_is_not_waited_for_longer_than_the_webapp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(clickhouse, "PORT", server.getsockname()[1])
        store = ClickHouse(Engine(Shell()), CLICKHOUSE, "")
        store.addresses["c"] = "127.0.0.1"
        monkeypatch.setattr(store, "release", lambda: None)
        monkeypatch.setattr(stores, "PAUSE_SECONDS", 0.5)
        began = time.monotonic()
        with pytest.raises(BackupError, match=r"ClickHouse \(c\) did not answer within"), stores.limited([store]):
            store.snapshot()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["Redis", "Postgres"])
def test_sessions_of_the_stores_end_with_the_pause(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    session = Session(["sleep", "60"], "ECHO", name)
    engine = Engine(Shell())
    redis = Redis(engine, {"container": "c", "volume": "v"})
    store: Redis | Postgres = redis if name == "Redis" else Postgres(engine, POSTGRES)
    store.session = session
    monkeypatch.setattr(stores, "PAUSE_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(BackupError, match=f"{name} did not answer within"), stores.limited([store]):
        store.snapshot()
    assert time.monotonic() - began < 5
    session.close()


# -- Postgres ----------------------------------------------------------------------------------------------------------

POSTGRES = {"container": "c", "user": "postgres", "database": "main", "slots": ["runs"]}


class Database(Engine, Shell):
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.shell = self
        self.calls: list[str] = []

    def inspect(self, container: str) -> dict[str, Any]:
        return {"Config": {"User": "999:999"}, "Image": "sha256:1"}

    def output(self, words: Sequence[str], *, data: bytes | None = None, doing: str = "") -> str:
        self.calls.append(data.decode().strip() if data else " ".join(words))
        answers = {b"SHOW data_directory": "/data\n", b"""SELECT to_regclass('"TaskRun"') IS NOT NULL""": "t\n"}
        return answers.get(data or b"", "")

    def from_file(self, words: Sequence[str], path: Path, *, doing: str) -> None:
        self.calls.append(f"{words[4]} < {path.name}")


def test_postgres_goes_on_above_its_old_log_position(tmp_path: Path) -> None:
    """ClickHouse takes the position for the version of a row (measured): a lower one loses for ever."""
    engine, files, service = Database(), Files(tmp_path, Path("/stage")), FakeService(tmp_path)
    (files.stage / "postgres").mkdir(parents=True)
    (files.stage / "postgres/globals.sql").touch()
    Postgres(engine, POSTGRES).restore(service, files, {"lsn": "2A/1000"})
    (reset,) = (call for call in engine.calls if "pg_resetwal" in call)
    assert reset.endswith(f"-l 00000001{0x2A + 16:08X}00000000 /data")
    assert "--user 999:999" in reset
    assert service.calls == ["stop", "start"]  # of a server that was killed the tool keeps its hands off


def test_postgres_goes_on_far_above_where_clickhouse_is_not_restored(tmp_path: Path) -> None:
    """It may have months of later changes."""
    engine, files, service = Database(), Files(tmp_path, Path("/stage")), FakeService(tmp_path)
    (files.stage / "postgres").mkdir(parents=True)
    (files.stage / "postgres/globals.sql").touch()
    Postgres(engine, POSTGRES).restore(service, files, {"lsn": "2A/1000", "alone": True})
    (reset,) = (call for call in engine.calls if "pg_resetwal" in call)
    assert f"-l 00000001{0x2A + 1024:08X}00000000" in reset


@pytest.mark.parametrize(
    ("minutes", "error", "words"),
    [
        (0, "d, public.e IN ACCESS SHARE MODE", "could not lock its tables within 0 minutes"),
        (5, "permission denied: LOCK TABLE d IN ACCESS SHARE MODE", "permission denied"),
        (0, "no space left", "no space left"),
    ],
)
def test_a_dump_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, minutes: int, error: str, words: str
) -> None:
    engine = Database()
    asked = list[str]()

    def into_file(command: Sequence[str], path: Path, *, doing: str) -> None:
        asked.extend(command)
        raise BackupError(f"{doing} failed: {error}")

    monkeypatch.setattr(engine, "into_file", into_file)
    monkeypatch.setattr(postgres, "LOCK_MINUTES", minutes)
    store = Postgres(engine, POSTGRES)
    store.held = ["s", "0/1"]
    with pytest.raises(BackupError, match=words):
        store.copy(tmp_path)
    assert "--lock-wait-timeout=5min" in asked
    with pytest.raises(BackupError):
        store.copy_roles(tmp_path / "globals.sql")
    assert asked.count("--lock-wait-timeout=5min") == 2


def test_a_restore_of_postgres_begins_anew_and_makes_the_slots_last(tmp_path: Path) -> None:
    engine, files = Database(), Files(tmp_path, Path("/stage"))
    (files.stage / "postgres").mkdir(parents=True)
    (files.stage / "postgres/globals.sql").touch()
    Postgres(engine, POSTGRES).restore(FakeService(tmp_path), files, {"lsn": "0/1"})
    told = [
        call for call in engine.calls if "SHOW" not in call and "pg_resetwal" not in call and "pg_roles" not in call
    ]
    assert told[0].startswith("SELECT pg_drop_replication_slot(slot_name)")
    assert told[1:3] == ['DROP DATABASE IF EXISTS "main" WITH (FORCE);', 'CREATE DATABASE "main";']
    assert [call for call in told[3:] if call] == [
        "pg_restore < database.dump",
        "ANALYZE;",
        "SELECT pg_create_logical_replication_slot('runs', 'pgoutput');",
        """SELECT to_regclass('"TaskRun"') IS NOT NULL""",
        TOUCH.format(since=LAST).strip(),  # what the webapp had not sent to ClickHouse yet
    ]


def test_roles_are_made_unless_they_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server's own role has been made with it: neither it nor its password is touched."""
    store = Postgres(Engine(Shell()), POSTGRES)
    asked: list[str] = []

    def sql(_container: str, statements: str, **_options: Any) -> list[list[str]]:
        asked.append(statements)
        return [["postgres"]]

    monkeypatch.setattr(store, "sql", sql)
    (tmp_path / "globals.sql").write_text(
        "\\restrict a1\n"  # as newer versions write it, and older ones cannot read it
        "CREATE ROLE postgres;\nALTER ROLE postgres WITH PASSWORD 'x';\nCREATE ROLE reader;\nALTER ROLE reader LOGIN;\n"
        "\\unrestrict a1\n"
    )
    store.restore_roles("c", tmp_path / "globals.sql")
    assert asked[-1] == "CREATE ROLE reader;\nALTER ROLE reader LOGIN;\n"


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 9])
def test_a_file_that_vanishes_while_it_is_copied_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int
) -> None:
    """The status page is one that others replace."""
    home = tmp_path / "trigger/backup"
    home.mkdir(parents=True)
    (home / "plan.json").touch()
    (home.parent / "secrets.json").write_text("{}")
    plan = Plan("", "", "", home.parent, home.parent / "secrets.json", "", 5, True, {}, {}, {}, 0)
    store = Installation(plan)
    real, seen = Installation.parts, list[int]()

    def parts(self: Installation) -> list[Path]:
        seen.append(1)
        return [*real(self), *([home.parent / "vanished"] if len(seen) <= times else [])]

    monkeypatch.setattr(Installation, "parts", parts)
    assert store.size() > 0
    seen.clear()
    if times > 2:
        with pytest.raises(BackupError, match=r"Copying the files of the installation failed.*vanished"):
            store.snapshot()
        return
    store.snapshot()
    assert [path.name for path in (plan.stage / "files").iterdir()] == ["secrets.json"]


# -- objects -----------------------------------------------------------------------------------------------------------


def test_an_object_is_recognised_by_its_md5(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"content")
    tag = hashlib.md5(b"content").hexdigest()
    assert md5_of(file) == tag
    assert same(file, tag, Object("a", 7, tag))
    assert not same(file, tag, Object("a", 7, "0" * 32))
    assert not same(file, tag, Object("a", 8, tag))
    assert same(file, tag, Object("a", 7, f"{'0' * 32}-2"))  # in parts: its tag is no MD5
    assert not same(tmp_path / "b", md5_of(tmp_path / "b"), Object("b", 7, tag))


JSON, SUPER = "application/json", "application/super+json"


class Bundled(Objects):
    """The object store of a container that is a server of the test."""

    def __init__(self, store: Store) -> None:
        row = {"container": "o", "bucket": "packets", "region": "r", "script": "s"}
        super().__init__(Database(), row, Key("a", "s"))
        self.store = store

    def reach(self, container: str) -> RemoteBucket:
        reached = RemoteBucket(self.store.url, "", self.bucket, self.region, self.key)
        self.store.closing.callback(reached.connection.close)
        return reached


@pytest.fixture
def bucket() -> Iterator[Store]:
    with serving() as store:
        yield store


@pytest.mark.parametrize("trusting", [False, True])
def test_the_type_of_an_object_is_saved_and_restored(bucket: Store, tmp_path: Path, trusting: bool) -> None:
    """The SDK takes from it how a value is written: with another one, tasks get wrong values without an error."""
    bucket.objects |= {"a.json": b"{}", "b.json": b"[]", "c": b"x"}
    bucket.kinds |= {"a.json": SUPER, "b.json": JSON}
    files = Files(tmp_path, Path("/stage"))
    store = Bundled(bucket)
    store.copy(files.stage)
    # What is known is not asked for again.
    bucket.asked.clear()
    store.trusting = trusting
    facts = store.copy(files.stage)
    assert bucket.asked == [("GET", "")]
    with serving() as target:
        restored = Bundled(target)
        restored.restore(FakeService(tmp_path), files, facts)
        assert restored.compare(FakeService(tmp_path), facts) == []
        assert target.objects == bucket.objects
        assert target.kinds == {"a.json": SUPER, "b.json": JSON, "c": ""}


@pytest.mark.parametrize("trusting", [False, True])
def test_an_index_without_types_gets_them(bucket: Store, tmp_path: Path, trusting: bool) -> None:
    bucket.objects["a"] = b"{}"
    bucket.kinds["a"] = SUPER
    store = Bundled(bucket)
    store.copy(tmp_path)
    size, digest, _ = json.loads((tmp_path / "objects.json").read_text())["a"]
    (tmp_path / "objects.json").write_text(json.dumps({"a": [size, digest]}))
    bucket.asked.clear()
    store.trusting = trusting
    store.copy(tmp_path)
    assert bucket.asked == [("GET", ""), ("HEAD", "a")]
    assert json.loads((tmp_path / "objects.json").read_text()) == {"a": [size, digest, SUPER]}


def test_the_type_of_other_content_is_not_taken_from_the_index(bucket: Store, tmp_path: Path) -> None:
    """As a copy has left it that was killed before it wrote the index."""
    bucket.objects["a"] = b"{}"
    bucket.kinds["a"] = SUPER
    store = Bundled(bucket)
    store.copy(tmp_path)
    (tmp_path / "objects.json").write_text(json.dumps({"a": [2, "0" * 32, JSON]}))
    store.copy(tmp_path)
    assert json.loads((tmp_path / "objects.json").read_text())["a"][2] == SUPER


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_object_that_is_removed_meanwhile_does_not_end_the_backup(
    bucket: Store, tmp_path: Path, method: str
) -> None:
    bucket.objects |= {"a": b"1", "b": b"2"}
    store = Bundled(bucket)
    if method == "HEAD":  # its content is there already
        store.copy(tmp_path)
        (tmp_path / "objects.json").unlink()

    def before(_method: str, name: str) -> None:
        if name:
            bucket.objects.pop("a", None)

    bucket.before = before
    assert store.copy(tmp_path) == {"objects": 1, "bytes": 1}
    assert (method, "a") in bucket.asked
    assert set(json.loads((tmp_path / "objects.json").read_text())) == {"b"}
    assert not file_of(tmp_path / "objects", "a").exists()


def test_an_object_that_is_lost_ends_the_backup(bucket: Store, tmp_path: Path) -> None:
    """The store goes on to list it."""
    bucket.objects |= {"a": b"1", "b": b"2"}
    bucket.lost = {"a"}
    with pytest.raises(BackupError, match="lists 1 objects that it does not have, such as a"):
        Bundled(bucket).copy(tmp_path)


def test_a_connection_that_ends_within_an_answer_is_told(
    bucket: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.objects["a"] = b"1"
    real = http.client.HTTPResponse.read

    def late(answer: http.client.HTTPResponse, amount: int | None = None) -> bytes:
        if amount:
            raise TimeoutError("timed out")
        return real(answer, amount)

    monkeypatch.setattr(http.client.HTTPResponse, "read", late)
    with pytest.raises(BackupError, match=r"not sent the whole answer: TimeoutError\('timed out'\)"):
        Bundled(bucket).copy(tmp_path)


@pytest.mark.parametrize("text", [None, "{"])
def test_a_copy_without_its_index_is_refused_with_the_way_on(bucket: Store, tmp_path: Path, text: str | None) -> None:
    files = Files(tmp_path, Path("/stage"))
    files.stage.mkdir()
    if text:
        (files.stage / "objects.json").write_text(text)
    with pytest.raises(
        BackupError, match=r"objects\.json is .*not complete\. Restore another backup \(playbook backup_l"
    ):
        Bundled(bucket).restore(FakeService(tmp_path), files, {})


def test_a_copy_without_its_objects_is_refused_by_name(bucket: Store, tmp_path: Path) -> None:
    """Of a backup whose index has no types."""
    store = Bundled(bucket)
    files, service = Files(tmp_path, Path("/stage")), FakeService(tmp_path)
    files.stage.mkdir()
    contents = {"a": b"1", "b/c": b"2"}
    index = {name: [1, hashlib.md5(each).hexdigest()] for name, each in contents.items()}
    (files.stage / "objects.json").write_text(json.dumps(index))
    for name, content in contents.items():
        with pytest.raises(BackupError, match=r"of 2 objects are missing, such as .*playbook backup_list"):
            store.restore(service, files, {})
        assert bucket.objects == {}
        place = file_of(files.stage / "objects", name)
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
    store.restore(service, files, {})
    assert bucket.objects == contents
    assert store.compare(service, {"objects": 2}) == []


@pytest.mark.parametrize("name", ["../x", "a//b", "/etc/passwd", "a/./b", "x" * 900, "a/.b.new"])
def test_any_name_of_an_object_has_a_file(tmp_path: Path, name: str) -> None:
    """Tasks choose the names: none of them may end the backup, or leave the folder."""
    file = file_of(tmp_path, name)
    assert file.parents[1] == tmp_path
    file.parent.mkdir()
    file.touch()


# -- services on their own ---------------------------------------------------------------------------------------------

CONFIG = {
    "name": "trigger-webapp",
    "services": {
        "webapp": {"image": "w"},
        "trigger-redis": {
            "image": "redis:7",
            "command": ["redis-server"],
            "user": "999:999",
            "environment": {"REDISCLI_AUTH": "hidden"},
            "ports": [{"published": "1"}],
            "networks": {"trigger-data": None},
            "depends_on": {"x": {}},
            "healthcheck": {"test": ["CMD", "true"]},
            "labels": {"a": "b"},
            "volumes": [
                {"type": "volume", "source": "trigger_redis_data", "target": "/data"},
                {"type": "bind", "source": "/opt/trigger/webapp/redis.conf", "target": "/c", "read_only": True},
                {"type": "bind", "source": "/etc/ssl", "target": "/s"},
            ],
        },
    },
    "volumes": {"trigger_redis_data": {"name": "trigger_redis_data", "labels": {"dev.trigger.ansible/role": "webapp"}}},
}


class FakeEngine(Engine):
    def __init__(self) -> None:
        super().__init__(Config())
        self.made: dict[str, list[str]] = {}

    def volume(self, name: str) -> Path | None:
        return None

    def make_volume(self, name: str, labels: Any = ()) -> Path:
        self.made[name] = list(labels)
        return Path("/v")


class Config(Shell):
    def output(self, words: Sequence[str], **_options: Any) -> str:
        return json.dumps(CONFIG)


@pytest.mark.parametrize("prefix", ["", "test-"])
def test_services_on_their_own_have_neither_ports_nor_neighbours(tmp_path: Path, prefix: str) -> None:
    engine = FakeEngine()
    here = tmp_path / "webapp"
    here.mkdir()
    (here / "trigger-redis.env").touch()
    aside = Aside(engine, "own", tmp_path / "aside", 5, prefix)
    aside.write(here, ["trigger-redis", "trigger-minio"], (Path("/opt/trigger"), tmp_path))
    file = tmp_path / "aside/compose.json"
    written = json.loads(file.read_text())
    (row,) = written["services"].values()
    assert set(row) == {"image", "command", "user", "healthcheck", "env_file", "volumes", "restart"}
    assert "hidden" not in file.read_text()
    assert row["env_file"] == [str(here / "trigger-redis.env")]
    assert [mount["source"] for mount in row["volumes"]] == [
        "trigger_redis_data",
        str(tmp_path / "webapp/redis.conf"),
        "/etc/ssl",
    ]
    assert written["volumes"] == {"trigger_redis_data": {"external": True, "name": f"{prefix}trigger_redis_data"}}
    assert written["networks"] == {"default": {"internal": True}}
    labels = engine.made[f"{prefix}trigger_redis_data"]
    assert ("com.docker.compose.project=trigger-webapp" in labels) == (not prefix)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_service_may_get_another_image_with_its_volume_elsewhere(tmp_path: Path) -> None:
    here = tmp_path / "webapp"
    here.mkdir()
    aside = Aside(FakeEngine(), "own", tmp_path / "aside", 5)
    change = Change("redis:9", "/elsewhere", {"PLACE": "/elsewhere"})
    aside.write(here, ["trigger-redis"], (Path("/opt/trigger"), tmp_path), {"trigger-redis": change})
    (row,) = json.loads((tmp_path / "aside/compose.json").read_text())["services"].values()
    assert (row["image"], row["environment"]) == ("redis:9", {"PLACE": "/elsewhere"})
    places = {mount["source"]: mount["target"] for mount in row["volumes"] if mount["type"] == "volume"}
    assert places == {"trigger_redis_data": "/elsewhere"}
    assert str(tmp_path / "webapp/redis.conf") in [mount["source"] for mount in row["volumes"]]


class LateCompose(Config):
    """Waits until the time is over, or finds a container that ended."""

    def __init__(self, text: str) -> None:
        self.text = text

    def output(self, words: Sequence[str], **options: Any) -> str:
        if "up" in words:
            raise BackupError(f"Compose (up, project own) failed: {self.text}")
        return super().output(words, **options)


@pytest.mark.parametrize(
    ("text", "told"), [("application not healthy after 5s", True), ("container own-x-1 exited (1)", False)]
)
def test_the_setting_is_named_when_services_come_too_late(tmp_path: Path, text: str, told: bool) -> None:
    engine = FakeEngine()
    engine.shell = LateCompose(text)
    (tmp_path / "webapp").mkdir()
    aside = Aside(engine, "own", tmp_path / "aside", 5)
    with pytest.raises(BackupError, match=re.escape(text)) as error:
        aside.up(tmp_path / "webapp", ["trigger-redis"], (tmp_path, tmp_path))
    assert ("5 s to become healthy (webapp_start_timeout_seconds)" in str(error.value)) == told


def test_the_setting_is_named_when_a_container_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(engine, "inspect", lambda _container: {"State": {"Running": False}})
    with pytest.raises(BackupError, match=r"c was not healthy within 0 s \(webapp_start_timeout_seconds\).*logs c"):
        engine.wait("c", 0)


def test_differences_are_named() -> None:
    assert differences("table", {"a": 1, "b": 2}, {"a": 1, "c": 3}) == [
        "table b: missing instead of 2",
        "table c: 3 instead of nothing",
    ]
