# SPDX-License-Identifier: MIT
"""What stops the supervisors of a host before its engine, and starts them after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.programs import load

LABEL = "com.docker.compose"
HEALTHY = "healthy"


def program() -> Any:
    return load("supervisor/files/supervisors.py")


class Engine:
    """An engine with two supervisors, whose runs end when they are told to, or by themselves after some looks."""

    def __init__(self, runs: dict[str, int] | None = None, *, looks: int = 10**6, health: str = HEALTHY) -> None:
        self.commands: list[list[str]] = []
        self.running = {f"{service}-{name}": True for name in ("one", "two") for service in ("supervisor", "proxy")}
        self.runs = {network: [f"run{n}" for n in range(count)] for network, count in (runs or {}).items()}
        self.looks, self.health, self.now, self.standby = looks, health, 0.0, set[str]()

    def __call__(self, *words: str) -> str:
        action, names = words[1], words[2:]
        if action == "ps":
            return "\n".join(self.found(words))
        if words[1:3] == ("inspect", "--format"):
            return self.health
        if action == "inspect":
            return json.dumps([self.shown(name) for name in names])
        self.commands.append([each for each in words[1:] if not each.startswith("--")])
        if action in ("start", "stop", "restart"):
            for name in names:
                if name in self.running:
                    self.running[name] = action != "stop"
                self.runs = {key: [run for run in runs if run != name] for key, runs in self.runs.items()}
        if action == "compose":
            self.standby.add(words[words.index("--name") + 1])
        if action == "rm":
            self.standby -= set(words)
        return ""

    def found(self, words: tuple[str, ...]) -> list[str]:
        network = next((word.partition("=")[2] for word in words if word.startswith("network=")), None)
        if network is not None:
            self.looks -= 1
            if self.looks < 0:
                self.runs = {}
            return self.runs.get(network, [])
        name = next((word.partition("=")[2].strip("^$") for word in words if word.startswith("name=")), None)
        if name is not None:
            return sorted(self.standby & {name})
        return list(self.running)

    def shown(self, name: str) -> dict[str, Any]:
        service, project = name.split("-")
        return {
            "Id": name,
            "State": {"Running": self.running[name]},
            "Config": {
                "Env": ["PATH=/", f"DOCKER_RUNNER_NETWORKS=runner-{project}"],
                "Labels": {
                    f"{LABEL}.project": project,
                    f"{LABEL}.service": {"proxy": "docker-socket-proxy"}.get(service, service),
                    f"{LABEL}.project.working_dir": f"/opt/trigger/{project}",
                },
            },
        }

    def call(self, *arguments: str) -> int:
        def sleep(seconds: float) -> None:
            self.now += seconds

        code: int = program().main(arguments, self, program().Clock(lambda: self.now, sleep))
        return code


def test_without_runs_everything_stops_at_once() -> None:
    engine = Engine()
    assert engine.call("stop", "--wait-seconds", "30") == 0
    assert engine.commands == [
        ["stop", f"{service}-{name}"] for service in ("supervisor", "proxy") for name in ("one", "two")
    ]
    assert engine.now == 0


def test_runs_have_time_to_end_and_no_supervisor_takes_another() -> None:
    engine = Engine({"runner-two": 2}, looks=10)
    assert engine.call("stop", "--wait-seconds", "30") == 0
    stand_in = engine.commands.index(
        ["compose", "/opt/trigger/two/compose.yml", "run", "two-standby", "TRIGGER_DEQUEUE_ENABLED=false", "supervisor"]
    )
    assert engine.commands[:stand_in] == [["stop", "supervisor-one"], ["stop", "supervisor-two"]]
    assert ["stop", "run0", "run1"] not in engine.commands
    assert engine.commands[stand_in + 1] == ["rm", "two-standby"]
    assert 0 < engine.now < 30


def test_runs_that_go_on_are_stopped_while_they_can_be_reported(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine({"runner-one": 1})
    assert engine.call("stop", "--wait-seconds", "5") == 0
    verbs = [" ".join(command[:2]) for command in engine.commands]
    assert (
        verbs.index("compose /opt/trigger/one/compose.yml") < verbs.index("stop run0") < verbs.index("rm one-standby")
    )
    assert "1 runs are still in progress after 5 s" in capsys.readouterr().out


def test_what_was_stopped_starts_with_its_proxy_first() -> None:
    engine = Engine()
    engine.call("stop")
    engine.commands.clear()
    assert engine.call("start") == 0
    assert engine.commands == [
        ["start", f"{service}-{name}"] for name in ("one", "two") for service in ("proxy", "supervisor")
    ]
    engine.commands.clear()
    assert engine.call("start") == 0
    assert engine.commands == []


def test_a_proxy_that_outlived_the_engine_starts_anew() -> None:
    """With live-restore it does, and what it has mounted is the old socket."""
    engine = Engine()
    engine.running["supervisor-one"] = False
    assert engine.call("start") == 0
    assert engine.commands == [["restart", "proxy-one"], ["start", "supervisor-one"]]


def test_a_supervisor_whose_proxy_is_broken_stays_away(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(health="starting")
    engine.running["supervisor-one"] = False
    assert engine.call("start") == 1
    assert not engine.running["supervisor-one"]
    assert "the socket proxy of one is not healthy" in capsys.readouterr().err


def test_without_a_firewall_no_supervisor_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine()
    engine.call("stop")
    engine.commands.clear()
    proof = tmp_path / "proof"
    assert engine.call("start", "--proof", str(proof)) == 1
    assert engine.commands == []
    assert "firewall of task containers is not in force" in capsys.readouterr().err
    proof.touch()
    assert engine.call("start", "--proof", str(proof)) == 0
    assert engine.running["supervisor-one"]


def test_a_stand_in_that_was_left_goes() -> None:
    engine = Engine()
    engine.standby.add("one-standby")
    assert engine.call("start") == 0
    assert engine.commands == [["rm", "one-standby"]]


def test_an_engine_that_does_not_answer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: str) -> str:
        raise program().Problem("docker ps --all: no answer")

    assert program().main(["stop"], broken) == 1
    assert capsys.readouterr().err == "docker ps --all: no answer\n"
