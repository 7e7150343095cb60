# SPDX-License-Identifier: MIT
"""The pause, what an interrupted backup leaves, and what is refused before anything happens."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _secret_rotation
from trigger_backup import __main__ as program
from trigger_backup import points, process, stores
from trigger_backup.create import (
    PAUSED,
    base_backup,
    check_space,
    clean_stage,
    create,
    found_points,
    note,
    open_repository,
    resume,
)
from trigger_backup.engine import Engine
from trigger_backup.plan import Plan, identity, plan_of
from trigger_backup.process import BackupError, Shell
from trigger_backup.repository import Repository, Snapshot
from trigger_backup.stores import Facts, Store
from trigger_backup.wal import Log, segment_name

KEY = "e" * 32
WEBAPP = "trigger-webapp-webapp-1"


class FakeEngine(Engine):
    """Knows one container, and keeps what was done to it."""

    def __init__(self) -> None:
        super().__init__(Shell())
        self.up = True
        self.name = "ghcr.io/triggerdotdev/trigger.dev:v4.1.9@sha256:1"
        self.calls: list[str] = []

    def running(self, container: str) -> bool:
        return self.up

    def image(self, container: str) -> str:
        return self.name

    def root(self) -> Path:
        return Path("/")

    def stop(self, *containers: str) -> None:
        self.calls.append("stop")
        self.up = False

    def start(self, *containers: str) -> None:
        self.calls.append("start")
        self.up = True

    def answers(self, container: str, port: int, path: str, seconds: float) -> None:
        self.calls.append("wait")


class FakeRepository(Repository):
    def __init__(self, *, there: bool = True, installation: str = "") -> None:
        self.name = "/var/backups/trigger"
        self.there = there
        self.calls: list[str] = []
        self.known = [Snapshot("a" * 64, "2026", installation, ("/x/backup/stage",))] if installation else []
        self.saved: dict[str, Any] = {}

    def exists(self) -> bool:
        return self.there

    def make(self) -> None:
        self.calls.append("make")

    def free_stale_locks(self) -> None:
        self.calls.append("unlock")

    def require_lock(self) -> None:
        """Nothing else uses it."""

    def snapshots(self) -> list[Snapshot]:
        return self.known

    def save(
        self, paths: Any, installation: str, cut: float, backup: str = "", excluded: Any = (), key: str = ""
    ) -> dict[str, Any]:
        self.calls.append("save")
        self.saved = json.loads((Path(next(iter(paths))) / "manifest.json").read_text())
        return {"snapshot_id": "b" * 64, "total_bytes_processed": 10, "data_added": 1}

    def prune(self, keep: Mapping[str, int], point_days: int) -> None:
        self.calls.append("prune")


class FakeStore(Store):
    name = "postgres"

    def __init__(self, engine: FakeEngine, fails: str = "", bytes_needed: int = 0) -> None:
        self.engine, self.fails, self.bytes_needed = engine, fails, bytes_needed
        self.calls: list[str] = []

    def step(self, name: str) -> None:
        self.calls.append(f"{name} {'up' if self.engine.up else 'down'}")
        if name == self.fails:
            raise BackupError("it broke")

    def size(self) -> int:
        return self.bytes_needed

    def prepare(self) -> None:
        self.step("prepare")

    def snapshot(self) -> None:
        self.step("snapshot")

    def copy(self, stage: Path) -> Facts:
        self.step("copy")
        return {"lsn": "0/1"}

    def release(self) -> None:
        self.step("release")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    home = tmp_path / "backup"
    home.mkdir()
    (tmp_path / "secrets.json").write_text(json.dumps({"encryption_key": KEY}))
    content = {
        "name": "https://trigger.example.com", "collection_version": "0.1.0", "trigger_version": "v4.2.0",
        "directory": str(tmp_path), "secrets_file": str(tmp_path / "secrets.json"),
        "webapp_container": WEBAPP, "webapp_start_seconds": 5, "pause": True, "stores": {"postgres": {}},
        "left_out": {"redis": "Redis is external"}, "keep": {"daily": 7}, "check_percent": 10,
    }  # fmt: skip
    (home / "plan.json").write_text(json.dumps(content))
    return plan_of(home / "plan.json")


def quiet(_text: str) -> None:
    """Say nothing."""


def make(plan: Plan, engine: FakeEngine, store: FakeStore, repository: FakeRepository | None = None) -> dict[str, Any]:
    return create(plan, engine, repository or FakeRepository(), [store], quiet)


def status(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((plan.home / "status.json").read_text())
    return found


def test_the_webapp_is_stopped_for_the_snapshots_only(plan: Plan) -> None:
    engine = FakeEngine()
    store, repository = FakeStore(engine), FakeRepository()
    result = make(plan, engine, store, repository)
    assert store.calls == ["release up", "prepare up", "snapshot down", "copy up", "release up"]
    assert engine.calls == ["stop", "start", "wait"]
    assert not (plan.home / PAUSED).exists()
    assert repository.calls == ["unlock", "save", "prune"]
    assert repository.saved["stores"] == {"postgres": {"lsn": "0/1", "exact": True}}
    assert repository.saved["trigger_version"] == "v4.1.9"  # that of the data, whatever the inventory wants next
    assert repository.saved["installation"] == identity(KEY)
    assert repository.saved["left_out"] == {"redis": "Redis is external"}
    assert repository.saved["bytes"] == 0
    assert status(plan)["good"] == result
    assert base_backup(plan.home)["id"] == "b" * 8  # points belong to it from now on


@pytest.mark.parametrize("fails", ["snapshot", "copy"])
def test_a_failure_starts_the_webapp_and_lets_go(plan: Plan, fails: str) -> None:
    engine = FakeEngine()
    store, repository = FakeStore(engine, fails), FakeRepository()
    with pytest.raises(BackupError, match="it broke"):
        make(plan, engine, store, repository)
    assert engine.up
    assert not (plan.home / PAUSED).exists()
    assert store.calls[-1] == "release up"
    assert "save" not in repository.calls


def test_a_webapp_that_does_not_run_is_not_started(plan: Plan) -> None:
    engine = FakeEngine()
    engine.up = False
    make(plan, engine, FakeStore(engine))
    assert engine.calls == []


@pytest.mark.parametrize(("pause", "runs"), [(True, "down"), (False, "up")])
def test_the_steps_have_their_order_with_and_without_a_pause(plan: Plan, pause: bool, runs: str) -> None:
    """Every store is ready before the first one holds its state, and all hold it before the first one is copied."""
    engine, repository, steps = FakeEngine(), FakeRepository(), list[str]()

    class Named(FakeStore):
        def __init__(self, name: str) -> None:
            super().__init__(engine)
            self.name = name

        def step(self, name: str) -> None:
            assert (plan.home / PAUSED).exists() is (pause and name == "snapshot")
            steps.append(f"{name} {self.name} {'up' if engine.up else 'down'}")

    result = create(
        Plan(**{**plan.__dict__, "pause": pause}), engine, repository, [Named("postgres"), Named("redis")], quiet
    )
    held = {f"snapshot {name} {runs}" for name in ("postgres", "redis")}
    assert {*steps[4:6]} == held
    assert [step for step in steps if step not in held] == [
        f"{step} {name} up" for step in ("release", "prepare", "copy", "release") for name in ("postgres", "redis")
    ]
    assert engine.calls == (["stop", "start", "wait"] if pause else [])
    assert repository.calls == ["unlock", "save", "prune"]
    assert repository.saved["paused"] is pause
    assert [row["exact"] for row in repository.saved["stores"].values()] == [pause, pause]
    assert (result["pause_seconds"] == 0.0) or pause


def test_a_store_that_hangs_in_the_pause_starts_the_webapp(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.3)

    class Hanging(FakeStore):
        def snapshot(self) -> None:
            self.session = process.Session(["sleep", "60"], "ECHO", "Redis")
            self.session.ask("PING")

        def release(self) -> None:
            self.step("release")
            if hasattr(self, "session"):
                self.session.close()

    engine, repository = FakeEngine(), FakeRepository()
    with pytest.raises(BackupError, match="Redis did not answer within 0 s"):
        make(plan, engine, Hanging(engine), repository)
    assert engine.up
    assert not (plan.home / PAUSED).exists()
    assert "save" not in repository.calls


def test_all_stores_have_one_end_in_the_pause_however_often_they_are_asked(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers bridge 34 s without the webapp. Each answer is in time here, and the tenth one would be too late."""
    monkeypatch.setattr(stores, "PAUSE_SECONDS", 1.0)
    slow = ["sh", "-c", 'while read -r verb text; do [ "$verb" = ECHO ] && echo "$text" || sleep 0.4; done']
    ends: list[float] = []

    class Slow(FakeStore):
        def snapshot(self) -> None:
            ends.append(self.until)
            self.session = process.Session(slow, "ECHO", "Redis")
            try:
                for _ in range(10):
                    self.session.ask("PING", until=self.until)
            finally:
                self.session.close()

    engine, repository = FakeEngine(), FakeRepository()
    store = Slow(engine)
    began = time.monotonic()
    with pytest.raises(BackupError, match="Redis did not answer within"):
        make(plan, engine, store, repository)
    assert time.monotonic() - began < 3
    assert ends[0] < began + 2
    assert store.until == math.inf, "what follows the pause has time"
    assert engine.up


