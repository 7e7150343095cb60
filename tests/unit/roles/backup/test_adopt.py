# SPDX-License-Identifier: MIT
"""An adoption, how it goes on, and how the old installation comes back. Volumes are folders, containers are names."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup import adopt, adopt_check
from trigger_backup.adopt import Adoption
from trigger_backup.adopt_source import SOURCE, Source, source_of
from trigger_backup.aside import Aside
from trigger_backup.plan import Plan
from trigger_backup.process import BackupError, Shell

from tests.unit.roles.backup.folders import FolderEngine

WEBAPP, SUPERVISOR, POSTGRES, REDIS = "old-webapp-1", "old-supervisor-1", "old-postgres-1", "old-redis-1"
OLD = {POSTGRES: "unless-stopped", REDIS: "always", WEBAPP: "on-failure:5", SUPERVISOR: "unless-stopped"}
VOLUMES = {"postgres": "trigger_postgres_data", "redis": "trigger_redis_data"}
TOKEN = "tr_wgt_" + "a" * 40


class FakeShell(Shell):
    """Knows the containers of the old installation, their states and policies, and answers with versions."""

    def __init__(self) -> None:
        self.up = dict.fromkeys(OLD, True)
        self.policies = dict(OLD)
        self.runners: list[str] = []
        self.calls: list[Sequence[str]] = []
        self.redis = "7.4.5"

    def run(self, words: Sequence[str], **_given: Any) -> subprocess.CompletedProcess[bytes]:
        self.calls.append(words)
        told = ""
        if words[1] == "update":
            for name in words[3:]:
                assert name in self.policies, "runners cannot be updated, as they remove themselves"
                self.policies[name] = words[2].partition("=")[2]
        elif words[1] == "ps":
            told = "\n".join(self.runners)
        elif words[1] == "run":
            told = "postgres (PostgreSQL) 17.6" if "postgres" in words else f"Redis server v={self.redis} sha=0"
        return subprocess.CompletedProcess(words, 0, told.encode(), b"")


class FakeEngine(FolderEngine):
    def __init__(self, root: Path) -> None:
        self.fake = FakeShell()
        super().__init__(root, self.fake)
        self.token = TOKEN
        self.removed: list[str] = []

    def inspect(self, container: str) -> dict[str, Any] | None:
        if container not in self.fake.policies:
            return None
        policy, _, count = self.fake.policies[container].partition(":")
        return {
            "Name": f"/{container}",
            "State": {"Running": self.fake.up[container]},
            "HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": int(count or 0)}},
        }

    def running(self, container: str) -> bool:
        return self.fake.up[container]

    def stop(self, *containers: str) -> None:
        self.fake.runners = [name for name in self.fake.runners if name not in containers]
        self.fake.up.update({name: False for name in containers if name in OLD})

    def start(self, *containers: str) -> None:
        self.fake.up.update(dict.fromkeys(containers, True))

    def containers(self, project: str, service: str = "") -> list[str]:
        return list(OLD) if project == "old" else []

    def projects(self, prefix: str) -> list[str]:
        return [prefix]

    def remove_project(self, project: str) -> None:
        self.removed.append(project)

    def copy_out(self, container: str, path: str, target: Path) -> None:
        if not self.token:
            raise BackupError("no such file")
        target.write_text(self.token)


class Host:
    """A host with an old installation that a test can make fail."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = tmp_path / "trigger"
        self.home = self.directory / "backup"
        self.home.mkdir(parents=True)
        (self.directory / "webapp/shared").mkdir(parents=True)
        self.volumes = tmp_path / "volumes"
        self.volumes.mkdir()
        self.engine = FakeEngine(self.volumes)
        self.fail: dict[str, BaseException] = {}
        self.hash = hashlib.sha256(TOKEN.encode()).hexdigest()
        self.statements: list[str] = []
        self.workers = ["supervisor-1"]
        self.postgres = "14.19"
        self.differences: list[str] = []
        self.source = Source(
            path="/opt/old", projects=["old"], webapp=WEBAPP, readers=[SUPERVISOR],
            stores={"postgres": {"container": POSTGRES}, "redis": {"container": REDIS}},
            references={"from": "localhost:5000/trigger/", "to": "control.test:5000/trigger/"}, group="bootstrap",
            token_path="/home/node/shared/worker_token", token_file=str(self.directory / "webapp/shared/worker_token"),
        )  # fmt: skip
        monkeypatch.setattr(adopt, "ForeignPostgres", FakePostgres)
        for module in (adopt, adopt_check):
            monkeypatch.setattr(module, "old_stores", lambda *_: self.stores())
        monkeypatch.setattr(adopt, "new_stores", lambda *_: list(self.stores().values()))
        monkeypatch.setattr(adopt, "Aside", FakeAside)
        monkeypatch.setattr(os, "chown", lambda *_: None)

    def stores(self) -> dict[str, FakeStore]:
        return {name: (FakePostgres if name == "postgres" else FakeStore)(self, name) for name in self.source.stores}

    def may_fail(self, step: str) -> None:
        if step in self.fail:
            raise self.fail.pop(step)

    @property
    def plan(self) -> Plan:
        rows = {name: {"service": f"trigger-{name}", "volume": volume} for name, volume in VOLUMES.items()}
        return Plan(
            "n", "0", "v4.2.0", self.directory, self.directory / "secrets.json", WEBAPP, 1, False, rows, {}, {}, 0
        )

    @property
    def adoption(self) -> Adoption:
        return Adoption(self.plan, self.engine, self.source, lambda _: None)

    def run(self) -> dict[str, Any]:
        return self.adoption.run()

    @property
    def is_as_before(self) -> bool:
        return (
            all(self.engine.fake.up.values())
            and self.engine.fake.policies == OLD
            and not list(self.volumes.glob("*/*"))
            and not (self.home / adopt.ADOPTION).exists()
            and not (self.home / adopt.FOLDER).exists()
        )

    @property
    def data(self) -> dict[str, str]:
        return {name: (self.volumes / volume / "data").read_text() for name, volume in VOLUMES.items()}


