# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._units import HEADER
from ansible_collections.selfhosted.trigger_dev.plugins.modules.installation import (
    Host,
    InstallationError,
    Parameters,
    remove,
)

OURS = {"dev.trigger.ansible/role": "webapp"}
REGISTRY = "control.example.com:5000"


class Machine:
    """docker and systemctl of a host with our objects and those of others."""

    def __init__(self, folder: Path) -> None:
        self.units = folder / "units"
        self.path = folder / "trigger"
        self.units.mkdir()
        for name, text in {
            "trigger-backup.timer": f"# {HEADER}\n[Timer]\n",
            "trigger-backup.service": f"# {HEADER}\n[Service]\n",
            "trigger-happy.service": "[Service]\n",
        }.items():
            (self.units / name).write_text(text)
        for name in ("secrets.json", "gateway/authority/root.crt", "gateway/compose.yml", "webapp/compose.yml"):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text("x")
        in_folder = {
            "com.docker.compose.project.working_dir": str(self.path / "webapp"),
            "com.docker.compose.project": "trigger-webapp",
        }
        self.containers: dict[str, tuple[dict[str, str], str, list[str]]] = {
            "trigger-webapp-webapp-1": (OURS, "webapp", ["trigger-front"]),
            "trigger-webapp-old-1": (in_folder, "webapp", []),
            "runner-1": ({}, "task", ["trigger-runner"]),
            "runner-2": ({}, "layer-of-theirs", ["trigger-runner"]),
            "runner-of-others": ({}, "theirs", ["theirs"]),
            "guest": ({}, "theirs", ["trigger-front"]),
        }
        self.networks: dict[str, dict[str, str]] = {
            "trigger-front": OURS,
            "trigger-runner": {"com.docker.compose.project": "trigger-webapp"},
            "theirs": {"com.docker.compose.project": "theirs"},
        }
        self.volumes: dict[str, dict[str, str]] = {"trigger_postgres_data": OURS, "theirs": {}}
        self.images = {
            "webapp": ["ghcr.io/trigger:v4"],
            "task": [],
            "older-task": [f"{REGISTRY}/trigger/p:1"],
            "unused": ["tecnativa/proxy:1"],
            "theirs": ["nginx:1", f"{REGISTRY}/trigger/nginx:1"],
            "unused-of-theirs": ["debian:13", f"{REGISTRY}/team/tool:1"],
            "untagged-of-theirs": [],
            "layer-of-theirs": [],
        }
        self.parents = {"theirs": "layer-of-theirs"}
        self.log: list[str] = []
        self.engine = 0

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        argv = list(argv)
        command = " ".join(argv)
        if argv[:2] == ["docker", "version"]:
            return Completed(self.engine, "", "Cannot connect")
        rows = self.rows()
        if argv[1] in ("ps",) or argv[2:3] == ["ls"]:
            kind = "container" if argv[1] == "ps" else argv[1]
            # As version 29 does: images without a name, and those that others begin with, are listed with --all only.
            left_out = [] if "--all" in argv else [key for key, tags in self.images.items() if not tags]
            return Completed(0, "\n".join(name for name in rows[kind] if name not in left_out), "")
        if argv[2:3] == ["inspect"]:
            return Completed(0, json.dumps([rows[argv[1]][name] for name in argv[3:]]), "")
        self.log.append(command)
        for name in argv[2:]:
            for known in (self.containers, self.volumes, self.networks):
                if argv[1] == "rm" or argv[2] == "rm":
                    known.pop(name, None)
        if argv[1:3] == ["image", "rm"]:
            self.images = {key: tags for key, tags in self.images.items() if argv[3] not in [key, *tags]}
        return Completed(0, "", "")

    def rows(self) -> dict[str, dict[str, Any]]:
        return {
            "container": {
                name: {
                    "Name": f"/{name}",
                    "Image": image,
                    "Config": {"Labels": labels},
                    "NetworkSettings": {"Networks": {key: {} for key in networks}},
                }
                for name, (labels, image, networks) in self.containers.items()
            },
            "network": {name: {"Name": name, "Labels": labels} for name, labels in self.networks.items()},
            "volume": {name: {"Name": name, "Labels": labels or None} for name, labels in self.volumes.items()},
            "image": {
                key: {"Id": key, "RepoTags": tags, "RepoDigests": None, "Parent": self.parents.get(key, "")}
                for key, tags in self.images.items()
            },
        }

    def remove(self, data: bool = False, check: bool = False) -> dict[str, list[str]]:
        kept = [str(self.path / "secrets.json"), str(self.path / "gateway/authority"), str(self.path / "missing")]
        prefixes = [f"{REGISTRY}/trigger/", "docker.io/tecnativa/proxy:", "docker.io/", "docker.io/library/"]
        wanted = Parameters(str(self.path), data, kept, prefixes, re.compile("^runner-"))
        return remove(Host(self.run, str(self.units)), wanted, check)

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_is_ours_goes_and_data_stays(machine: Machine) -> None:
    removed = machine.remove()
    assert removed["containers"] == ["runner-1", "runner-2", "trigger-webapp-old-1", "trigger-webapp-webapp-1"]
    assert removed["networks"] == ["trigger-front", "trigger-runner"]
    assert (removed["volumes"], removed["images"]) == ([], [])
    assert machine.files() == ["gateway/authority/root.crt", "secrets.json"]
    assert set(machine.containers) == {"runner-of-others", "guest"}
    assert set(machine.networks) == {"theirs"}
    assert set(machine.volumes) == {"trigger_postgres_data", "theirs"}
    assert [path.name for path in machine.units.iterdir()] == ["trigger-happy.service"]


