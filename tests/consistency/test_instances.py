# SPDX-License-Identifier: MIT
"""Several supervisors on one host: what bears the name of one, and what has to know all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

WANTED = ("__supervisor_firewall_settings.bridges", "__supervisor_runner_bridge", "__supervisor_firewall_in_force")
INSTANCES = ("one.example.com", "one.example.com-EU", "gpu")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, run_plays: Callable[..., Any], root: Path) -> dict[str, Any]:
    """What is WANTED, for each of them, and for the first where that is to go."""
    folder = tmp_path_factory.mktemp("instances")
    roles = ("trigger", "supervisor")
    given = {
        "ansible_python_interpreter": sys.executable,
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": "http://control.example.com:8030",
        "supervisor_instances": [{"name": name} for name in INSTANCES],
    }
    (folder / "given.json").write_text(json.dumps(given))
    (folder / "hosts.yml").write_text(
        yaml.safe_dump({group: {"hosts": {INSTANCES[0]: {}}} for group in ("trigger_control", "trigger_workers")})
    )
    tasks = [
        {
            "name": "Write what is told",
            "ansible.builtin.copy": {
                "dest": f"{folder}/{name}.json",
                "content": f"{{{{ [{', '.join(WANTED)}] | to_json }}}}",
                "mode": "0600",
            },
            "vars": variables,
        }
        for name, variables in {
            **{str(index): {"__supervisor_index": index} for index in range(len(INSTANCES))},
            "leaving": {"__supervisor_leaving": [INSTANCES[0]]},
        }.items()
    ]
    files = [root / "roles" / role / "defaults/main.yml" for role in roles]
    files += [path for role in roles for path in sorted((root / "roles" / role / "vars/main").glob("*.yml"))]
    play = {
        "name": "Render",
        "hosts": "trigger_workers",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(path) for path in files],
        "tasks": tasks,
    }
    done = run_plays(folder, [play], "-i", "hosts.yml", "-e", "@given.json")
    assert done.returncode == 0, done.stdout[-3000:]
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("[0-9l]*.json")}


def test_the_firewall_knows_the_bridge_of_every_supervisor(rendered: dict[str, Any]) -> None:
    every = [rendered[str(index)] for index in range(len(INSTANCES))]
    bridges = [bridge for _, bridge, _ in every]
    assert len(set(bridges)) == len(INSTANCES)
    for told, bridge, _ in every:
        assert set(told) == set(bridges)
        assert len(bridge) <= 15, "Linux takes no longer name"


def test_it_forgets_the_bridge_of_one_that_is_removed(rendered: dict[str, Any]) -> None:
    told, first, _ = rendered["leaving"]
    assert set(told) == set(rendered["0"][0]) - {first}


def test_what_one_has_proved_holds_when_another_goes(rendered: dict[str, Any]) -> None:
    assert rendered["leaving"][2] == rendered["0"][2]
    assert rendered["0"][2]["registry"], "it is the rules that are proved"
