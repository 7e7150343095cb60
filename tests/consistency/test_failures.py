# SPDX-License-Identifier: MIT
"""A task that fails behind `no_log` is told by its rescue, also where there is no result of it, or one of a loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases, run_plays

TASKS = sorted((Path(__file__).resolve().parents[2] / "roles").glob("*/tasks/*.yml"))
LOST = "The control host control.example.com cannot be reached, or its answer was lost."
OK, FAILED = {"failed": False, "msg": "fine"}, {"failed": True, "msg": "why"}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a task": ({"ansible_failed_result": FAILED}, "why"),
    "a loop": ({"ansible_failed_result": {"msg": "One or more items failed", "results": [OK, FAILED]}}, "why"),
    "a host in a loop": ({"ansible_failed_result": {"results": [{"unreachable": True, "msg": "ssh: no"}]}}, "ssh: no"),
    "a loop without results": ({"ansible_failed_result": {"results": []}}, LOST),
    "another host": ({}, LOST),
}


def blocks(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield blocks with a rescue, the inner ones too."""
    for task in tasks:
        if "rescue" in task:
            yield task
        yield from blocks(task.get("block", []))


@pytest.mark.parametrize("path", TASKS, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_what_was_hidden_is_told_by_the_common_expression(path: Path) -> None:
    tasks = yaml.safe_load(path.read_text()) or []
    for block in blocks(tasks):
        if any(task.get("no_log") is True for task in block["block"]):
            told = str(block["rescue"])
            assert "ansible_failed_result" not in told, block["name"]
            assert "__trigger_failure" in told, block["name"]


@pytest.mark.parametrize("path", TASKS, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_the_first_call_of_another_host_hides_nothing(path: Path) -> None:
    """What its connection says would be hidden too. (Secrets of the roles are made behind the lock.)"""
    tasks = yaml.safe_load(path.read_text()) or []
    flat = [each for task in tasks for each in [task, *task.get("block", [])]]
    away = [task for task in flat if task.get("delegate_to") and task.get("run_once")]
    if away and (path.parents[1].name, path.stem) != ("trigger", "generate_secrets"):
        assert not away[0].get("no_log"), away[0]["name"]


def test_what_is_told(tmp_path: Path) -> None:
    told = render_cases(
        tmp_path,
        "trigger",
        host="control.example.com",
        wanted={"told": "__trigger_failure"},
        cases={name: case for name, (case, _expected) in CASES.items()},
    )
    assert {name: value["told"] for name, value in told.items()} == {
        name: expected for name, (_case, expected) in CASES.items()
    }


@pytest.mark.parametrize("role", [("supervisor", "secrets"), ("registry", "client_secrets")], ids=lambda role: role[0])
def test_a_control_host_that_cannot_be_reached_is_told_as_such(tmp_path: Path, role: tuple[str, str]) -> None:
    """By the words of its connection, and not as an error that is hidden."""
    (tmp_path / "hosts").write_text(
        "[trigger_control]\ncontrol ansible_host=127.0.0.1 ansible_port=1\n"
        "[trigger_workers]\none ansible_connection=local\ntwo ansible_connection=local\n"
    )
    include = {"name": f"selfhosted.trigger_dev.{role[0]}", "tasks_from": role[1]}
    settings = {"trigger_origin": "http://10.0.0.1:8030"}
    done = run_plays(
        tmp_path,
        [
            {
                "name": "Read",
                "hosts": "one,two",
                "gather_facts": False,
                "vars": settings,
                "tasks": [{"name": "Read", "ansible.builtin.include_role": include}],
            }
        ],
        *("-i", "hosts"),
        ANSIBLE_NOCOLOR="1",
    )
    assert done.returncode != 0
    assert "127.0.0.1 port 1" in done.stdout + done.stderr, done.stdout
    for text in ("censored", "No first item", "is undefined"):
        assert text not in done.stdout + done.stderr, done.stdout
