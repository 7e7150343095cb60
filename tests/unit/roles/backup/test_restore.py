# SPDX-License-Identifier: MIT
"""What a restore sets aside, how it goes on, and how it is taken back. Volumes are folders here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup.engine import Engine
from trigger_backup.plan import FORMAT, Plan
from trigger_backup.process import BackupError, Shell
from trigger_backup.repository import Repository, Snapshot
from trigger_backup.restore import Restore, check_manifest, number
from trigger_backup.stores import Facts

ID = "c" * 64


class FakeEngine(Engine):
    def __init__(self, root: Path) -> None:
        super().__init__(Shell())
        self.root = root

    def volume(self, name: str) -> Path | None:
        path = self.root / name
        return path if path.is_dir() else None

    def make_volume(self, name: str, labels: Any = ()) -> Path:
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name

    def remove_volume(self, name: str) -> None:
        path = self.root / name
        for file in path.iterdir() if path.is_dir() else []:
            file.unlink()
        if path.is_dir():
            path.rmdir()


class FakeRepository(Repository):
    """One backup of one store."""

    def __init__(self, directory: Path, version: str = "v4.2.0") -> None:
        self.name = "/r"
        self.directory = directory
        self.version = version
        self.stage = directory / "backup/stage"

    def snapshots(self) -> list[Snapshot]:
        return [Snapshot(ID, "2026", "i" * 16, (str(self.stage),))]

    def manifest(self, snapshot: Snapshot) -> dict[str, Any]:
        stores = {"files": {"files": 1}, "images": {"text": "old data"}}
        return {
            "format": FORMAT, "collection_version": "0", "trigger_version": self.version, "cut": 1.0, "stores": stores,
        }  # fmt: skip

    def size(self, snapshot: Snapshot) -> int:
        return 1

    def fetch(self, snapshot: Snapshot, folder: Path) -> None:
        stage = folder / str(self.stage).lstrip("/")
        (stage / "files").mkdir(parents=True)
        (stage / "files/secrets.json").write_text(json.dumps({"encryption_key": "old"}))
        plan = {
            "name": "n", "collection_version": "0", "trigger_version": "v4.2.0", "directory": str(self.directory),
            "secrets_file": str(self.directory / "secrets.json"), "webapp_project": "p", "webapp_container": "c",
            "webapp_start_seconds": 1, "pause": True, "stores": {"images": {"volume": "data", "labels": ["a=b"]}},
            "left_out": {}, "keep": {}, "check_percent": 0,
        }  # fmt: skip
        (stage / "plan.json").write_text(json.dumps(plan))


class FakeStore:
    def __init__(self, name: str, fail: list[str]) -> None:
        self.name, self.fail = name, fail

    def size(self) -> int:
        return 0

    def snapshot(self) -> None: ...

    def copy(self, stage: Path) -> Facts:
        return {}

    def release(self) -> None: ...

    def restore(self, service: Any, files: Any, facts: Any) -> None:
        if self.name == "images":
            if self.fail:
                raise BackupError(self.fail.pop())
            (service.volume("data") / "data").write_text(facts["text"])

    def compare(self, service: Any, facts: Any) -> list[str]:
        return []


class Host:
    """A host with an installation, or without one."""

    def __init__(self, tmp_path: Path, installed: bool) -> None:
        self.directory = tmp_path / "trigger"
        (self.directory / "backup").mkdir(parents=True)
        self.volumes = tmp_path / "volumes"
        self.volumes.mkdir()
        self.fail: list[str] = []
        if installed:
            (self.directory / "secrets.json").write_text(json.dumps({"encryption_key": "new"}))
            (self.volumes / "data").mkdir()
            (self.volumes / "data/data").write_text("new data")
        self.engine = FakeEngine(self.volumes)

    def stores(self, plan: Plan, engine: Engine, secrets: Mapping[str, str]) -> Sequence[Any]:
        return [FakeStore("files", []), FakeStore("images", self.fail)]

    @property
    def restoring(self) -> Restore:
        return Restore(self.directory, self.engine, self.stores, lambda _: None)

    def restore(self, *, replace: bool = False, wanted: str = "latest") -> dict[str, Any]:
        repository = FakeRepository(self.directory)
        chosen = self.restoring.choose(repository, wanted, None)
        return self.restoring.run(repository, chosen, "v4.5.12", replace)

    @property
    def state(self) -> tuple[str, str]:
        """The key and the data that are in force."""
        secrets = self.directory / "secrets.json"
        data = self.volumes / "data/data"
        return (
            json.loads(secrets.read_text())["encryption_key"] if secrets.exists() else "",
            data.read_text() if data.exists() else "",
        )

    @property
    def traces(self) -> set[str]:
        volumes = {path.name for path in self.volumes.iterdir()} - {"data"}
        return volumes | {path.name for path in (self.directory / "backup").iterdir()}


NEW, OLD = ("new", "new data"), ("old", "old data")


@pytest.fixture(params=[True, False], ids=["installed", "empty"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return Host(tmp_path, request.param)


@pytest.fixture
def installed(tmp_path: Path) -> Host:
    return Host(tmp_path, True)


def test_a_backup_is_restored_and_accepted(host: Host) -> None:
    assert host.restore(replace=True)["trigger_version"] == "v4.2.0"
    assert host.state == OLD
    assert host.restoring.accept()
    assert host.traces == set()
    assert not host.restoring.accept()


def test_nothing_is_replaced_unasked(installed: Host) -> None:
    with pytest.raises(BackupError, match=r"has an installation \(secrets.json\).*backup_restore_replace_enabled=true"):
        installed.restore()
    assert installed.state == NEW
    assert installed.traces == set()


@pytest.mark.parametrize("step", ["fetch", "stop", "set_aside", "put_files", "images"])
def test_an_interrupted_restore_goes_on(host: Host, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if step == "images":
        host.fail.append("ended")
    else:
        real = getattr(Restore, step)

        def once(*given: Any) -> None:
            monkeypatch.setattr(Restore, step, real)
            real(*given)
            raise BackupError("ended")

        monkeypatch.setattr(Restore, step, once)
    with pytest.raises(BackupError, match="ended"):
        host.restore(replace=True)
    with pytest.raises(BackupError, match="not complete"):
        host.restoring.accept()
    host.restore()
    assert host.state == OLD
    assert host.restoring.accept()
    assert host.traces == set()


@pytest.mark.parametrize("step", ["fetch", "set_aside", "put_files", "images", ""])
def test_a_restore_is_taken_back(installed: Host, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if step == "images":
        installed.fail.append("ended")
    elif step:
        monkeypatch.setattr(Restore, step, lambda *_: (_ for _ in ()).throw(BackupError("ended")))
    if step:
        with pytest.raises(BackupError, match="ended"):
            installed.restore(replace=True)
    else:
        installed.restore(replace=True)
    assert installed.restoring.undo()
    assert installed.state == NEW
    assert installed.traces == set()
    assert not installed.restoring.undo()


def test_an_undo_that_is_interrupted_loses_nothing(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.restore(replace=True)
    monkeypatch.setattr(FakeEngine, "remove_volume", lambda *_: (_ for _ in ()).throw(BackupError("ended")))
    with pytest.raises(BackupError, match="ended"):
        installed.restoring.undo()
    monkeypatch.undo()
    assert installed.restoring.undo()
    assert installed.state == NEW


def test_a_complete_restore_is_not_repeated(host: Host) -> None:
    """The deployment that comes after it failed, and the playbook is started again."""
    host.restore(replace=True)
    (host.volumes / "data/data").write_text("work of the restored installation")
    host.restore()
    assert host.state[1] == "work of the restored installation"
    assert host.restoring.accept()


def test_another_backup_has_to_wait(host: Host) -> None:
    host.fail.append("ended")
    with pytest.raises(BackupError, match="ended"):
        host.restore(replace=True)
    with pytest.raises(BackupError, match="backup_restore_snapshot=cccccccc"):
        host.restore(wanted="d" * 8)


def manifest(**facts: Any) -> dict[str, Any]:
    return {"format": FORMAT, "collection_version": "9.0.0", "trigger_version": "v4.2.0", **facts}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"format": FORMAT + 1}, "version 9.0.0 of the collection, which is newer"),
        ({"trigger_version": "v4.10.1"}, "Set trigger_version to v4.10.1 or later"),
    ],
)
def test_a_backup_of_something_newer_is_refused(facts: dict[str, Any], words: str) -> None:
    snapshot = Snapshot(ID, "", "", ())
    check_manifest(manifest(), snapshot, "v4.9.0")
    with pytest.raises(BackupError, match=words):
        check_manifest(manifest(**facts), snapshot, "v4.9.0")


def test_versions_are_compared_as_numbers() -> None:
    assert number("v4.10.0") > number("v4.9.3")
    assert number("v4.5.12") == number("v4.5.12-beta.1")
