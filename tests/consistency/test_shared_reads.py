# SPDX-License-Identifier: MIT
"""What one task has read of the control host serves other tasks and the workers, for as long as it is still true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases, run_plays, variable_files

CONTROL, WORKER = "control.example.com", "worker.example.com"
FOUND = {"registry_pull_password": "found"}


def read(secrets: dict[str, str], *, settled: bool) -> dict[str, Any]:
    return {"secret_file": {"secrets": secrets, "settled": settled}}


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "the check has found all": ({"__trigger_checked_secrets": read(FOUND, settled=True)}, "found"),
    # What it would have generated is not what the deployment has generated.
    "generated": (
        {
            "__trigger_checked_secrets": read({"registry_pull_password": "predicted"}, settled=False),
            "__trigger_secret_file": read({"registry_pull_password": "made"}, settled=False),
        },
        "made",
    ),
    "the check alone, of a file that lacks some": ({"__trigger_checked_secrets": read({}, settled=False)}, "own"),
    "another play, as with --limit": ({}, "own"),
    "in a rotation": (
        {"__trigger_checked_secrets": read(FOUND, settled=True), "__secrets_rotate_checked": True},
        "own",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_workers_get_the_secrets_that_the_control_host_has_now(tmp_path: Path, name: str) -> None:
    facts, wanted = CASES[name]
    common = {"connection": "local", "gather_facts": False, "vars": {"ansible_python_interpreter": sys.executable}}
    plays = [
        {
            "name": "Read on the control host",
            "hosts": CONTROL,
            **common,
            "tasks": [{"name": "Read", "ansible.builtin.set_fact": facts or {"nothing": True}}],
        },
        {
            "name": "Look at them on a worker",
            "hosts": WORKER,
            **common,
            "vars_files": variable_files("trigger", "supervisor", "monitoring"),
            "tasks": [
                {
                    "name": "Look",
                    "ansible.builtin.assert": {
                        "that": [
                            f"__supervisor_secrets.registry_pull_password == '{wanted}'",
                            f"__monitoring_secrets.registry_pull_password == '{wanted}'",
                            f"(__trigger_control_secrets | length == 0) == {wanted == 'own'}",
                        ]
                    },
                    "vars": {
                        "__supervisor_secret_file": read({"registry_pull_password": "own"}, settled=True),
                        "__monitoring_secret_file": read({"registry_pull_password": "own"}, settled=True),
                        "__trigger_control_host": CONTROL,
                    },
                }
            ],
        },
    ]
    done = run_plays(tmp_path, plays, "-i", f"{CONTROL},{WORKER}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("role", ["monitoring", "supervisor"])
def test_the_control_host_is_asked_once_for_all_workers(root: Path, role: str) -> None:
    """Each call of it takes about a second."""
    text = (root / f"roles/{role}/tasks/secrets.yml").read_text()
    rows = yaml.safe_load(text)
    rows += [task for row in rows for task in row.get("block", ())]
    (read_it,) = [row for row in rows if "selfhosted.trigger_dev.secret_file_info" in row]
    assert read_it["run_once"] is True
    assert read_it["delegate_to"] == "{{ __trigger_control_host }}"
    assert "__trigger_control_secrets | length == 0" in read_it["when"]


def test_a_worker_with_a_young_heartbeat_is_not_asked_for_again(tmp_path: Path) -> None:
    def heard(group: str, name: str, age: float | None) -> dict[str, Any]:
        row = {"name": name, "group": group, "last_heartbeat_age_seconds": age}
        return {"results": [{"worker_instances": [row]}, {"worker_instances": []}]}

    contacts: dict[str, tuple[dict[str, Any], bool]] = {
        "young": (heard("bootstrap", "one", 35), True),
        "old": (heard("bootstrap", "one", 41), False),
        "never": (heard("bootstrap", "one", None), False),
        "of another group": (heard("other", "one", 1), False),
        "of another worker": (heard("bootstrap", "two", 1), False),
        "not asked": ({"results": [{"worker_token": {"token": "t"}}]}, False),
    }
    found = render_cases(
        tmp_path,
        "trigger",
        "supervisor",
        host=WORKER,
        wanted={"heard": "__supervisor_was_heard"},
        cases={
            name: {"__worker_group_token": row, "__supervisor_current": {"name": "one", "group": "bootstrap"}}
            for name, (row, _) in contacts.items()
        },
    )
    assert {name: value["heard"] for name, value in found.items()} == {
        name: heard for name, (_, heard) in contacts.items()
    }


@pytest.mark.parametrize("touched", [False, True, None])
def test_workers_are_read_anew_where_the_run_has_touched_one(tmp_path: Path, touched: bool | None) -> None:
    row = {"name": "one", "group": "bootstrap", "last_contact_age_seconds": 3}
    facts: dict[str, Any] = {"__worker_group_token": {"results": [{"worker_instances": [row]}]}}
    if touched is not None:
        facts["__supervisor_touched"] = touched
    common = {"connection": "local", "gather_facts": False, "vars": {"ansible_python_interpreter": sys.executable}}
    known = touched is False
    plays = [
        {
            "name": "Deploy a worker",
            "hosts": WORKER,
            **common,
            "tasks": [
                {"name": "Group", "ansible.builtin.group_by": {"key": "trigger_workers"}, "changed_when": False},
                {"name": "Note", "ansible.builtin.set_fact": facts},
            ],
        },
        {
            "name": "Look at it on the control host",
            "hosts": CONTROL,
            **common,
            "vars_files": variable_files("trigger", "webapp"),
            "tasks": [
                {
                    "name": "Look",
                    "ansible.builtin.assert": {
                        "that": [
                            f"__webapp_workers_known == {known}",
                            f"__webapp_connected == {['one' if known else 'two']}",
                        ]
                    },
                    "vars": {"__webapp_workers": {"results": [{"worker_instances": [row | {"name": "two"}]}]}},
                }
            ],
        },
    ]
    done = run_plays(tmp_path, plays, "-i", f"{CONTROL},{WORKER}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
