# SPDX-License-Identifier: MIT
"""The pause, what an interrupted backup leaves, and what is refused before anything happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from trigger_backup import process
from trigger_backup.create import PAUSED, base_backup, check_space, create, note, open_repository, resume
from trigger_backup.engine import Engine
from trigger_backup.plan import Plan, identity, plan_of
from trigger_backup.process import BackupError, Shell
from trigger_backup.repository import Repository, Snapshot
from trigger_backup.stores import Facts, Store

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


def test_without_a_pause_the_webapp_goes_on(plan: Plan) -> None:
    engine, repository = FakeEngine(), FakeRepository()
    make(Plan(**{**plan.__dict__, "pause": False}), engine, FakeStore(engine), repository)
    assert engine.calls == []
    assert not repository.saved["stores"]["postgres"]["exact"]


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


def test_a_full_disk_is_refused_before_the_webapp_is_stopped(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    store = FakeStore(engine, bytes_needed=2**62)
    with pytest.raises(BackupError, match="MiB free; a backup needs"):
        make(plan, engine, store)
    assert engine.calls == []
    check_space(plan, engine, [FakeStore(engine)])
    monkeypatch.setattr(process, "SPARE", 2**62)
    with pytest.raises(BackupError, match="MiB free"):
        check_space(plan, engine, [FakeStore(engine)])
