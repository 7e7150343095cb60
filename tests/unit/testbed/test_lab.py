# SPDX-License-Identifier: MIT
"""What the lab says and when it fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import cluster, common, engine, hello, lab, scenario


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[cluster.Instance]:
    instances = [cluster.Instance("worker1", 3.2), cluster.Instance("worker2", 29.0)]
    monkeypatch.setattr(cluster.Cluster, "instances", lambda _self: instances)
    return instances


def ended(status: str = "COMPLETED") -> cluster.Run:
    return cluster.Run("run_1", status, 1.94, {}, lambda: "worker2")


@pytest.mark.usefixtures("connected")
def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    lab.table(ended())
    assert capsys.readouterr().out.strip("\n").splitlines() == [
        "  webapp     http://localhost:8030",
        "  instance   worker1                heartbeat 3 s ago",
        "  instance   worker2                heartbeat 29 s ago",
        "  hello run  run_1                  COMPLETED on worker2 in 1.9 s",
    ]


@pytest.mark.parametrize(
    "worker2",
    [None, cluster.Instance("worker2", None), cluster.Instance("worker2", 36.0), cluster.Instance("other", 1.0)],
)
def test_a_missing_or_stale_instance_is_an_error(
    connected: list[cluster.Instance], worker2: cluster.Instance | None
) -> None:
    connected[1:] = [worker2] if worker2 else []
    with pytest.raises(common.TestbedError, match=r"heartbeat.*: worker2"):
        lab.table(ended())


@pytest.mark.usefixtures("connected")
def test_a_failed_hello_run_is_an_error() -> None:
    with pytest.raises(common.TestbedError, match="run_1 ended as FAILED"):
        lab.table(ended("FAILED"))


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(engine, "answers", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_named(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "ports", lambda platform: {22: listener} if platform["name"] == lab.CONTROL else {})
    with pytest.raises(common.TestbedError, match=rf"{listener} .*Nothing was changed"):
        lab._check_ports()


def test_own_ports_are_not_taken(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "answers", lambda: True)
    monkeypatch.setattr(scenario, "containers", lambda *_, **__: dict.fromkeys(lab.platforms(), "sha256:1"))
    monkeypatch.setattr(lab, "ports", lambda _: {22: listener})
    lab._check_ports()


def test_a_lab_of_the_other_kind_of_images_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "KIND", tmp_path / "kind")
    monkeypatch.setenv("IMAGES", "doubles")
    lab._check_kind()
    lab._check_kind()
    monkeypatch.setenv("IMAGES", "upstream")
    with pytest.raises(common.TestbedError, match="make lab-down"):
        lab._check_kind()


def test_null_heartbeats_are_no_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.Cluster, "sql", lambda *_: [["worker1", "0.123456"], ["worker2", ""]])
    found = cluster.Cluster("control.lab").instances()
    assert [(instance.name, instance.age, instance.alive) for instance in found] == [
        ("worker1", 0.123456, True),
        ("worker2", None, False),
    ]


def test_the_kept_token_is_the_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hello, "CACHE", tmp_path)
    developer = hello.Hello(cluster.Cluster("control.lab"))
    state = hello.State("tr_pat_x", "proj_x")
    developer._save(state)
    (file,) = developer.folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert developer._load() == state
    assert "tr_pat_x" not in repr(state)


def test_files_are_replaced_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.with_name("state.json.new").write_text("left by a kill")
    common.replace_file(target, "new", mode=0o600)
    assert target.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