def test_a_webapp_that_something_else_starts_spoils_the_backup(plan: Plan) -> None:
    """Then the stores are not of one moment: a deployment at the same time does that."""

    class Meddled(FakeStore):
        def snapshot(self) -> None:
            self.engine.up = True

    engine, repository = FakeEngine(), FakeRepository()
    with pytest.raises(BackupError, match="started the webapp during the backup"):
        make(plan, engine, Meddled(engine), repository)
    assert "save" not in repository.calls


def test_a_release_that_fails_hides_nothing(plan: Plan) -> None:
    class Stuck(FakeStore):
        def release(self) -> None:
            raise OSError("stuck")

    engine = FakeEngine()
    with pytest.raises(BackupError, match="it broke"):
        make(plan, engine, Stuck(engine, "copy"))


def test_a_store_that_is_not_saved_any_more_leaves_nothing(plan: Plan) -> None:
    """Data that was moved or deleted for good would be in every later backup."""
    for place in ("files/secrets.json", "postgres/database.dump", "redis/dump.rdb", "objects/00/0", "registry/a/link"):
        (plan.stage / place).parent.mkdir(parents=True)
        (plan.stage / place).touch()
    for place in ("objects.json", "plan.json", "manifest.json"):
        (plan.stage / place).touch()
    rows: dict[str, Any] = {"postgres": {"container": "p", "user": "u", "database": "d", "slots": []}}
    rows["objects"] = {"container": "o", "bucket": "b", "region": "r", "script": "s"}
    secrets = {"object_store_access_key": "", "object_store_secret_key": ""}
    engine = FakeEngine()
    for kept in (rows, {"postgres": rows["postgres"]}, {}):
        for stores_of in (program.stores_of, program.point_stores):
            clean_stage(plan.stage, stores_of(Plan(**{**plan.__dict__, "stores": kept}), engine, secrets))
        names = {"files", "plan.json", "manifest.json"} | {*kept} | ({"objects.json"} if "objects" in kept else set())
        assert {path.name for path in plan.stage.iterdir()} == names


