# SPDX-License-Identifier: MIT
"""What a restore sets aside, how it goes on, and how it is taken back. Volumes are folders here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup.create import BASE, base_backup, found_points
from trigger_backup.engine import Engine
from trigger_backup.files import Installation
from trigger_backup.plan import FORMAT, Plan, plan_of
from trigger_backup.process import BackupError, Shell
from trigger_backup.repository import Repository, Snapshot, usable
from trigger_backup.restore import Restore, check_manifest, number
from trigger_backup.stores import Files, Store
from trigger_backup.verify import Trial

from tests.unit.roles.backup.folders import FolderEngine

ID = "c" * 64
# Opens the repository; the backup is from before it was replaced.
KEY = "new key"


class FakeEngine(FolderEngine):
    def __init__(self, root: Path) -> None:
        super().__init__(root, Shell())
        self.removed: list[str] = []

    def remove_project(self, project: str) -> None:
        self.removed.append(project)


class FakeRepository(Repository):
    """One backup of one store."""

    def __init__(self, directory: Path, version: str = "v4.2.0") -> None:
        self.name = "/r"
        self.key = KEY
        self.directory = directory
        self.version = version
        self.stage = directory / "backup/stage"
        self.ids = [ID]
        self.secrets_file = directory / "secrets.json"

    def states(self, *tags: str) -> list[Snapshot]:
        return [Snapshot(each, "2026", "i" * 16, (str(self.stage),)) for each in self.ids]

    def manifest(self, snapshot: Snapshot) -> dict[str, Any]:
        stores = {"files": {"files": 1}, "images": {"text": "old data"}}
        return {
            "format": FORMAT, "collection_version": "0", "trigger_version": self.version, "cut": 1.0, "stores": stores,
            "volumes": ["data"],
        }  # fmt: skip

    def size(self, snapshot: Snapshot) -> int:
        return 1

    def fetch(self, snapshot: Snapshot, folder: Path, included: Any = ()) -> None:
        stage = folder / str(self.stage).lstrip("/")
        inside = self.directory in self.secrets_file.parents
        place = str(self.secrets_file.relative_to(self.directory)) if inside else self.secrets_file.name
        secrets = stage / "files" / place
        secrets.parent.mkdir(parents=True)
        secrets.write_text(json.dumps({"encryption_key": "old", "backup_key": "old key"}))
        plan = {
            "name": "n", "collection_version": "0", "trigger_version": "v4.2.0", "directory": str(self.directory),
            "secrets_file": str(self.secrets_file), "webapp_container": "c",
            "webapp_start_seconds": 1, "pause": True, "stores": {"images": {"volume": "data", "labels": ["a=b"]}},
            "left_out": {}, "keep": {}, "check_percent": 0,
        }  # fmt: skip
        (stage / "plan.json").write_text(json.dumps(plan))


class FakeStore(Store):
    def __init__(self, name: str, fail: list[str]) -> None:
        self.name, self.fail = name, fail

    def restore(self, service: Any, files: Any, facts: Any) -> None:
        if self.name == "images":
            if self.fail:
                raise BackupError(self.fail.pop())
            (service.volume("data") / "data").write_text(facts["text"])


class Host:
    """A host with an installation, or without one."""

    def __init__(self, tmp_path: Path, installed: bool) -> None:
        self.directory = tmp_path / "trigger"
        (self.directory / "backup").mkdir(parents=True)
        self.volumes = tmp_path / "volumes"
        self.volumes.mkdir()
        self.fail: list[str] = []
        self.secrets_file = self.directory / "secrets.json"
        if installed:
            (self.directory / "secrets.json").write_text(json.dumps({"encryption_key": "new", "backup_key": KEY}))
            (self.volumes / "data").mkdir()
            (self.volumes / "data/data").write_text("new data")
        self.engine = FakeEngine(self.volumes)

    def stores(self, plan: Plan, engine: Engine, secrets: Mapping[str, str]) -> Sequence[Any]:
        return [FakeStore("files", []), FakeStore("images", self.fail)]

    @property
    def restoring(self) -> Restore:
        return Restore(self.directory, self.engine, self.stores, lambda _: None)

    def restore(self, *, replace: bool = False, wanted: str = "latest", newer: str = "") -> dict[str, Any]:
        repository = FakeRepository(self.directory)
        repository.ids += [newer] if newer else []
        repository.secrets_file = self.secrets_file
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
        return volumes | {path.name for path in (self.directory / "backup").iterdir()} - {BASE}

    @property
    def points_of(self) -> str:
        """The backup that points belong to."""
        return str(base_backup(self.directory / "backup").get("id", ""))


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
    assert host.points_of == ID[:8]
    assert not host.restoring.accept()


def test_workers_reach_nothing_while_data_is_replaced(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go on asking. Whatever answers them is gone before the first change, and comes back with the deployment."""
    looks: list[list[str]] = []
    steps = {"set_aside": Restore.set_aside, "put_files": Restore.put_files, "restore_stores": Restore.restore_stores}
    for name, step in steps.items():

        def look(self: Restore, *given: Any, step: Any = step) -> None:
            looks.append(list(host.engine.removed))
            step(self, *given)

        monkeypatch.setattr(Restore, name, look)
    host.restore(replace=True)
    # Addresses first: no request of a worker is answered by half of an installation.
    assert looks == [["trigger-gateway", "trigger-registry", "trigger-webapp"]] * 3
    assert host.restoring.accept()
    # The worker of the control host stays as those of other hosts do.
    assert host.engine.removed == looks[0]