def test_a_file_beside_what_goes_is_kept(machine: Machine) -> None:
    """As the record of an upgrade of Postgres, whose old data is in a volume."""
    backup = machine.path / "backup"
    (backup / "replaced").mkdir(parents=True)
    for name in ("postgres_upgrade.json", "plan.json", "replaced/secrets.json"):
        (backup / name).write_text("x")
    kept = [str(backup / name) for name in ("postgres_upgrade.json", "adopt.json", "replaced")]
    wanted = Parameters(str(machine.path), False, kept, [], re.compile("^runner-"))
    removed = remove(Host(machine.run, str(machine.units)), wanted, check=False)
    assert machine.files() == ["backup/postgres_upgrade.json", "backup/replaced/secrets.json"]
    assert str(backup / "plan.json") in removed["files"]


def test_units_go_before_what_they_would_start_again(machine: Machine) -> None:
    machine.remove()
    assert machine.log[0] == "systemctl disable --now trigger-backup.timer trigger-backup.service"
    stop = next(number for number, line in enumerate(machine.log) if line.startswith("docker stop"))
    assert machine.log.index("systemctl daemon-reload") < stop


def test_a_container_of_others_is_only_disconnected(machine: Machine) -> None:
    machine.remove()
    assert "docker network disconnect --force trigger-front guest" in machine.log
    assert not any("guest" in line for line in machine.log if line.startswith(("docker stop", "docker rm")))


def test_with_data_everything_goes_that_nobody_else_uses(machine: Machine) -> None:
    removed = machine.remove(data=True)
    assert removed["volumes"] == ["trigger_postgres_data"]
    assert removed["images"] == [f"{REGISTRY}/trigger/p:1", "ghcr.io/trigger:v4", "task", "tecnativa/proxy:1"]
    # The engine refuses to remove an image that another one begins with.
    assert set(machine.images) == {"theirs", "unused-of-theirs", "untagged-of-theirs", "layer-of-theirs"}
    assert not machine.path.exists()


@pytest.mark.parametrize("data", [False, True])
def test_check_mode_tells_the_same_and_changes_nothing(machine: Machine, data: bool) -> None:
    told, before = machine.remove(data, check=True), machine.files()
    assert (machine.log, machine.files()) == ([], before)
    assert machine.remove(data) == told


@pytest.mark.parametrize("data", [False, True])
def test_a_second_time_there_is_nothing_to_do(machine: Machine, data: bool) -> None:
    machine.remove(data)
    machine.log.clear()
    assert not any(machine.remove(data).values())
    assert machine.log == []


def test_a_host_without_an_engine_loses_units_and_files(machine: Machine) -> None:
    machine.engine = 127
    removed = machine.remove()
    assert removed["containers"] == []
    assert machine.files() == ["gateway/authority/root.crt", "secrets.json"]


def test_an_engine_that_does_not_answer_ends_it_before_anything_changes(machine: Machine) -> None:
    machine.engine = 1
    before = machine.files()
    with pytest.raises(InstallationError, match="systemctl start docker"):
        machine.remove()
    assert (machine.log, machine.files()) == ([], before)


def test_a_link_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    (machine.path / "link").symlink_to(tmp_path / "elsewhere")
    machine.remove(data=True)
    assert (tmp_path / "elsewhere" / "precious").exists()
