# SPDX-License-Identifier: MIT
"""Several supervisors on one host: what bears the name of one, and what has to know all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases

INSTANCES = ("one.example.com", "one.example.com-EU", "gpu")
# Each of them, and the first where that is to go.
CASES: dict[str, dict[str, Any]] = {
    **{name: {"__supervisor_index": index} for index, name in enumerate(INSTANCES)},
    "leaving": {"__supervisor_leaving": [INSTANCES[0]]},
}


@pytest.fixture(scope="module")
def rendered(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the firewall is told in each case."""
    (task,) = yaml.safe_load((root / "roles/supervisor/tasks/firewall.yml").read_text())
    asked: dict[str, Any] = task["vars"]
    given = {
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": "http://control.example.com:8030",
        "supervisor_instances": [{"name": name} for name in INSTANCES],
        **asked,
    }
    return render_cases(
        tmp_path_factory.mktemp("instances"),
        *("trigger", "supervisor", "runner_firewall"),
        host=INSTANCES[0],
        wanted={
            "bridges": "__runner_firewall_settings.bridges",
            "bridge": "__supervisor_runner_bridge",
            "rules": "__runner_firewall_outcome.rules",
        },
        cases={name: given | case for name, case in CASES.items()},
    )


def test_the_firewall_knows_the_bridge_of_every_supervisor(rendered: dict[str, dict[str, Any]]) -> None:
    bridges = {rendered[name]["bridge"] for name in INSTANCES}
    assert len(bridges) == len(INSTANCES)
    assert all(len(bridge) <= 15 for bridge in bridges), "Linux takes no longer name"
    for name in INSTANCES:
        assert set(rendered[name]["bridges"]) == bridges


def test_it_forgets_the_bridge_of_one_that_is_removed(rendered: dict[str, dict[str, Any]]) -> None:
    leaving, first = rendered["leaving"], rendered[INSTANCES[0]]
    assert set(leaving["bridges"]) == set(first["bridges"]) - {first["bridge"]}


def test_what_one_has_proved_holds_when_another_goes(rendered: dict[str, dict[str, Any]]) -> None:
    first = rendered[INSTANCES[0]]
    assert rendered["leaving"]["rules"] == first["rules"]
    assert first["rules"]["registry"], "it is the rules that are proved"
