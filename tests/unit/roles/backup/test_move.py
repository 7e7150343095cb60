# SPDX-License-Identifier: MIT
"""A move of objects between two stores that speak S3; containers are names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from trigger_backup import move
from trigger_backup.create import PAUSED
from trigger_backup.engine import Engine
from trigger_backup.move import Move, RemoteBucket, Told, accept
from trigger_backup.objects import Bucket
from trigger_backup.plan import Plan
from trigger_backup.process import BackupError, Shell
from trigger_backup.sigv4 import Key

from tests.unit.roles.backup.buckets import Store, serving

WEBAPP, MINIO = "webapp", "minio"


class FakeEngine(Engine):
    def __init__(self, root: Path) -> None:
        super().__init__(Shell())
        self.root_folder = root
        self.up = [WEBAPP, MINIO]
        self.removed: list[str] = []

    def inspect(self, container: str) -> dict[str, Any] | None:
        environment = [f"{move.ACCESS}=deployed-key", f"{move.SECRET}=deployed=secret", f"{move.REGION}="]
        return {"Config": {"Env": environment}, "State": {"Running": container in self.up}}

    def stop(self, *containers: str) -> None:
        self.up = [name for name in self.up if name not in containers]

    def start(self, *containers: str) -> None:
        self.up += containers

    def wait(self, container: str, seconds: float) -> None:
        pass

    def answers(self, container: str, port: int, path: str, seconds: float) -> None:
        pass

    def address(self, container: str) -> str:
        return "127.0.0.1"

    def root(self) -> Path:
        return self.root_folder

    def remove_volume(self, name: str) -> None:
        self.removed.append(name)


class Host:
    def __init__(self, tmp_path: Path, source: Store, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = tmp_path / "backup"
        self.home.mkdir()
        self.source, self.target = source, target
        self.engine = FakeEngine(tmp_path)
        self.plan = Plan("n", "0", "v", tmp_path, tmp_path / "s", WEBAPP, 1, False, {}, {}, {}, 0)
        source.objects |= {"proj/prod/a b": b"one", "proj/prod/ä": b"two" * 1000}
        real = Bucket.__init__

        def here(bucket: Bucket, address: str, name: str, region: str, key: Key) -> None:
            real(bucket, address, name, region, key)
            bucket.connection = RemoteBucket(source.url, "", name, region, key).connection
            bucket.host = urlsplit(source.url).netloc

        monkeypatch.setattr(move, "Bucket", type("Here", (Bucket,), {"__init__": here}))

    def move(self) -> dict[str, Any]:
        told = Told(
            "minio", MINIO, "trigger_minio_data", "packets", "external", "", "", self.target.url, "", "packets", "",
            "new-key", "new-secret",
        )  # fmt: skip
        return Move(self.plan, self.engine, told, lambda _: None).run(check=False)

    @property
    def state(self) -> dict[str, Any]:
        path = self.home / move.STATE
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with serving() as source, serving() as target:
        yield Host(tmp_path, source, target, monkeypatch)


def test_every_object_is_moved(host: Host) -> None:
    done = host.move()
    assert host.target.objects == host.source.objects
    assert (done["objects"], done["bytes"], done["copies"]) == (2, 3003, 2)
    # Until it is deployed anew; tasks cannot put anything into the old store any more.
    assert host.engine.up == []
    assert host.state["done"] == ["complete"]
    assert {path.name for path in host.home.iterdir()} == {move.STATE}


def test_the_type_of_an_object_is_moved(host: Host) -> None:
    """The SDK takes from it how a value is written."""
    host.source.kinds |= {"proj/prod/a b": "application/super+json"}
    host.move()
    assert host.target.kinds == {"proj/prod/a b": "application/super+json", "proj/prod/ä": ""}


def test_an_object_that_is_removed_meanwhile_is_left_out(host: Host) -> None:
    def before(method: str, name: str) -> None:
        if name == "proj/prod/ä":
            host.source.objects.pop(name, None)

    host.source.before = before
    done = host.move()
    assert (done["objects"], done["copies"]) == (1, 1)
    assert host.target.objects == {"proj/prod/a b": b"one"}


def test_the_key_of_the_old_store_is_the_one_that_the_webapp_has(host: Host) -> None:
    host.move()
    assert (host.source.keys, host.target.keys) == ({"deployed-key"}, {"new-key"})


def test_what_is_there_is_not_copied_again(host: Host) -> None:
    host.target.objects |= host.source.objects
    assert host.move()["copies"] == 0


def test_other_objects_of_the_target_stay(host: Host) -> None:
    host.target.objects["other"] = b"of somebody"
    host.move()
    assert host.target.objects["other"] == b"of somebody"


def test_what_comes_meanwhile_is_copied(host: Host) -> None:
    """Tasks have addresses for some minutes, whether or not the webapp runs."""
    late = {"put": 0}

    def before(method: str, name: str) -> None:
        if method == "PUT" and late["put"] < 3:
            late["put"] += 1
            host.source.objects[f"late{late['put']}"] = b"late"

    host.target.before = before
    host.move()
    assert host.target.objects == host.source.objects
    assert len(host.source.objects) == 5


@pytest.mark.parametrize("moment", ["first", "stopped"])
def test_a_failure_leaves_the_old_store_in_use(host: Host, moment: str) -> None:
    def refuse(method: str, _name: str) -> bool:
        return method == "PUT" if moment == "first" else WEBAPP not in host.engine.up

    host.target.before = refuse
    with pytest.raises(BackupError, match="503"):
        host.move()
    assert sorted(host.engine.up) == sorted([WEBAPP, MINIO])
    assert host.state == {}
    host.target.before = lambda _method, _name: None
    host.move()
    assert host.target.objects == host.source.objects


def test_damage_on_the_way_is_found(host: Host) -> None:
    host.source.tag = lambda content: "0" * 32
    with pytest.raises(BackupError, match="was not read whole"):
        host.move()
    assert WEBAPP in host.engine.up


def test_objects_that_came_in_parts_are_read_once_more(host: Host) -> None:
    host.source.tag = lambda content: "0" * 32 + "-2"
    host.target.objects |= host.source.objects
    assert host.move()["copies"] == 2


def test_tags_of_an_encrypting_store_are_not_trusted(host: Host) -> None:
    host.target.tag = lambda content: "f" * 32
    assert host.move()["copies"] == 2

    def before(method: str, name: str) -> None:
        if method == "GET" and name:
            host.target.objects[name] = b"x" * len(host.target.objects[name])

    host.engine.up = [WEBAPP, MINIO]
    host.target.before = before
    with pytest.raises(BackupError, match="2 objects of external are missing or differ"):
        host.move()
    assert WEBAPP in host.engine.up


def test_a_move_that_was_killed_goes_on(host: Host) -> None:
    """As it is left by a power loss right before the old store is stopped."""
    (host.home / move.STATE).write_text(json.dumps({"volume": "v", "from": "minio", "to": "external", "done": []}))
    (host.home / PAUSED).touch()
    host.engine.up = []
    with pytest.raises(BackupError, match="not complete"):
        accept(host.home, host.engine, "external")
    host.move()
    assert host.state["done"] == ["complete"]
    assert host.engine.up == []


def test_given_up_the_old_store_is_in_use(host: Host) -> None:
    (host.home / move.STATE).write_text(json.dumps({"volume": "v", "from": "minio", "to": "external", "done": []}))
    host.engine.up = [WEBAPP]
    told = Told("minio", MINIO, "v", "packets", "external", "", "", host.target.url, "", "packets", "", "k", "s")
    Move(host.plan, host.engine, told, lambda _: None).give_up()
    assert MINIO in host.engine.up
    assert host.state == {}


def test_accepted_the_old_volume_is_removed(host: Host) -> None:
    assert not accept(host.home, host.engine, "external")
    host.move()
    with pytest.raises(BackupError, match="not complete"):
        accept(host.home, host.engine, "minio")
    assert accept(host.home, host.engine, "external")
    assert host.engine.removed == ["trigger_minio_data"]
    assert list(host.home.iterdir()) == []


def test_secrets_are_not_shown() -> None:
    told = Told("minio", MINIO, "v", "packets", "external", "", "", "http://x", "", "packets", "", "k", "hidden")
    assert "hidden" not in repr(told)


def test_addresses() -> None:
    plain = RemoteBucket("http://s3.example.com", "", "packets", "eu", Key("a", "b"))
    assert (plain.connection.port, plain.host) == (80, "s3.example.com")
    tls = RemoteBucket("https://s3.example.com:8443", "", "packets", "eu", Key("a", "b"))
    assert (tls.connection.port, tls.host) == (8443, "s3.example.com:8443")
