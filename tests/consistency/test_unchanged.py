# SPDX-License-Identifier: MIT
"""A run that changes nothing leaves out what it has done already, and still looks at what may differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.common import ROOT
from tests.plays import render_cases

INCLUDE, ROLE = "ansible.builtin.include_tasks", "ansible.builtin.include_role"
HOST = "control.example.com"
CHECKED = [
    path.parents[1].name
    for path in sorted(ROOT.glob("roles/*/tasks/preflight.yml"))
    if f"when: __{path.parents[1].name}_checked is not defined" in path.read_text()
]
NOTHING: dict[str, Any] = {"host": {"found": [], "networks": {}, "listening": []}}
WELL, HEALED = {"changed": False, "skipped": True}, {"changed": True}


def is_ours(row: dict[str, Any]) -> bool:
    """Tell whether a task includes the role trigger."""
    return bool(row.get(ROLE, {}).get("name") == "selfhosted.trigger_dev.trigger")


def rows(path: str) -> list[dict[str, Any]]:
    """Give the tasks of a file of roles."""
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "roles" / path).read_text())
    return found


def condition(row: dict[str, Any]) -> str:
    """Give the whole condition of a task."""
    given = row["when"]
    return " and ".join(f"({each})" for each in ([given] if isinstance(given, str) else given))


def named(path: str, name: str) -> str:
    """Give the condition of a task by its name."""
    return condition(next(row for row in rows(path) if row["name"] == name))


def test_roles_that_check_a_host_once_are_known() -> None:
    assert {"docker_engine", "gateway", "monitoring", "registry", "supervisor", "webapp"} <= set(CHECKED)


@pytest.mark.parametrize("role", CHECKED)
def test_a_checked_host_is_not_asked_task_by_task(role: str) -> None:
    """The checks of all roles come first; those of a deployment would be as many skipped tasks on each host."""
    (include,) = (row for row in rows(f"{role}/tasks/main.yml") if row[INCLUDE] == "preflight.yml")
    assert f"(__{role}_checked is not defined)" in condition(include)


ANSWERS: dict[str, tuple[dict[str, Any], bool]] = {
    "all is well": ({}, False),
    "started": ({"__compose_project_start": HEALED}, True),
    "started, with nothing to do": ({"__compose_project_start": {"changed": False}}, True),
    "nothing listens at its port": ({"webapp_port": 8031}, True),
    "behind a gateway": ({"webapp_port": 8031, "trigger_gateway_enabled": True}, False),
    "behind a gateway, started": ({"trigger_gateway_enabled": True, "__compose_project_start": HEALED}, True),
}


def test_the_webapp_is_called_unless_compose_has_told_its_answer(tmp_path: Path) -> None:
    base = {
        "trigger_origin": f"http://{HOST}:8030",
        "__compose_project_start": WELL,
        "__trigger_host": {"host": {**NOTHING["host"], "listening": [22, 8030]}},
    }
    found = render_cases(
        tmp_path,
        *("trigger", "webapp"),
        host=HOST,
        wanted={"called": named("webapp/tasks/main.yml", "Verify that it answers")},
        cases={name: base | case for name, (case, _) in ANSWERS.items()},
    )
    assert {name: row["called"] for name, row in found.items()} == {
        name: called for name, (_, called) in ANSWERS.items()
    }


REMAINS = {"host": {**NOTHING["host"], "found": ["/opt/trigger/monitoring"]}}
OFF: dict[str, tuple[dict[str, Any], tuple[bool, bool]]] = {
    "off": ({}, (False, False)),
    "off, and was on": ({"__trigger_host": REMAINS}, (False, True)),
    "off, with a setting that is wrong": ({"monitoring_extra_rules": [{}]}, (True, False)),
    "on": ({"monitoring_enabled": True}, (True, True)),
    "on, and checked": ({"monitoring_enabled": True, "__monitoring_checked": True}, (False, True)),
}


def test_monitoring_that_is_off_does_nothing_unless_something_is_left(tmp_path: Path) -> None:
    main = "monitoring/tasks/main.yml"
    found = render_cases(
        tmp_path,
        *("trigger", "monitoring"),
        host=HOST,
        wanted={
            "checked": named(main, "Check the settings"),
            "done": named(main, "Deploy monitoring, or remove a disabled one"),
        },
        cases={
            name: {"trigger_origin": f"http://{HOST}:8030", "__trigger_host": NOTHING} | case
            for name, (case, _) in OFF.items()
        },
    )
    assert {name: (row["checked"], row["done"]) for name, row in found.items()} == {
        name: wanted for name, (_, wanted) in OFF.items()
    }


def test_a_host_that_nobody_has_looked_at_is_looked_at(tmp_path: Path) -> None:
    found = render_cases(
        tmp_path,
        *("trigger", "monitoring"),
        host=HOST,
        wanted={"left": "__monitoring_may_be_left"},
        cases={"unknown": {"trigger_origin": f"http://{HOST}:8030"}},
    )
    assert found == {"unknown": {"left": True}}


SETTLED = {"secret_file": {"secrets": {}, "settled": True, "beside": {"registry": "a:b"}}}
INCLUDING = [
    *("webapp/tasks/secrets.yml", "registry/tasks/deploy.yml", "registry/tasks/verify.yml"),
    *("gateway/tasks/deploy.yml", "gateway/tasks/status_page.yml", "supervisor/tasks/register.yml"),
]
# What the run knows by then -> which entry points of the role trigger are included.
KNOWN: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, {"secrets", "registry"}),
    "all secrets": ({"__trigger_checked_secrets": SETTLED}, set()),
    "secrets that it has made": ({"__trigger_secret_file": SETTLED}, {"registry"}),
    "no CA": ({"trigger_gateway_enabled": True, "gateway_tls": "internal"}, {"secrets", "registry", "ca"}),
    "a CA": (
        {"trigger_gateway_enabled": True, "gateway_tls": "internal", "__trigger_ca_known": {}},
        {"secrets", "registry"},
    ),
}


def test_a_role_is_not_included_to_find_nothing_to_do(tmp_path: Path) -> None:
    calls = {
        f"call_{number}": (row[ROLE]["tasks_from"], condition(row))
        for number, row in enumerate(row for path in INCLUDING for row in rows(path) if is_ours(row))
    }
    assert len(calls) == len(INCLUDING) + 1
    found = render_cases(
        tmp_path,
        *("trigger", "registry"),
        host=HOST,
        wanted={name: when for name, (_, when) in calls.items()},
        cases={name: {"trigger_origin": "https://trigger.example.com"} | case for name, (case, _) in KNOWN.items()},
    )
    entry_points = {
        name: {"secrets": "secrets", "ca": "ca"}.get(entry, "registry") for name, (entry, _) in calls.items()
    }
    assert {case: {entry_points[name] for name in row if row[name]} for case, row in found.items()} == {
        name: included for name, (_, included) in KNOWN.items()
    }
