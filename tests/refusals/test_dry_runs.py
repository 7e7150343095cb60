# SPDX-License-Identifier: MIT
"""A dry run of a playbook ends well where a normal run does, and changes nothing, on this machine neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.refusals.test_diagnose import GOOD
from tests.refusals.test_refusals import CHANGE, inventory, run_playbook

WORKER = "worker.example.com"
NO_LINK = {"magic_link": {"url": None}}
NEW_KEY = {"trigger_secrets": {"backup_key": "k" * 32}, "backup_repository": "/mnt/backups"}
LISTED = {'"list"': json.dumps([{"text": "1a2b3c4d  made on a Sunday"}])}
# What a host answers to commands of the shell, by words in them.
DRAINED = {"supervisor.env": "deployed\n0123456789ab"}
# Playbook, what is answered besides, settings, options, words of the output, tasks that say that they would change
# something.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str], list[str], set[str]]] = {
    "preflight": ("preflight", {}, {}, [], [], set()),
    "drain": (
        "worker_drain",
        {"commands": DRAINED, "lineinfile": {"changed": True}, "docker_compose_v2": {"changed": True}},
        {},
        ["-e", f"worker_hosts={WORKER}"],
        [],
        {"Disable dequeuing in its environment", "Restart the supervisor without dequeuing"},
    ),
    "drain-nothing": (
        "worker_drain",
        {"commands": {"supervisor.env": ""}},
        {},
        ["-e", f"worker_hosts={WORKER}"],
        [],
        set(),
    ),
    "login": (
        "login_link",
        {"magic_link": NO_LINK},
        {},
        ["-e", "login_link_email=me@example.com"],
        ["A dry run asks for no link."],
        set(),
    ),
    "backups": (
        "backup_list",
        {"commands": {"command -v restic": "/usr/bin/restic", "secrets.json": "", **LISTED}, "file_set": {}},
        NEW_KEY,
        [],
        ["made on a Sunday"],
        set(),
    ),
    # No program is there that could list them.
    "backups-of-an-empty-host": (
        "backup_list",
        {"commands": {"command -v restic": "/usr/bin/apt-get", "secrets.json": ""}, "file_set": {"changed": True}},
        NEW_KEY,
        [],
        [],
        {"Print that a dry run would install restic", "Write the backup program and its configuration"},
    ),
    "backups-without-restic": (
        "backup_list",
        {"commands": {"command -v restic": "/usr/bin/apt-get", "secrets.json": ""}, "file_set": {}},
        NEW_KEY,
        [],
        [],
        {"Print that a dry run would install restic"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_changes_nothing_and_ends_well(name: str, tmp_path: Path) -> None:
    playbook, answers, settings, options, words, would = CASES[name]
    values = {"answering_otherwise": answers, "diagnose_directory": str(tmp_path / "told"), **settings}
    inventory(tmp_path, {"values": values, "workers": {WORKER: {}}})
    before = {path.name for path in tmp_path.iterdir()}
    done = run_playbook(tmp_path, playbook, ["--check", *options])
    assert done.code == 0, done.ending()
    assert CHANGE not in done.output
    assert [word for word in words if word not in done.text] == [], done.ending()
    assert {change.partition(" : ")[2] or change for change in done.changes} == would
    assert {path.name for path in tmp_path.iterdir()} - before <= {"code", "output"}


def test_a_dry_run_of_the_status_tells_what_a_normal_one_tells(tmp_path: Path) -> None:
    """These hosts have no installation, so some of the checks fail in both."""
    inventory(tmp_path, {"values": {"answering_otherwise": GOOD}, "workers": {WORKER: {}}})
    normal, dry = (run_playbook(tmp_path, "status", options) for options in ([], ["--check"]))
    assert "memory" in dry.text
    assert dry.message == normal.message
    assert dry.changes == normal.changes == []
