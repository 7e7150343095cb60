# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules.compose_stack_info import StackError, assignments, read


def row(name: str, project: str, folder: str, **more: Any) -> dict[str, Any]:
    service = name.split("-", 1)[1].rsplit("-", 1)[0]
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.project.working_dir": folder,
        "com.docker.compose.project.config_files": f"{folder}/docker-compose.yml",
    }
    return {
        "Name": f"/{name}",
        "Image": "sha256:1",
        "State": {"Running": more.get("running", True)},
        "Config": {"Labels": labels, "Image": f"{service}:1", "Env": more.get("env", [])},
        "NetworkSettings": {"Networks": {"webapp": {}}},
        "Mounts": [{"Destination": "/data", "Source": "/var/lib/docker/volumes/x/_data"}],
    }


class Docker:
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.calls: list[Sequence[str]] = []
        self.image: dict[str, Any] = {"Config": {"Env": ["PATH=/bin", "NODE_ENV=production"]}}

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        self.calls.append(argv)
        text = " ".join(argv)
        if argv[1] == "ps":
            return Completed(0, "runner-a\n" if "runner-" in text else "\n".join(map(str, range(len(self.rows)))), "")
        if list(argv[1:3]) == ["container", "inspect"]:
            return Completed(0, json.dumps(self.rows), "")
        if list(argv[1:3]) == ["image", "inspect"]:
            return Completed(0, json.dumps([self.image]), "")
        if "psql" in argv:
            answer = "14.19\n" if "server_version" in text else "supervisor-1\n"
            return Completed(0, answer, "") if argv[8] in ("postgres", "main") else Completed(1, "", "no database")
        return Completed(1, "", "no such command")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "webapp").mkdir()
    (tmp_path / "worker").mkdir()
    (tmp_path / ".env").write_text("A=1\nexport B='two words' # note\nC=three # note\n# D=4\nE=\n")
    (tmp_path / "worker/.env").write_text("A=of-the-worker\n")
    return tmp_path


def found(folder: Path, *more: dict[str, Any]) -> dict[str, Any]:
    url = "DATABASE_URL=postgresql://postgres:pw@postgres:5432/main?schema=public"
    rows = [
        row("trigger-webapp-1", "trigger", f"{folder}/webapp", env=[url, "PATH=/bin", "NODE_ENV=test"]),
        row("trigger-postgres-1", "trigger", f"{folder}/webapp"),
        row("trigger-supervisor-1", "trigger", f"{folder}/worker"),
        row("other-web-1", "other", "/srv/other"),
        *more,
    ]
    return read(str(folder), Docker(rows))


def test_all_containers_of_the_projects_of_a_folder_are_read(folder: Path) -> None:
    stack = found(folder)
    assert stack["projects"] == ["trigger"]
    assert [each["service"] for each in stack["containers"]] == ["postgres", "supervisor", "webapp"]
    assert stack["containers"][0]["mounts"] == {"/data": "/var/lib/docker/volumes/x/_data"}
    assert stack["runs"] == ["runner-a"]


def test_what_the_image_brings_was_not_given(folder: Path) -> None:
    assert found(folder)["containers"][2]["given"] == ["DATABASE_URL", "NODE_ENV"]


@pytest.mark.parametrize("image", [{}, {"Config": None}, {"Config": {}}, {"Config": {"Env": None}}])
def test_an_image_without_an_environment(folder: Path, image: dict[str, Any]) -> None:
    """Engines from 29 on leave out what is empty."""
    docker = Docker([row("trigger-webapp-1", "trigger", str(folder), env=["A=1"])])
    docker.image = image
    assert read(str(folder), docker)["containers"][0]["given"] == ["A"]


def test_a_part_of_a_project_leads_to_the_whole(folder: Path) -> None:
    assert len(found(folder / "webapp")["containers"]) == 3


def test_a_folder_beside_it_has_nothing(folder: Path) -> None:
    rows = [row("trigger-webapp-1", "trigger", str(folder))]
    assert read(f"{folder}-other", Docker(rows))["containers"] == []


def test_variables_are_those_of_the_files(folder: Path) -> None:
    assert found(folder)["variables"] == {"A": "1", "B": "two words", "C": "three", "E": ""}


@pytest.mark.parametrize(
    ("line", "value"), [("K='a # b'", "a # b"), ('K="x"', "x"), ("K=a#b", "a#b"), ("K = v ", "v"), ("K=a=b", "a=b")]
)
def test_values_are_read_as_compose_does(line: str, value: str) -> None:
    assert assignments(line) == {"K": value}


def test_the_database_tells_its_version_and_workers(folder: Path) -> None:
    assert found(folder)["postgres"] == {"version": "14.19", "workers": ["supervisor-1"]}


def test_a_stopped_database_tells_nothing(folder: Path) -> None:
    rows = [row("trigger-postgres-1", "trigger", str(folder), running=False)]
    assert read(str(folder), Docker(rows))["postgres"] == {}


def test_without_docker_it_fails_in_a_sentence(folder: Path) -> None:
    with pytest.raises(StackError, match=r"docker ps --all failed: not found"):
        read(str(folder), lambda *_: Completed(127, "", "not found"))
