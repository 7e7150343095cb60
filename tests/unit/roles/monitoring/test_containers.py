# SPDX-License-Identifier: MIT
"""Metrics of containers, by answers in the form of the engine's."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from trigger_metrics import containers
from trigger_metrics.engine import Engine, EngineError
from trigger_metrics.exposition import Sample

LABELS = {
    "dev.trigger.ansible/role": "webapp",
    "com.docker.compose.project": "trigger-webapp",
    "com.docker.compose.service": "webapp",
}
ROW = {"Id": "1f", "Names": ["/trigger-webapp-webapp-1"], "Labels": LABELS}
OURS = {"project": "trigger-webapp", "service": "webapp", "container": "trigger-webapp-webapp-1"}
# Greater than any number that Linux gives a process (2^22): no test reads a process of this machine.
NO_PROCESS = 2**22 + 1
STATE = {
    "Status": "running",
    "Running": True,
    "OOMKilled": False,
    "Pid": NO_PROCESS,
    "StartedAt": "2026-11-29T12:00:00.123456789Z",
    "Health": {"Status": "healthy"},
}
STATS = {
    "memory_stats": {"usage": 300, "stats": {"inactive_file": 100}},
    "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
}


def asked(state: Mapping[str, Any], stats: Any = STATS, memory: int = 1024) -> Any:
    """Give an engine with one container."""
    found = {"State": {**STATE, **state}, "RestartCount": 3, "HostConfig": {"Memory": memory}}
    answers = {"/containers/json": [ROW], "/containers/1f/json": found, "/containers/1f/stats": stats}
    return lambda path, query=None: answers[path]


def told(samples: Iterator[Sample]) -> dict[str, float]:
    return {sample.name.removeprefix("trigger_container_"): float(sample.value) for sample in samples}


def test_a_container_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "oom_kills", lambda pid: pid - 2**22)
    found = list(containers.containers(asked({})))
    assert {tuple(sample.labels.items()) for sample in found} == {tuple(OURS.items())}
    assert told(iter(found)) == {
        "running": 1,
        "healthy": 1,
        "start_time_seconds": 1_795_953_600,
        "restarts_total": 3,
        "oom_kills_total": 1,
        "oom_killed": 0,
        "memory_bytes": 200,
        "memory_limit_bytes": 1024,
        "cpu_seconds_total": 2.5,
    }


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ({"Health": {"Status": "unhealthy"}}, {"running": 1, "healthy": 0}),
        ({"Health": {"Status": "starting"}}, {"running": 1, "healthy": 0}),
        ({"Status": "exited", "Running": False, "OOMKilled": True}, {"running": 0, "oom_killed": 1}),
        ({"Status": "restarting"}, {"running": 0}),
        ({"Status": "paused"}, {"running": 0}),
    ],
)
def test_a_container_that_does_not(state: dict[str, Any], wanted: dict[str, float]) -> None:
    assert wanted.items() <= told(containers.containers(asked(state))).items()


def test_what_is_not_known_is_not_told() -> None:
    found = told(containers.containers(asked({"Health": None}, stats=None, memory=0)))
    assert set(found) == {"running", "start_time_seconds", "restarts_total", "oom_killed"}


def test_a_container_that_is_gone_meanwhile_is_left_out() -> None:
    answers = {"/containers/json": [ROW], "/containers/1f/json": None}
    assert list(containers.containers(lambda path, query=None: answers[path])) == []


def test_memory_of_the_older_kind_of_cgroup() -> None:
    stats = {"memory_stats": {"usage": 300, "stats": {"total_inactive_file": 50, "inactive_file": 1}}}
    assert containers.used_memory(stats) == 250


@pytest.mark.parametrize(
    ("entry", "file", "text", "kills"),
    [
        ("0::/docker/1f", "docker/1f/memory.events", "low 0\noom 2\noom_kill 2\n", 2),
        ("5:cpu,memory:/docker/1f", "memory/docker/1f/memory.oom_control", "oom_kill_disable 0\noom_kill 7\n", 7),
        ("5:cpu,memory:/docker/1f", "memory/docker/1f/memory.oom_control", "oom_kill_disable 0\n", None),
        ("5:cpu:/docker/1f", "memory/docker/1f/memory.oom_control", "oom_kill 7\n", None),
        ("0::/docker/1f", "docker/1f/other", "", None),
    ],
)
def test_kills_are_read_from_the_kernel(tmp_path: Path, entry: str, file: str, text: str, kills: int | None) -> None:
    (tmp_path / "proc/4711").mkdir(parents=True)
    (tmp_path / "proc/4711/cgroup").write_text(f"{entry}\n")
    path = tmp_path / "cgroups" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert containers.oom_kills(4711, tmp_path / "proc", tmp_path / "cgroups") == kills


def test_a_process_that_has_ended_has_no_kills(tmp_path: Path) -> None:
    assert containers.oom_kills(4711, tmp_path, tmp_path) is None


def test_containers_of_runs_are_counted_by_network() -> None:
    def row(name: str, network: str) -> dict[str, Any]:
        return {"Names": [name], "NetworkSettings": {"Networks": {network: {}}}}

    answers = {
        "/networks": [{"Name": "trigger-runner"}, {"Name": "trigger-runner-b"}, {"Name": "my-trigger-runner"}],
        "/containers/json": [
            row("/runner-1", "trigger-runner"),
            row("/runner-2", "trigger-runner"),
            row("/my-runner-3", "trigger-runner"),
            row("/runner-4", "elsewhere"),
        ],
    }
    found = containers.task_containers(lambda path, query=None: answers[path])
    assert {sample.labels["network"]: sample.value for sample in found} == {"trigger-runner": 2, "trigger-runner-b": 0}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/gone/json": 404, "/broken": 500}.get(self.path, 200)
        body = json.dumps({"path": self.path}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass

    def address_string(self) -> str:
        return ""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    path = str(tmp_path / "engine")
    with socketserver.UnixStreamServer(path, Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Engine(path)
        server.shutdown()
    os.unlink(path)


def test_the_engine_is_asked_over_its_socket(engine: Engine) -> None:
    assert engine("/containers/json", {"all": "true"}) == {"path": "/containers/json?all=true"}
    assert engine("/gone/json") is None
    with pytest.raises(EngineError, match="answers /broken with 500"):
        engine("/broken")


def test_an_engine_that_is_stopped_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=f"does not answer at {tmp_path}"):
        Engine(str(tmp_path / "none"))("/info")