class FakeStore:
    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name
        self.container = POSTGRES if name == "postgres" else REDIS

    def size(self) -> int:
        return 1

    def info(self, _container: str) -> dict[str, str]:
        return {"redis_version": "7.4.3"}

    def sql(self, _container: str, statement: str) -> list[list[str]]:
        self.host.statements.append(statement)
        if "SHOW server_version" in statement:
            return [[self.host.postgres]]
        if "lastHeartbeatAt" in statement:
            return [[name] for name in self.host.workers]
        if "to_regclass" in statement:
            return [["t"]]
        return [[self.host.hash]] if "SELECT" in statement and "tokenHash" in statement and self.host.hash else []

    def prepare(self) -> None:
        pass

    def snapshot(self) -> None:
        up = self.host.engine.fake.up
        assert not up[WEBAPP]
        assert not up[SUPERVISOR]
        assert up[self.container]

    def release(self) -> None:
        pass

    def copy(self, stage: Path) -> dict[str, Any]:
        self.host.may_fail(f"copy {self.name}")
        (stage / self.name).write_text(f"data of {self.name}")
        return {"rows": {"a": 2}, "count": {"keys": 3}}

    def restore(self, _service: Any, files: Any, _facts: Any) -> None:
        assert not any(self.host.engine.fake.up.values()), "two stores of one kind at a time"
        folder = self.host.engine.make_volume(VOLUMES[self.name])
        assert not any(folder.iterdir())
        (folder / "half").touch()
        self.host.may_fail(f"restore {self.name}")
        (folder / "half").rename(folder / "data")
        (folder / "data").write_text((files.stage / self.name).read_text())

    def compare(self, _service: Any, _facts: Any) -> list[str]:
        return self.host.differences

    def level(self, _service: Any, _facts: Any) -> None:
        pass


class FakePostgres(FakeStore):
    """Has a token and names of images, too."""


class FakeAside(Aside):
    def read(self, _source: Path) -> dict[str, Any]:
        return {"services": {f"trigger-{name}": {"image": f"{name}:new"} for name in VOLUMES}}

    def up(self, *_given: Any) -> None:
        pass

    def down(self) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_the_data_is_moved_and_the_old_installation_kept(host: Host) -> None:
    assert host.run()["changed"]
    assert host.data == {"postgres": "data of postgres", "redis": "data of redis"}
    assert not any(host.engine.fake.up.values())
    # Nothing starts it with the engine.
    assert set(host.engine.fake.policies.values()) == {"no"}
    assert host.adoption.finish()["text"] == "postgres: 2 rows of 1 tables; redis: 3 keys"


def test_a_second_run_changes_nothing(host: Host) -> None:
    host.run()
    first = host.adoption.finish()
    calls = len(host.engine.fake.calls)
    assert not host.run()["changed"]
    assert len(host.engine.fake.calls) == calls
    assert host.adoption.finish() == {**first, "changed": False}


