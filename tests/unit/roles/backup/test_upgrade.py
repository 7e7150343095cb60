# SPDX-License-Identifier: MIT
"""An upgrade of Postgres, how it goes on, and how it is taken back. Volumes are folders, and containers are names."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup import upgrade
from trigger_backup.aside import Aside, Change
from trigger_backup.plan import Plan
from trigger_backup.process import BackupError, Shell
from trigger_backup.restore import move
from trigger_backup.upgrade import Upgrade, require_finished

from tests.unit.roles.backup.folders import FolderEngine

VOLUME, KEPT = "trigger_postgres_data", "trigger_postgres_old_data"
NEW = "docker.io/library/postgres:17.6-bookworm"
OLD = "docker.io/library/postgres:15.14-bookworm"
FOLDER = "/var/lib/postgresql"
WEBAPP, ELECTRIC, POSTGRES = "webapp", "electric", "trigger-postgres"


class FakeShell(Shell):
    """Knows images by the version in their tags."""

    def __init__(self) -> None:
        self.pulled: list[str] = []

    def run(self, words: Sequence[str], **_given: Any) -> subprocess.CompletedProcess[bytes]:
        if words[:2] == ["docker", "pull"]:
            self.pulled.append(words[-1])
        known = words[1] != "image" or words[-1] in [OLD, *self.pulled]
        told = f"postgres (PostgreSQL) {words[-2].rpartition(':')[2]}\n" if words[-1] == "--version" else ""
        return subprocess.CompletedProcess(words, 0 if known else 1, told.encode(), b"")


class FakeEngine(FolderEngine):
    def __init__(self, root: Path) -> None:
        self.fake = FakeShell()
        super().__init__(root, self.fake)
        self.up = [WEBAPP, ELECTRIC, POSTGRES]

    def running(self, container: str) -> bool:
        return container in self.up

    def stop(self, *containers: str) -> None:
        self.up = [name for name in self.up if name not in containers]

    def start(self, *containers: str) -> None:
        self.up += containers

    def answers(self, container: str, port: int, path: str, seconds: float) -> None:
        assert POSTGRES in self.up, "the webapp was started without its database"

    def containers(self, project: str, service: str = "") -> list[str]:
        return [service]

    def remove_containers(self, containers: Sequence[str], what: str) -> None:
        self.stop(*containers)

    def volumes(self, prefix: str) -> list[str]:
        return [path.name for path in self.root_folder.iterdir() if path.name.startswith(prefix)]


class Host:
    """A host with a database of Postgres 15, which a test can make fail."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = tmp_path / "trigger"
        self.home = self.directory / "backup"
        self.home.mkdir(parents=True)
        self.volumes = tmp_path / "volumes"
        (self.volumes / VOLUME).mkdir(parents=True)
        self.put(VOLUME, "15", "rows")
        self.engine = FakeEngine(self.volumes)
        self.fail: dict[str, str] = {}
        self.differences: list[str] = []
        self.databases: list[str] = []
        self.need = 1
        host = self

        class FakePostgres:
            container = POSTGRES

            def __init__(self, *_given: Any) -> None:
                pass

            def size(self) -> int:
                return host.need

            def sql(self, _container: str, _statements: str) -> list[list[str]]:
                return [[name] for name in host.databases]

            def prepare(self) -> None:
                pass

            def snapshot(self) -> None:
                assert WEBAPP not in host.engine.up, "the webapp writes meanwhile"

            def release(self) -> None:
                pass

            def copy(self, stage: Path) -> dict[str, Any]:
                (stage / "dump").write_text((host.volumes / VOLUME / "data").read_text())
                host.may_fail("dump")
                return {}

            def restore(self, service: Any, files: Any, facts: Any) -> None:
                host.may_fail("restore")
                name = f"{upgrade.PROJECT}-{VOLUME}"
                host.put(name, "17", (files.stage / "dump").read_text())

            def compare(self, service: Any, facts: Any) -> list[str]:
                return host.differences

            def level(self, service: Any, facts: Any) -> None:
                pass

        class FakeAside(Aside):
            def up(
                self, source: Path, services: Sequence[str], moved: Any, changes: Mapping[str, Change] | None = None
            ) -> None:
                assert changes == {POSTGRES: Change(NEW, FOLDER, {"PGDATA": FOLDER})}
                host.engine.make_volume(self.prefix + VOLUME)
                host.may_fail("start")

            def down(self) -> None:
                pass

        monkeypatch.setattr(upgrade, "Postgres", FakePostgres)
        monkeypatch.setattr(upgrade, "Aside", FakeAside)

    def may_fail(self, step: str) -> None:
        if step in self.fail:
            raise BackupError(self.fail.pop(step))

    def put(self, volume: str, major: str, data: str) -> None:
        (self.volumes / volume / "PG_VERSION").write_text(f"{major}\n")
        (self.volumes / volume / "data").write_text(data)

    @property
    def upgrading(self) -> Upgrade:
        row = {"volume": VOLUME, "service": POSTGRES, "folder": FOLDER}
        plan = Plan(
            "n", "0", "v4.2.0", self.directory, self.directory / "secrets.json", WEBAPP, 1, False, {"postgres": row},
            {}, {}, 0,
        )  # fmt: skip
        return Upgrade(plan, self.engine, lambda _: None)

    def run(self, image: str = NEW, *, check: bool = False) -> dict[str, Any]:
        return self.upgrading.run(image, check)

    def major(self, volume: str = VOLUME) -> str:
        path = self.volumes / volume / "PG_VERSION"
        return path.read_text().strip() if path.exists() else ""

    def mode(self, volume: str) -> int:
        return (self.volumes / volume).stat().st_mode & 0o7777

    @property
    def is_as_before(self) -> bool:
        names = {path.name for path in self.volumes.iterdir()}
        return (
            names == {VOLUME}
            and self.major() == "15"
            and not list(self.home.iterdir())
            and sorted(self.engine.up) == sorted([WEBAPP, ELECTRIC, POSTGRES])
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_the_data_is_carried_over_and_the_old_one_kept(host: Host) -> None:
    assert host.run() == {"changed": True, "from": "15", "to": "17"}
    assert (host.major(), host.major(KEPT)) == ("17", "15")
    assert (host.volumes / VOLUME / "data").read_text() == "rows"
    # What reads it is stopped until it is deployed.
    assert host.engine.up == []
    assert {path.name for path in host.home.iterdir()} == {upgrade.UPGRADE}
    assert host.engine.fake.pulled == [NEW]
    assert host.engine.labels[KEPT] == ["dev.trigger.ansible/role=webapp"]


def test_a_second_run_changes_nothing(host: Host) -> None:
    host.run()
    assert host.run() == {"changed": False, "from": "15", "to": "17"}


def test_accepted_the_old_data_is_removed(host: Host) -> None:
    host.run()
    assert host.upgrading.accept()
    assert {path.name for path in host.volumes.iterdir()} == {VOLUME}
    assert list(host.home.iterdir()) == []
    assert not host.upgrading.accept()


@pytest.mark.parametrize(
    ("image", "major"), [(NEW, "17"), (f"{NEW}@sha256:1", "17"), ("localhost:5000/postgres:latest", "")]
)
def test_a_dry_run_only_looks_and_pulls_nothing(host: Host, image: str, major: str) -> None:
    assert host.run(image, check=True) == {"changed": True, "from": "15", "to": major}
    assert host.engine.fake.pulled == []
    assert host.is_as_before


def test_a_dry_run_refuses_an_older_image_that_is_not_there(host: Host) -> None:
    with pytest.raises(BackupError, match=r"older\. Postgres cannot go back"):
        host.run("docker.io/library/postgres:14.1", check=True)
    assert host.engine.fake.pulled == []


@pytest.mark.parametrize("step", ["dump", "start", "restore"])
def test_a_failure_leaves_the_old_database_in_use(host: Host, step: str) -> None:
    host.fail[step] = "no"
    with pytest.raises(BackupError, match="no"):
        host.run()
    assert host.is_as_before
    host.run()
    assert host.major() == "17"


def test_leftovers_keep_no_webapp_stopped(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that is about to end may still use the new volume."""
    host.fail["restore"] = "no"
    real = host.engine.remove_volume

    def busy(name: str) -> None:
        monkeypatch.setattr(host.engine, "remove_volume", real)
        raise BackupError("volume is in use")

    monkeypatch.setattr(host.engine, "remove_volume", busy)
    with pytest.raises(BackupError, match="no"):
        host.run()
    assert WEBAPP in host.engine.up
    assert host.run()["changed"]


def test_data_that_differs_is_not_taken(host: Host) -> None:
    host.differences = ["Postgres table public.a: 1 instead of 2"]
    with pytest.raises(BackupError, match=r"not as the old one: Postgres table public\.a"):
        host.run()
    assert host.is_as_before


def test_a_webapp_that_was_stopped_stays_so(host: Host) -> None:
    host.engine.stop(WEBAPP)
    host.fail["dump"] = "no"
    with pytest.raises(BackupError, match="no"):
        host.run()
    assert WEBAPP not in host.engine.up


def ends(*_: Any) -> None:
    """The power is gone."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("moves", [0, 1])
@pytest.mark.parametrize("back", [False, True])
def test_what_is_killed_in_the_middle_goes_on_or_back(
    host: Host, moves: int, back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = move
    left = [moves]
    (host.volumes / VOLUME).chmod(0o700)

    def half(source: Path, target: Path) -> None:
        """One file only, and then the power is gone."""
        if left[0] < 0:
            real(source, target)
            return
        left[0] -= 1
        if left[0] >= 0:
            real(source, target)
            return
        (source / "data").rename(target / "data")
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "move", ends)
            real(source, target)

    monkeypatch.setattr(upgrade, "move", half)
    with pytest.raises(KeyboardInterrupt):
        host.run()
    with pytest.raises(BackupError, match="not complete"):
        host.upgrading.accept()
    with pytest.raises(BackupError, match=r"not complete, and webapp_postgres_image is of Postgres 16.*undo"):
        host.run("postgres:16")
    if back:
        assert host.upgrading.undo(discard=False)
        assert (host.major(), (host.volumes / VOLUME / "data").read_text()) == ("15", "rows")
        assert {path.name for path in host.volumes.iterdir()} == {VOLUME}
        assert host.mode(VOLUME) == 0o700
    else:
        assert host.run()["changed"]
        assert (host.major(), host.major(KEPT)) == ("17", "15")
        assert host.mode(KEPT) == 0o700


def test_an_empty_volume_of_old_data_gives_no_mode_away(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the first file was moved: Docker has made the volume for root."""
    (host.volumes / VOLUME).chmod(0o700)
    monkeypatch.setattr(upgrade, "move", ends)
    with pytest.raises(KeyboardInterrupt):
        host.run()
    monkeypatch.setattr(upgrade, "move", move)
    assert host.upgrading.undo(discard=False)
    assert {path.name for path in host.volumes.iterdir()} == {VOLUME}
    assert (host.major(), host.mode(VOLUME)) == ("15", 0o700)


def test_a_completed_upgrade_is_taken_back_only_when_asked_twice(host: Host) -> None:
    host.run()
    with pytest.raises(BackupError, match=r"ClickHouse would ignore later changes.*--discard"):
        host.upgrading.undo(discard=False)
    (host.volumes / VOLUME / "later").write_text("written since")
    assert host.upgrading.undo(discard=True)
    assert host.major() == "15"
    assert {path.name for path in (host.volumes / VOLUME).iterdir()} == {"PG_VERSION", "data"}
    assert {path.name for path in host.volumes.iterdir()} == {VOLUME}
    assert list(host.home.iterdir()) == []
    assert not host.upgrading.undo(discard=True)


def test_an_undo_that_was_killed_goes_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run()
    real = move

    def half(source: Path, target: Path) -> None:
        monkeypatch.setattr(upgrade, "move", real)
        (source / "data").rename(target / "data")
        raise KeyboardInterrupt

    monkeypatch.setattr(upgrade, "move", half)
    with pytest.raises(KeyboardInterrupt):
        host.upgrading.undo(discard=True)
    with pytest.raises(BackupError, match="postgres-undo"):
        host.run()
    with pytest.raises(BackupError, match="not complete"):
        host.upgrading.accept()
    assert host.upgrading.undo(discard=False)
    assert (host.major(), (host.volumes / VOLUME / "data").read_text()) == ("15", "rows")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (OLD, "of Postgres 15 already, and so is .*webapp_postgres_image"),
        ("docker.io/library/postgres:14.1", "older. Postgres cannot go back"),
    ],
)
def test_other_versions_are_refused(host: Host, image: str, words: str) -> None:
    with pytest.raises(BackupError, match=words):
        host.run(image)
    assert host.is_as_before


def test_what_cannot_work_is_refused_before_anything_is_stopped(host: Host) -> None:
    host.databases = ["other"]
    with pytest.raises(BackupError, match="other databases, which would stay behind: other"):
        host.run()
    host.databases, host.need = [], 2**60
    with pytest.raises(BackupError, match="MiB free; the upgrade needs"):
        host.run()
    host.need = 1
    (host.home / "restore.json").write_text("{}")
    with pytest.raises(BackupError, match="A restore is not finished"):
        host.run()
    (host.home / "restore.json").unlink()
    assert host.is_as_before
    host.engine.stop(POSTGRES)
    with pytest.raises(BackupError, match="does not run, and the dump is made by it"):
        host.run()


def test_nothing_is_restored_into_the_middle_of_an_upgrade(host: Host) -> None:
    require_finished(host.home)
    host.run()
    require_finished(host.home)
    host.upgrading.keep(done=["stop", "keep"])
    with pytest.raises(BackupError, match="postgres_upgrade again, or undo it"):
        require_finished(host.home)


def test_old_data_is_never_replaced_by_older(host: Host) -> None:
    """The volume of the last upgrade is still there."""
    host.run()
    with pytest.raises(BackupError, match="Accept that upgrade first"):
        host.run("docker.io/library/postgres:18.1")


def test_an_external_database_is_none_of_ours(host: Host) -> None:
    plan = Plan("n", "0", "v", host.directory, host.directory, WEBAPP, 1, False, {}, {}, {}, 0)
    with pytest.raises(BackupError, match="webapp_postgres_url"):
        Upgrade(plan, host.engine, lambda _: None)
