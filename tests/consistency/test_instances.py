# SPDX-License-Identifier: MIT
"""Several supervisors on one host: what bears the name of one, and what has to know all of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plays import render_cases

INSTANCES = ("one.example.com", "one.example.com-EU", "gpu")
# Each of them, and the first where that is to go.
CASES: dict[str, dict[str, Any]] = {
    **{name: {"__supervisor_index": index} for index, name in enumerate(INSTANCES)},
    "leaving": {"__supervisor_leaving": [INSTANCES[0]]},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the firewall is told in each case."""
    given = {
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": "http://control.example.com:8030",
        "supervisor_instances": [{"name": name} for name in INSTANCES],
    }
    return render_cases(
        tmp_path_factory.mktemp("instances"),
        *("trigger", "supervisor"),
        host=INSTANCES[0],
        wanted={
            "bridges": "__supervisor_firewall_settings.bridges",
            "bridge": "__supervisor_runner_bridge",
            "in_force": "__supervisor_firewall_in_force",
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
    assert rendered["leaving"]["in_force"] == first["in_force"]
    assert first["in_force"]["registry"], "it is the rules that are proved"
