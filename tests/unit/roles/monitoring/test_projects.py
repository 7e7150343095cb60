# SPDX-License-Identifier: MIT
"""What Compose would change of each project: asked when it may be another answer, and one project at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from trigger_metrics import __main__ as program
from trigger_metrics import projects
from trigger_metrics.command import TOO_SLOW, Completed

NAMES = {"webapp": "trigger-webapp", "supervisor-eu": "trigger-supervisor-eu"}
RECREATED = " DRY-RUN MODE -  Container trigger-webapp-redis-1  Recreate \n"


@dataclass
class Host:
    """A host with two projects, its engine and its Compose."""

    folder: Path
    answers: dict[str, Completed] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert "--dry-run" in argv
        assert timeout < program.PART_SECONDS
        folder = Path(argv[argv.index("--project-directory") + 1]).name
        self.asked.append(folder)
        return self.answers.get(folder, Completed(0, "", " DRY-RUN MODE -  Container x-1  Running \n"))

    def ask(self, path: str, query: Mapping[str, str]) -> Any:
        assert path == "/containers/json"
        (label,) = json.loads(query["filters"])["label"]
        name = label.removeprefix("com.docker.compose.project=")
        image = self.images.get(name, "sha256:1")
        networks: dict[str, Any] = {"Networks": {"b": {}, "a": {}}}
        return [{"Id": name, "ImageID": image, "State": "running", "NetworkSettings": networks}]

    def told(self, now: float) -> dict[str, float]:
        settings = {"directory": str(self.folder), "state": str(self.folder / "drift.json")}
        return {each.labels["project"]: each.value for each in projects.projects(settings, self.run, self.ask, now)}

    def minutes(self, *moments: float) -> dict[str, float]:
        """Give what is told in the last of some minutes, and forget what was asked before it began."""
        self.asked.clear()
        return [self.told(60 * moment) for moment in moments][-1]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for folder, name in NAMES.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "compose.yml").write_text(f"# Ansible\nname: {name}\n\nservices: {{}}\n")
        (tmp_path / folder / "a.env").write_text("A=1\n")
    (tmp_path / "backup").mkdir()
    return Host(tmp_path)


def test_each_project_is_compared_once(host: Host) -> None:
    assert host.minutes(1) == {"trigger-supervisor-eu": 0}
    assert host.asked == ["supervisor-eu"]
    assert host.minutes(2, 3, 4) == {"trigger-supervisor-eu": 0, "trigger-webapp": 0}
    assert host.asked == ["webapp"]


def test_what_compose_would_change_is_counted(host: Host) -> None:
    host.answers["webapp"] = Completed(0, "", RECREATED + RECREATED + RECREATED.replace("redis", "webapp"))
    assert host.minutes(1, 2)["trigger-webapp"] == 2
    # It has compared all of it, and waits for a service that is unhealthy.
    said = RECREATED + "dependency failed to start: container trigger-webapp-redis-1 is unhealthy"
    host.answers["webapp"] = Completed(1, "", said)
    (host.folder / "webapp/a.env").write_text("A=2 and more\n")
    assert host.minutes(3)["trigger-webapp"] == 1


@pytest.mark.parametrize("what", ["compose.yml", "a.env", ".env", "compose.override.yml"])
def test_a_file_that_differs_is_noticed(host: Host, what: str) -> None:
    host.minutes(1, 2)
    (host.folder / "webapp" / what).write_text("name: trigger-webapp\n# another content\n")
    host.minutes(3, 4)
    assert host.asked == ["webapp"]


def test_a_container_that_differs_is_noticed(host: Host) -> None:
    host.minutes(1, 2)
    host.images["trigger-webapp"] = "sha256:2"
    host.minutes(3, 4)
    assert host.asked == ["webapp"]


def test_all_are_compared_again_after_an_hour(host: Host) -> None:
    host.minutes(1, 2)
    host.minutes(*range(3, 61))
    assert host.asked == []
    host.minutes(61, 62, 63)
    assert host.asked == ["supervisor-eu", "webapp"]


def test_one_that_cannot_be_compared_makes_the_part_fail_and_keeps_no_other_waiting(host: Host) -> None:
    host.minutes(1, 2)
    host.answers["supervisor-eu"] = Completed(1, "", "yaml: line 3: A=hunter2")
    (host.folder / "supervisor-eu/compose.yml").write_text("name: trigger-supervisor-eu\n  : broken\n")
    with pytest.raises(projects.DriftError, match=r"fails for trigger-supervisor-eu$") as raised:
        host.minutes(3)
    # What Compose says may quote a secret.
    assert "hunter2" not in str(raised.value)
    (host.folder / "webapp/a.env").write_text("A=2 and more\n")
    host.answers["webapp"] = Completed(0, "", RECREATED)
    with pytest.raises(projects.DriftError):
        host.minutes(4)
    assert host.asked == ["webapp"]
    with pytest.raises(projects.DriftError):
        host.minutes(5)
    assert host.asked == ["supervisor-eu"]
    del host.answers["supervisor-eu"]
    assert host.minutes(6) == {"trigger-webapp": 1, "trigger-supervisor-eu": 0}


def test_a_comparison_that_is_too_slow_is_no_fault(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """A host may be busy. Nothing is told of that project for ten minutes, and the others are not kept waiting."""
    host.minutes(1, 2)
    host.answers["supervisor-eu"] = Completed(TOO_SLOW, "", "docker: no end after 12 s")
    (host.folder / "supervisor-eu/compose.yml").write_text("name: trigger-supervisor-eu\n# another content\n")
    (host.folder / "webapp/a.env").write_text("A=2 and more\n")
    assert host.minutes(3) == {"trigger-webapp": 0}
    assert "the comparison of trigger-supervisor-eu takes more than 12 s" in capsys.readouterr().err
    host.minutes(4)
    assert host.asked == ["webapp"]
    host.minutes(*range(5, 13))
    assert host.asked == []
    del host.answers["supervisor-eu"]
    assert host.minutes(13) == {"trigger-webapp": 0, "trigger-supervisor-eu": 0}


def test_a_comparison_that_is_ended_from_outside_keeps_no_other_waiting(host: Host) -> None:
    """As at the end of a part's time: what comes after the comparison does not happen."""

    def ended(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        raise program.LateError("it takes too long")

    settings = {"directory": str(host.folder), "state": str(host.folder / "drift.json")}
    with pytest.raises(program.LateError):
        list(projects.projects(settings, ended, host.ask, 60))
    assert host.minutes(2) == {"trigger-webapp": 0}
    assert host.minutes(3, 11) == {"trigger-webapp": 0, "trigger-supervisor-eu": 0}


def test_a_project_that_is_gone_is_told_no_more(host: Host) -> None:
    host.minutes(1, 2)
    (host.folder / "supervisor-eu/compose.yml").unlink()
    assert host.minutes(3) == {"trigger-webapp": 0}


@pytest.mark.parametrize("left", ["", "no json"])
def test_a_broken_memory_is_made_anew(host: Host, left: str) -> None:
    (host.folder / "drift.json").write_text(left)
    host.minutes(1, 2)
    assert host.asked == ["supervisor-eu", "webapp"]