def test_points_after_a_restored_point_belong_to_its_backup(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ClickHouse a point has everything itself. Points of a point are neither listed nor kept."""
    point = Snapshot("d" * 64, "2026", "i" * 16, (str(host.directory / "backup/stage"),), 2.0, ID[:8], point=True)
    backups = FakeRepository.states
    monkeypatch.setattr(FakeRepository, "states", lambda *given: [*backups(*given), point])
    assert host.restore(replace=True, wanted=point.short)["text"].startswith("The point dddddddd is restored")
    later = Snapshot("e" * 64, "2026", "i" * 16, (), 3.0, host.points_of, point=True)
    assert usable([*FakeRepository(host.directory).states(), later])[-1] == later


def test_nothing_is_replaced_unasked(installed: Host) -> None:
    with pytest.raises(
        BackupError, match=r"has an installation \(secrets.json, volume data\).*backup_restore_replace_enabled to true"
    ):
        installed.restore()
    assert installed.state == NEW
    assert installed.traces == set()


@pytest.mark.parametrize("step", ["stop", "set_aside", "put_files", "images"])
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
    # The same command again: nothing but the stop of the containers was done yet.
    host.restore(replace=step == "stop")
    assert host.state == OLD
    assert host.restoring.accept()
    assert host.traces == set()


@pytest.mark.parametrize("before", ["", "f" * 8])
@pytest.mark.parametrize("step", ["fetch", "set_aside", "put_files", "images", ""])
def test_a_restore_is_taken_back(installed: Host, step: str, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if before:
        found_points(installed.directory / "backup", "/r", before)
    if step == "images":
        installed.fail.append("ended")
    elif step:
        monkeypatch.setattr(Restore, step, lambda *_: (_ for _ in ()).throw(BackupError("ended")))
    if step:
        with pytest.raises(BackupError, match="ended"):
            installed.restore(replace=True)
    else:
        installed.restore(replace=True)
    assert installed.restoring.undo(discard=not step)
    assert installed.state == NEW
    assert installed.traces == set()
    assert installed.points_of == before
    assert not installed.restoring.undo(discard=True)


def test_half_of_a_store_is_removed_before_its_service_starts(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that finds a part of its data may not start, and the restore could never go on."""
    real = FakeStore.restore

    def half(store: FakeStore, service: Any, files: Any, facts: Any) -> None:
        if store.name == "images":
            (service.volume("data") / "half").touch()
            raise BackupError("ended")

    monkeypatch.setattr(FakeStore, "restore", half)
    with pytest.raises(BackupError, match="ended"):
        installed.restore(replace=True)
    monkeypatch.setattr(FakeStore, "restore", real)
    installed.restore()
    assert [path.name for path in (installed.volumes / "data").iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("place", "words"), [("", "images is not complete: images/text is missing"), ("elsewhere", "")]
)
def test_a_file_that_the_backup_lacks_is_named(
    installed: Host, place: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other one is a fault of this host."""

    def reads(store: FakeStore, service: Any, files: Files, facts: Any) -> None:
        if store.name == "images":
            (Path(place or files.stage) / "images/text").read_bytes()

    monkeypatch.setattr(FakeStore, "restore", reads)
    with pytest.raises(BackupError if words else FileNotFoundError, match=words or "elsewhere"):
        installed.restore(replace=True)


@pytest.mark.parametrize("name", ["plan.json", "files/secrets.json"])
def test_a_backup_without_what_a_restore_begins_with_is_refused(
    host: Host, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = FakeRepository.fetch

    def lacking(repository: FakeRepository, snapshot: Snapshot, folder: Path, included: Any = ()) -> None:
        fetch(repository, snapshot, folder, included)
        (folder / str(repository.stage).lstrip("/") / name).unlink()

    monkeypatch.setattr(FakeRepository, "fetch", lacking)
    # Of the files, only after these are in place.
    monkeypatch.setattr(Restore, "put_files", lambda *_: None)
    with pytest.raises(BackupError, match=r"json is missing\. What was saved is not complete\. Restore another backup"):
        host.restore(replace=True)


def test_a_backup_of_a_newer_collection_may_have_more(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older one cannot restore has a later format."""
    fetch = FakeRepository.fetch

    def more(repository: FakeRepository, snapshot: Snapshot, folder: Path, included: Any = ()) -> None:
        fetch(repository, snapshot, folder, included)
        path = folder / str(repository.stage).lstrip("/") / "plan.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "of_later": {"a": 1}}))

    monkeypatch.setattr(FakeRepository, "fetch", more)
    host.restore(replace=True)
    assert host.state == OLD


@pytest.mark.parametrize("begun", [True, False])
def test_a_repository_that_has_points_alone_is_told(
    installed: Host, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if begun:
        installed.fail.append("ended")
        with pytest.raises(BackupError, match="ended"):
            installed.restore(replace=True)
    point = Snapshot("d" * 64, "2026", "i" * 16, (str(installed.directory / "backup/stage"),), 2.0, ID[:8], point=True)
    monkeypatch.setattr(FakeRepository, "states", lambda *_: [point])
    with pytest.raises(BackupError, match=r"/r has no backup any more .*Set backup_repository to where"):
        installed.restore(replace=True, wanted="latest" if begun else point.short)


def test_containers_go_without_the_files_of_their_projects(installed: Host) -> None:
    (installed.directory / "secrets.json").unlink()
    installed.restore(replace=True)
    assert installed.engine.removed == ["trigger-gateway", "trigger-registry", "trigger-webapp"]


def test_a_restore_that_stopped_nothing_is_begun_anew(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weeks later nobody remembers that it was to replace something."""
    monkeypatch.setattr(Restore, "fetch", lambda *_: (_ for _ in ()).throw(BackupError("no network")))
    with pytest.raises(BackupError, match="no network"):
        installed.restore(replace=True)
    monkeypatch.undo()
    with pytest.raises(BackupError, match="backup_restore_replace_enabled to true"):
        installed.restore()
    assert installed.state == NEW


def test_what_was_accepted_is_not_taken_back(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.restore(replace=True)
    monkeypatch.setattr(FakeEngine, "remove_volume", lambda *_: (_ for _ in ()).throw(BackupError("ended")))
    with pytest.raises(BackupError, match="ended"):
        installed.restoring.accept()
    monkeypatch.undo()
    with pytest.raises(BackupError, match="trigger-backup accept"):
        installed.restoring.undo(discard=True)
    assert installed.restoring.accept()
    assert installed.state == OLD


def test_a_secrets_file_elsewhere_is_restored_and_brought_back(tmp_path: Path) -> None:
    host = Host(tmp_path, False)
    outside = tmp_path / "etc/secrets.json"
    host.secrets_file = outside
    host.restore()
    assert json.loads(outside.read_text()) == {"encryption_key": "old", "backup_key": KEY}
    host.restoring.accept()
    outside.write_text(json.dumps({"encryption_key": "newer"}))
    host.restore(replace=True)
    assert json.loads(outside.read_text()) == {"encryption_key": "old", "backup_key": KEY}
    host.restoring.undo(discard=True)
    assert json.loads(outside.read_text()) == {"encryption_key": "newer"}


def test_a_secrets_file_in_a_subfolder_is_restored_and_brought_back(tmp_path: Path) -> None:
    host = Host(tmp_path, False)
    host.secrets_file = host.directory / "private/secrets.json"
    host.secrets_file.parent.mkdir()
    host.secrets_file.write_text(json.dumps({"encryption_key": "newer"}))
    host.restore(replace=True)
    assert json.loads(host.secrets_file.read_text()) == {"encryption_key": "old", "backup_key": KEY}
    host.restoring.undo(discard=True)
    assert json.loads(host.secrets_file.read_text()) == {"encryption_key": "newer"}


@pytest.mark.parametrize("place", ["trigger/secrets.json", "trigger/private/keys/secrets.json", "etc/own.json"])
def test_a_test_and_a_restore_find_the_secrets_where_a_backup_puts_them(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, True)
    repository = FakeRepository(host.directory)
    repository.secrets_file = tmp_path / place
    repository.secrets_file.parent.mkdir(parents=True, exist_ok=True)
    repository.secrets_file.write_text(json.dumps({"encryption_key": "of the backup"}))
    repository.fetch(repository.snapshots()[0], tmp_path / "source")
    (plan_file,) = (tmp_path / "source").rglob("plan.json")
    plan = plan_of(Path(shutil.copy2(plan_file, host.directory / "backup")))

    def fetch(_repository: FakeRepository, _snapshot: Snapshot, folder: Path, included: Any = ()) -> None:
        Installation(plan).snapshot()
        shutil.copytree(plan.stage, folder / str(plan.stage).lstrip("/"))

    found: list[Mapping[str, str]] = []

    def stores(_plan: Plan, _engine: Engine, secrets: Mapping[str, str]) -> Sequence[Any]:
        found.append(secrets)
        return [FakeStore("files", []), FakeStore("images", [])]

    monkeypatch.setattr(FakeRepository, "fetch", fetch)
    monkeypatch.setattr(host.engine, "volumes", lambda _prefix: [])
    monkeypatch.setattr(host, "stores", stores)
    manifest = repository.manifest(repository.snapshots()[0])
    manifest["stores"] = {**manifest["stores"], "clickhouse": {"exact": False}, "redis": {"exact": True}}
    with monkeypatch.context() as patch:
        patch.setattr(repository, "manifest", lambda _: manifest)
        trial = Trial(plan, host.engine, stores, lambda _: None)
        assert trial.run(repository, repository.snapshots()[0]) == ["clickhouse"], "what could not be compared"
    host.restoring.run(repository, repository.snapshots()[0], "v4.5.12", True)
    assert found == [{"encryption_key": "of the backup"}] * 2


def test_the_key_of_the_repository_outlives_an_older_backup(host: Host) -> None:
    """The key of that time opens nothing any more, and what is replaced has the last copy of the present one."""
    before = host.secrets_file.read_text() if host.secrets_file.exists() else ""
    host.restore(replace=True)
    assert json.loads(host.secrets_file.read_text()) == {"encryption_key": "old", "backup_key": KEY}
    assert host.secrets_file.stat().st_mode & 0o777 == 0o600
    host.restoring.undo(discard=True)
    assert (host.secrets_file.read_text() if host.secrets_file.exists() else "") == before


def test_an_empty_host_is_empty_again(tmp_path: Path) -> None:
    """With what the restore has put there, the next deployment would meet data that its secrets do not fit."""
    host = Host(tmp_path, False)
    host.restore()
    assert host.restoring.undo(discard=True)
    assert host.state == ("", "")


def test_a_restored_installation_is_not_discarded_unasked(installed: Host) -> None:
    installed.restore(replace=True)
    with pytest.raises(BackupError, match="--discard"):
        installed.restoring.undo(discard=False)
    assert installed.state == OLD


def test_volumes_without_files_are_not_replaced_unasked(installed: Host) -> None:
    (installed.directory / "secrets.json").unlink()
    with pytest.raises(BackupError, match=r"has an installation \(volume data\)"):
        installed.restore()


def test_a_forgotten_restore_is_not_taken_for_a_new_one(host: Host) -> None:
    """The operator has mended the deployment by hand, and restores something else weeks later."""
    host.restore(replace=True)
    with pytest.raises(BackupError, match=r"a newer backup was made since.*backup_restore_snapshot=cccccccc.*accept"):
        host.restore(newer="d" * 64)
    host.restore(newer="d" * 64, wanted="cccccccc")
    assert host.restoring.accept()


def test_an_undo_that_is_interrupted_loses_nothing(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.restore(replace=True)
    monkeypatch.setattr(FakeEngine, "remove_volume", lambda *_: (_ for _ in ()).throw(BackupError("ended")))
    with pytest.raises(BackupError, match="ended"):
        installed.restoring.undo(discard=True)
    monkeypatch.undo()
    assert installed.restoring.undo(discard=True)
    assert installed.state == NEW


def ends(*_: Any) -> None:
    """The power is gone."""
    raise KeyboardInterrupt


def test_an_undo_that_was_killed_goes_on_and_nothing_else_does(
    installed: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of what was replaced is back: as an accepted restore, the installation would lose the rest."""
    installed.restore(replace=True)
    monkeypatch.setattr(shutil, "move", ends)
    with pytest.raises(KeyboardInterrupt):
        installed.restoring.undo(discard=True)
    monkeypatch.undo()
    with pytest.raises(BackupError, match=r"being undone\. Finish that: .*trigger-backup undo"):
        installed.restore()
    with pytest.raises(BackupError, match=r"being undone\. Finish that: .*trigger-backup undo"):
        installed.restoring.accept()
    assert installed.restoring.undo(discard=False)
    assert installed.state == NEW
    assert installed.traces == set()


def test_a_volume_has_its_mode_after_a_kill_in_the_middle(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres starts with none but its own."""
    (installed.volumes / "data").chmod(0o700)
    real = shutil.move
    (installed.volumes / "data/second").touch()

    def half(source: str, target: str) -> None:
        monkeypatch.setattr(shutil, "move", ends)
        real(source, target)

    monkeypatch.setattr(shutil, "move", half)
    with pytest.raises(KeyboardInterrupt):
        installed.restore(replace=True)
    monkeypatch.undo()
    assert installed.restoring.undo(discard=False)
    assert installed.state == NEW
    assert (installed.volumes / "data").stat().st_mode & 0o7777 == 0o700


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


@pytest.mark.parametrize(
    ("facts", "wanted", "refused"),
    [
        ({"version": "17.6 (Debian 17.6-1.pgdg12+1)"}, "18", True),
        ({"version": "18.1"}, "17", True),
        ({"version": "17.6", "mark": "m"}, "17", False),
        ({"version": "17.6"}, "", False),  # external, or an image without a version in its name
        ({}, "17", False),
        (None, "17", False),
    ],
)
def test_data_of_another_postgres_is_refused_before_anything_is_stopped(
    installed: Host, facts: Mapping[str, Any] | None, wanted: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The webapp would be deployed with an image that cannot read the data, and the old data is set aside by then."""
    whole_manifest = FakeRepository.manifest

    def told(repository: FakeRepository, snapshot: Snapshot) -> dict[str, Any]:
        found = whole_manifest(repository, snapshot)
        return {**found, "stores": {**found["stores"], **({} if facts is None else {"postgres": facts})}}

    monkeypatch.setattr(FakeRepository, "manifest", told)
    repository = FakeRepository(installed.directory)
    chosen = repository.snapshots()[0]
    if refused:
        with pytest.raises(BackupError, match=rf"image is of {wanted}.*Set webapp_postgres_image to an image of"):
            installed.restoring.run(repository, chosen, "v4.5.12", True, wanted)
        assert installed.state == NEW
        assert installed.engine.removed == []
    else:
        installed.restoring.run(repository, chosen, "v4.5.12", True, wanted)
        assert installed.state == OLD


def test_versions_are_compared_as_numbers() -> None:
    assert number("v4.10.0") > number("v4.9.3")
    assert number("v4.5.12") == number("v4.5.12-beta.1")