def test_the_stage_has_what_is_saved(plan: Plan) -> None:
    (plan.stage / "redis").mkdir(parents=True)
    engine = FakeEngine()
    make(plan, engine, FakeStore(engine))
    assert [path.name for path in plan.stage.iterdir()] == ["manifest.json"]


def test_a_list_tells_the_size_of_a_backup(plan: Plan, tmp_path: Path) -> None:
    """All that a restore fetches counts: what was copied, and what lies elsewhere."""

    class Registry(FakeStore):
        staged = ("registry",)

        def copy(self, stage: Path) -> Facts:
            for place in (stage / "registry", tmp_path / "blobs"):
                place.mkdir()
                (place / "file").write_bytes(b"x" * 1024)
            (tmp_path / "blobs/link").symlink_to("nowhere")
            return {"paths": {"blobs": str(tmp_path / "blobs")}}

    engine, repository = FakeEngine(), FakeRepository()
    make(plan, engine, Registry(engine), repository)
    assert repository.saved["bytes"] == 2 * 1024 + len("nowhere")
    row = program.listed(Snapshot("a" * 64, "2026", "i" * 16, ()), {**repository.saved, "cut": 0.0})
    assert row["bytes"] == repository.saved["bytes"]
    assert row["text"] == "aaaaaaaa  1970-01-01 00:00 UTC  v4.1.9     2.0 KiB  https://trigger.example.com"
    del repository.saved["bytes"]  # as backups of older versions
    row = program.listed(Snapshot("a" * 64, "2026", "i" * 16, ()), {**repository.saved, "cut": 0.0})
    assert row["text"] == "aaaaaaaa  1970-01-01 00:00 UTC  v4.1.9           -  https://trigger.example.com"