def test_what_holds_passwords_is_removed(host: Host) -> None:
    for name in (SOURCE, adopt.PLAN):
        (host.home / name).write_text("{}")
    host.run()
    assert sorted(path.name for path in host.home.iterdir()) == [adopt.ADOPTION, adopt.PLAN]


def test_what_holds_passwords_is_removed_when_an_adoption_fails(host: Host) -> None:
    """It is started again with what the role writes then."""
    source = host.home / SOURCE
    source.write_text("{}")
    host.fail["copy redis"] = BackupError("no room")
    with pytest.raises(BackupError, match="no room"):
        host.run()
    assert not source.exists()
    source.write_text("{}")
    host.engine.stop(REDIS)
    with pytest.raises(BackupError, match="does not run"):
        host.run()
    assert not source.exists()


def test_what_holds_passwords_is_removed_by_an_undo(host: Host) -> None:
    source = host.home / SOURCE
    source.write_text("{}")
    host.fail["copy redis"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.run()
    assert source.exists()  # it may go on
    assert host.adoption.undo(discard=False)
    assert not source.exists()
    source.write_text("{}")
    assert not host.adoption.undo(discard=False)
    assert not source.exists()


def test_images_are_named_by_the_new_registry(host: Host) -> None:
    host.run()
    (statement,) = [text for text in host.statements if "imageReference" in text]
    assert "'control.test:5000/trigger/' || substr" in statement
    assert "starts_with(\"imageReference\", 'localhost:5000/trigger/')" in statement


@pytest.mark.parametrize("after", ["localhost:5000/trigger/", "a'; DROP TABLE x; --"])
def test_images_keep_their_names_otherwise(host: Host, after: str) -> None:
    host.source.references["to"] = after  # type: ignore[index]
    host.run()
    assert [text for text in host.statements if "imageReference" in text] == []


def test_a_token_that_fits_is_kept(host: Host) -> None:
    host.run()
    path = Path(host.source.token_file)
    assert path.read_text() == TOKEN
    assert path.stat().st_mode & 0o777 == 0o600
    assert [text for text in host.statements if "UPDATE" in text and "tokenHash" in text] == []


@pytest.mark.parametrize("token", ["", "tr_wgt_" + "b" * 40, "no token"])
def test_another_token_is_replaced(host: Host, token: str) -> None:
    host.engine.token = token
    host.run()
    text = Path(host.source.token_file).read_text()
    assert text not in (token, TOKEN)
    (statement,) = [each for each in host.statements if "UPDATE" in each and "tokenHash" in each]
    assert hashlib.sha256(text.encode()).hexdigest() in statement
    assert text not in statement


def test_without_a_group_the_webapp_makes_the_token(host: Host) -> None:
    host.hash = ""
    host.run()
    assert not Path(host.source.token_file).exists()


STEPS = ["copy postgres", "copy redis", "restore postgres", "restore redis"]


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_starts_the_old_installation_again(host: Host, step: str) -> None:
    host.fail[step] = BackupError("no room")
    with pytest.raises(BackupError, match="no room"):
        host.run()
    assert host.is_as_before
    # Stores first, and who gives out runs last.
    started = [words[3] for words in host.engine.fake.calls if words[1] == "update" and words[2] != "--restart=no"]
    assert started == [POSTGRES, REDIS, WEBAPP, SUPERVISOR]
    assert host.run()["changed"]
    assert set(host.data) == set(VOLUMES)


def test_data_that_differs_is_not_taken(host: Host) -> None:
    host.differences = ["Postgres table public.a: 1 instead of 2"]
    with pytest.raises(BackupError, match=r"not as the backup says: Postgres table public\.a"):
        host.run()
    assert host.is_as_before


@pytest.mark.parametrize("step", STEPS)
def test_what_is_killed_goes_on(host: Host, step: str) -> None:
    host.fail[step] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.run()
    assert not host.engine.fake.up[WEBAPP]
    with pytest.raises(BackupError, match="playbook adopt again"):
        host.adoption.finish()
    assert host.run()["changed"]
    assert host.data == {"postgres": "data of postgres", "redis": "data of redis"}


@pytest.mark.parametrize("step", STEPS)
def test_what_is_killed_can_be_taken_back(host: Host, step: str) -> None:
    host.fail[step] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.run()
    assert host.adoption.undo(discard=False)
    assert host.is_as_before
    assert not host.adoption.undo(discard=False)


def test_a_complete_adoption_is_taken_back_only_when_asked_twice(host: Host) -> None:
    host.run()
    with pytest.raises(BackupError, match="--discard"):
        host.adoption.undo(discard=False)
    # Nothing but the journal is left then.
    host.source = source_of(host.home / SOURCE)
    assert host.adoption.undo(discard=True)
    assert host.is_as_before
    assert host.engine.removed == ["trigger-supervisor", "trigger-gateway", "trigger-registry", "trigger-webapp"]


def test_the_new_installation_is_kept_where_the_old_one_was_removed(host: Host) -> None:
    """It would be emptied, and nothing would be there to go back to."""
    host.run()
    for name in (WEBAPP, REDIS):
        del host.engine.fake.policies[name]
    with pytest.raises(BackupError, match=r"has been removed.*no way back.*Nothing was changed"):
        host.adoption.undo(discard=True)
    assert host.engine.removed == []
    assert list(host.volumes.glob("*/*"))
    with pytest.raises(BackupError, match="--discard"):
        host.adoption.undo(discard=False)


def test_an_undo_that_was_killed_goes_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run()
    real = host.engine.start

    def killed(*_names: str) -> None:
        monkeypatch.setattr(host.engine, "start", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(host.engine, "start", killed)
    with pytest.raises(KeyboardInterrupt):
        host.adoption.undo(discard=True)
    with pytest.raises(BackupError, match="adopt-undo"):
        host.run()
    assert host.adoption.undo(discard=False)
    assert host.is_as_before


def test_an_old_installation_that_does_not_start_is_told_with_the_cause(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_names: str) -> None:
        raise BackupError("port is in use")

    monkeypatch.setattr(host.engine, "start", broken)
    host.fail["copy redis"] = BackupError("no room")
    with pytest.raises(BackupError, match=r"no room.*port is in use.*adopt-undo"):
        host.run()


def test_someone_who_starts_the_old_webapp_is_noticed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.engine, "stop", lambda *_: None)
    with pytest.raises(BackupError, match="Something else has started the old webapp"):
        host.run()


def stored(host: Host) -> None:
    (host.engine.make_volume("trigger_redis_data") / "x").touch()


def stopped(host: Host) -> None:
    host.engine.stop(REDIS)


REFUSED: dict[str, tuple[Callable[[Host], object], str]] = {
    "data": (stored, r"an installation of this collection already.*trigger_redis_data.*uninstall"),
    "restore": (lambda host: (host.home / "restore.json").write_text("{}"), r"restore\.json"),
    "stopped": (stopped, r"old-redis-1 does not run.*/opt/old: docker compose up"),
    "later-postgres": (lambda host: setattr(host, "postgres", "18.1"), r"Postgres 18.*webapp_postgres_image.*14 to 17"),
    "older-postgres": (lambda host: setattr(host, "postgres", "13.2"), r"Postgres 13.*14 to 17"),
    "later-redis": (lambda host: setattr(host.engine.fake, "redis", "7.2.1"), r"Redis 7\.4\.3.*webapp_redis_image"),
    "workers": (lambda host: host.workers.append("far"), r"2 workers.*supervisor-1, far.*other hosts"),
    "runs": (lambda host: host.engine.fake.runners.append("runner-x"), r"1 runs.*adopt_interrupt_enabled"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_adopted_is_refused_before_anything_is_stopped(host: Host, name: str) -> None:
    change, words = REFUSED[name]
    change(host)
    with pytest.raises(BackupError, match=words):
        host.run()
    assert host.engine.fake.policies == OLD
    assert host.engine.fake.up[WEBAPP]
    assert not (host.home / adopt.ADOPTION).exists()


def test_stores_that_are_external_here_are_refused(host: Host) -> None:
    host.source = Source(**{**vars(host.source), "stores": {**host.source.stores, "objects": {"container": "x"}}})
    with pytest.raises(BackupError, match="holds objects, and the settings have no bundled store"):
        host.run()


def test_runs_in_progress_are_interrupted_when_that_is_allowed(host: Host) -> None:
    host.source = Source(**{**vars(host.source), "interrupt": True})
    host.engine.fake.runners.append("runner-x")
    assert host.run()["changed"]
    assert host.engine.fake.runners == []


def test_the_journal_holds_no_token(host: Host) -> None:
    host.run()
    assert TOKEN not in json.dumps(json.loads((host.home / adopt.ADOPTION).read_text()))
