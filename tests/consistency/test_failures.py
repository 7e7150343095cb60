# SPDX-License-Identifier: MIT
"""A fault is told once and in the open: no task hides its error, and what a rescue tells of a task is what it said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.common import ROOT
from tests.plays import render_cases, run_plays

TASKS = sorted([*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "playbooks").rglob("*.yml")])
# Tasks that hide their output although a module of ours could not run them. They cannot fail, so they hide no error.
HIDING = {
    ("roles/compose_project/tasks/up.yml", "Read the logs of unhealthy services"): "ends with true",
    ("roles/supervisor/tasks/verify.yml", "Read the answers of the webapp to the supervisor"): "as above",
    ("roles/worker_group/tasks/revoke.yml", "Test the old token"): "it sends a token; any answer is one that it takes",
    (
        "roles/monitoring/tasks/secrets.yml",
        "Store the hashes of the passwords",
    ): "the rules have refused what bcrypt does",
}
LOST = "The control host control.example.com cannot be reached, or its answer was lost."
OK, FAILED = {"failed": False, "msg": "fine"}, {"failed": True, "msg": "why"}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a task": ({"ansible_failed_result": FAILED}, "why"),
    "a loop": ({"ansible_failed_result": {"msg": "One or more items failed", "results": [OK, FAILED]}}, "why"),
    "a host in a loop": ({"ansible_failed_result": {"results": [{"unreachable": True, "msg": "ssh: no"}]}}, "ssh: no"),
    "a loop without results": ({"ansible_failed_result": {"results": []}}, LOST),
    "another host": ({}, LOST),
}


def flat(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield all tasks, those of blocks too."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from flat(task.get(part) or [])


def test_no_task_hides_its_error() -> None:
    """`no_log` hides why a task failed: what returns a secret is a module that hides no more than its success."""
    found = {
        (path.relative_to(ROOT).as_posix(), task.get("name"))
        for path in TASKS
        for task in flat(yaml.safe_load(path.read_text()) or [])
        if task.get("no_log")
    }
    assert found == set(HIDING)


def test_no_task_overwrites_what_it_registered_before() -> None:
    """A task that is skipped registers that it was: a condition on its own result belongs to an include around it.

    It does no harm to a result that is only asked whether it is there.
    """
    texts = "".join(path.read_text() for path in (ROOT / "roles").rglob("*.yml"))
    found = [
        (path.relative_to(ROOT).as_posix(), task["name"])
        for path in TASKS
        for task in flat(yaml.safe_load(path.read_text()) or [])
        if "register" in task and f"{task['register']} is not defined" in str(task.get("when", ""))
        if f"{task['register']}." in texts
    ]
    assert found == []


def test_modules_that_return_secrets_have_the_action_that_hides_them() -> None:
    assert (ROOT / "plugins/action/secret_result.py").is_file()
    routes = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
    action = "selfhosted.trigger_dev.secret_result"
    hiding = {name for name, route in routes.items() if route.get("action_plugin") == action}
    modules = (ROOT / "plugins/modules").glob("*.py")
    assert hiding == {path.stem for path in modules if "hidden as with C(no_log)" in path.read_text()}


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


@pytest.mark.parametrize("role", [("supervisor", "secrets"), ("registry_client", "secrets")], ids=lambda role: role[0])
def test_a_control_host_that_cannot_be_reached_is_told_as_such(tmp_path: Path, role: tuple[str, str]) -> None:
    """By the words of its connection, and not as an error that is hidden."""
    (tmp_path / "hosts").write_text(
        "[trigger_control]\ncontrol ansible_host=127.0.0.1 ansible_port=1\n"
        "[trigger_workers]\none ansible_connection=local\ntwo ansible_connection=local\n"
    )
    include = {"name": f"selfhosted.trigger_dev.{role[0]}", "tasks_from": role[1]}
    settings = {"trigger_origin": "http://localhost:8030", "trigger_api_origin": "http://10.0.0.1:8030"}
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