def test_an_image_without_a_version_has_that_of_the_inventory(plan: Plan) -> None:
    engine, repository = FakeEngine(), FakeRepository()
    engine.name = "registry.example.com/own:latest"
    make(plan, engine, FakeStore(engine), repository)
    assert repository.saved["trigger_version"] == "v4.2.0"


def test_an_interrupted_backup_is_made_good(plan: Plan) -> None:
    engine = FakeEngine()
    store = FakeStore(engine)
    engine.up = False
    resume(plan, engine, [store], quiet)
    assert engine.calls == []  # it was somebody else who stopped it
    (plan.home / PAUSED).touch()
    resume(plan, engine, [store], quiet)
    assert engine.calls == ["start", "wait"]
    assert not (plan.home / PAUSED).exists()
    assert store.calls[-1] == "release up"  # merges of ClickHouse stay stopped otherwise


def test_a_backup_that_is_stored_counts_whatever_becomes_of_old_ones(plan: Plan) -> None:
    class Full(FakeRepository):
        def prune(self, keep: Mapping[str, int], point_days: int) -> None:
            raise BackupError("append only")

    engine = FakeEngine()
    with pytest.raises(BackupError, match="bbbbbbbb is stored, but older ones remain: append only"):
        make(plan, engine, FakeStore(engine), Full())
    assert status(plan)["good"]["snapshot"] == "b" * 8


def test_a_backup_that_says_nothing_more_is_known_to_have_begun(plan: Plan) -> None:
    """One that is killed must not be told by the error of another one."""
    note(plan.home, "failed", {"time": 1, "error": "old"})
    engine = FakeEngine()
    with pytest.raises(BackupError, match="it broke"):
        make(plan, engine, FakeStore(engine, "snapshot"))
    assert status(plan)["failed"]["error"] == ""
    make(plan, engine, FakeStore(engine))
    assert "failed" not in status(plan)


def test_a_repository_that_is_gone_is_not_begun_anew(plan: Plan) -> None:
    repository = FakeRepository(there=False)
    open_repository(plan, repository, identity(KEY))
    assert repository.calls == ["make", "unlock"]
    note(plan.home, "good", {"repository": repository.name})
    with pytest.raises(BackupError, match="Is the disk mounted"):
        open_repository(plan, repository, identity(KEY))


def test_a_repository_of_another_installation_is_refused(plan: Plan) -> None:
    with pytest.raises(BackupError, match=r"another installation.*backup_repository"):
        open_repository(plan, FakeRepository(installation="f" * 16), identity(KEY))


def test_a_repository_that_cannot_be_locked_is_told_before_the_webapp_is_stopped(plan: Plan) -> None:
    class Locked(FakeRepository):
        def require_lock(self) -> None:
            raise BackupError("somebody else has it")

    engine = FakeEngine()
    store = FakeStore(engine)
    with pytest.raises(BackupError, match="somebody else has it"):
        make(plan, engine, store, Locked())
    assert engine.calls == []
    assert store.calls == ["release up"]


