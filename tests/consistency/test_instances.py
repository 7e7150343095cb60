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
    "leaving": {"__supervisor_leaving": [INSTANCES[0]], "worker_instance": INSTANCES[0]},
    "second": {"worker_instance": INSTANCES[1]},
    "all": {"worker_instance": ""},
    "moved": {
        "worker_instance": INSTANCES[0],
        "__supervisor_index": "{{ __supervisor_staying_numbers | first | default(0) }}",
    },
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
            "directory": "__supervisor_directory",
            "moves": "__supervisor_first_moves",
            "first": "__trigger_first_supervisor_directory",
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


def test_programs_of_the_host_go_to_the_first_supervisor_that_stays(
    root: Path, rendered: dict[str, dict[str, Any]]
) -> None:
    """They lie in the folder of the first one, which is removed with it."""
    assert {name: rendered[name]["moves"] for name in ("leaving", "second", "all")} == {
        "leaving": True,
        "second": False,
        "all": False,
    }
    assert rendered["moved"]["directory"] == rendered[INSTANCES[1]]["directory"]
    (task,) = [
        each
        for each in yaml.safe_load((root / "roles/supervisor/tasks/absent.yml").read_text())
        if each.get("when") == "__supervisor_first_moves"
    ]
    assert task["vars"]["__supervisor_index"] == CASES["moved"]["__supervisor_index"]


@pytest.mark.parametrize("names", [INSTANCES, INSTANCES[::-1], INSTANCES[1:], ("GPU.2",)])
def test_other_roles_find_the_folder_of_the_first_supervisor(tmp_path: Path, names: tuple[str, ...]) -> None:
    given = {
        "trigger_origin": "http://localhost:8030",
        "supervisor_instances": [{"name": name} for name in names],
        "__trigger_instances": [{"host": INSTANCES[0], "name": name} for name in names],
    }
    found = render_cases(
        tmp_path,
        *("trigger", "supervisor"),
        host=INSTANCES[0],
        wanted={"own": "__supervisor_directory", "others": "__trigger_first_supervisor_directory"},
        cases={"case": given},
    )
    assert found["case"]["own"] == found["case"]["others"]


def test_monitoring_stays_with_what_it_watches(root: Path, tmp_path: Path) -> None:
    """With the name that the role itself gives, its networks and targets are those of the supervisors that stay."""
    tasks = root / "roles/supervisor/tasks"
    (leave,) = [
        each
        for each in yaml.safe_load((tasks / "absent.yml").read_text())
        if each.get("ansible.builtin.include_tasks") == "monitoring.yml"
    ]
    remove, deploy = yaml.safe_load((tasks / "monitoring.yml").read_text())
    assert remove["when"] == "not __supervisor_monitoring_stays"
    assert deploy["when"] == ["__trigger_monitoring_enabled", "__supervisor_monitoring_stays"]
    name = INSTANCES[0]
    given = {
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": "http://control.example.com:8030",
        "supervisor_instances": [{"name": name} for name in INSTANCES],
        "__trigger_instances": [{"host": name, "name": each} for each in INSTANCES],
        "monitoring_enabled": True,
        **leave["vars"],
        **deploy["block"][-1]["vars"],
    }
    elsewhere = {"__trigger_control_hosts": ["control.example.com"], "registry_enabled": False}
    found = render_cases(
        tmp_path,
        *("trigger", "supervisor", "monitoring"),
        host=name,
        wanted={
            "stays": "__supervisor_monitoring_stays",
            "networks": "__trigger_metrics_networks",
            "targets": "__monitoring_supervisor_targets | map(attribute='targets') | flatten",
            "watched": "__monitoring_has_supervisors",
        },
        cases={
            "one": {**given, **elsewhere, "worker_instance": INSTANCES[1]},
            "first": {**given, **elsewhere, "worker_instance": INSTANCES[0]},
            "all": {**given, **elsewhere, "worker_instance": ""},
            "control": {**given, "worker_instance": ""},
            "registry": {**given, **elsewhere, "__trigger_registry_hosts": [name], "worker_instance": ""},
        },
    )
    own, second, third = "trigger-metrics", "trigger-metrics-one-example-com-eu", "trigger-metrics-gpu"
    assert {case: row["networks"] for case, row in found.items()} == {
        "one": [own, third],
        "first": [second, third],
        "all": [],
        "control": [],
        "registry": [],
    }
    assert {case: row["stays"] for case, row in found.items()} == {
        "one": True,
        "first": True,
        "all": False,
        "control": True,
        "registry": True,
    }
    for row in found.values():
        assert len(row["targets"]) == len(row["networks"])
        assert row["watched"] is bool(row["networks"])
    assert found["first"]["targets"] == ["supervisor-metrics-one-example-com-eu:9090", "supervisor-metrics-gpu:9090"]