def test_a_full_disk_is_refused_before_the_webapp_is_stopped(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    store = FakeStore(engine, bytes_needed=2**62)
    with pytest.raises(BackupError, match=r"MiB free; a backup with what it adds to .* needs up to"):
        make(plan, engine, store)
    assert engine.calls == []
    check_space(plan, engine, FakeRepository(), [FakeStore(engine)])
    monkeypatch.setattr(process, "SPARE", 2**62)
    with pytest.raises(BackupError, match="MiB free"):
        check_space(plan, engine, FakeRepository(), [FakeStore(engine)])


GIB = 2**30
LAST = {"repository": "/var/backups/trigger", "bytes": 40 * GIB, "bytes_added": GIB}


@pytest.mark.parametrize(
    ("name", "known", "is_point", "added"),
    [
        ("", {}, False, 30 * GIB),  # all of the first one
        ("", {"good": LAST}, False, 2 * GIB),
        ("", {"good": {**LAST, "bytes_added": 40 * GIB}}, False, 10 * GIB),  # the last one was the first
        ("", {"good": {**LAST, "repository": "/elsewhere"}}, False, 30 * GIB),
        ("", {"restored": True}, False, 0),
        ("", {"good": LAST}, True, 0),
        ("", {"good": LAST, "point": {**LAST, "bytes_added": 7}}, True, 14),
        ("s3:https://s3.example.com/bucket", {}, False, None),
    ],
)
def test_a_repository_on_a_disk_of_this_host_needs_room_there(
    plan: Plan, name: str, known: dict[str, Any], is_point: bool, added: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it is on the disk of the database, which stops when that is full."""
    engine, repository = FakeEngine(), FakeRepository()
    repository.name = name or str(plan.directory / "repository/not/yet")
    here = {"repository": repository.name} if known.get("good", LAST)["repository"] == LAST["repository"] else {}
    for kind in ("good", "point"):
        if kind in known:
            note(plan.home, kind, {**known[kind], **here})
    if "restored" in known:
        found_points(plan.home, repository.name, "f" * 64)
    monkeypatch.setattr(FakeStore, "stored", lambda _: 30 * GIB)
    free = shutil.disk_usage("/")._replace(free=process.SPARE + (added or 0) + 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(FakeEngine, "root", lambda _: plan.directory)
    check_space(plan, engine, repository, [FakeStore(engine, bytes_needed=5)], is_point=is_point)
    if added is None:
        return
    words = rf"{'a point' if is_point else 'a backup'} with what it adds to {repository.name} \(backup_repository\)"
    with pytest.raises(BackupError, match=words):
        check_space(plan, engine, repository, [FakeStore(engine, bytes_needed=6)], is_point=is_point)


def test_the_last_dump_is_no_room_for_a_point(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point neither removes nor overwrites it."""
    for name, size in {"postgres/database.dump": 1000, "files/compose.yml": 10}.items():
        (plan.stage / name).parent.mkdir(parents=True)
        (plan.stage / name).write_bytes(b"x" * size)
    free = shutil.disk_usage("/")._replace(free=process.SPARE + 500)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    engine, repository = FakeEngine(), FakeRepository()
    repository.name = "s3:https://s3.example.com/bucket"
    left = [str(plan.stage / "postgres")]
    check_space(plan, engine, repository, [FakeStore(engine, bytes_needed=1500)])
    check_space(plan, engine, repository, [FakeStore(engine, bytes_needed=510)], is_point=True, excluded=left)
    with pytest.raises(BackupError, match="MiB free; a point needs"):
        check_space(plan, engine, repository, [FakeStore(engine, bytes_needed=511)], is_point=True, excluded=left)


@pytest.mark.parametrize("command", ["create", "point"])
def test_nothing_is_saved_while_a_rotation_is_unfinished(
    plan: Plan, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some of the stores may have the new secrets by then, and no restore could know which."""
    told = {"repository": "/r", "environment": {}, "key": KEY, "installation": "", "trigger_version": "v4.2.0"}
    told |= {"secrets_file": str(plan.secrets_file), "run_lock": str(tmp_path / "run")}
    (tmp_path / "backup/repository.json").write_text(json.dumps(told))
    done: list[str] = []

    def save(*_: object) -> dict[str, str]:
        done.append(command)
        return {}

    monkeypatch.setattr(program, command, save)
    monkeypatch.setattr(program, "stores_of", lambda *_: [])
    new = {"encryption_key": "2" * 32}
    _secret_rotation.store(
        str(plan.secrets_file), _secret_rotation.Rotation(_secret_rotation.BEGUN, {"encryption_key": KEY}, new)
    )
    assert program.main(["--directory", str(tmp_path), command]) == 1
    assert "A rotation of secrets is not complete" in capsys.readouterr().err
    assert done == []
    if command == "point":  # the receiver goes on meanwhile
        monkeypatch.setattr(points, "LOG_BYTES", 1)
        received = Log(plan.home).received
        received.mkdir()
        for number in (5, 6):
            (received / segment_name(1, number, 2**24)).write_bytes(b"xx")
        assert program.main(["--directory", str(tmp_path), command]) == 1
        assert [path.name[-1] for path in received.iterdir()] == ["6"]
    _secret_rotation.commit(str(plan.secrets_file), _secret_rotation.look(str(plan.secrets_file)))
    assert program.main(["--directory", str(tmp_path), command]) == 0
    assert done == [command]
