# SPDX-License-Identifier: MIT
"""Playbooks without the checks of the playbook site: what they say where a restore or the like is not complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.refusals.test_refusals import CHANGE, CONTROL, inventory, run_playbook

IMAGE = "ghcr.io/triggerdotdev/trigger.dev:v4.2.0"
RESTORE = ["restore that is not complete", "backup_restore", "undo"]
UPGRADE = ["upgrade of Postgres that is not complete", "playbook postgres_upgrade"]
MOVE = ["move of objects that is not complete", "playbook object_store_move"]
WITH_DATA = {"uninstall_data_enabled": True, "uninstall_confirm": "http://localhost:8030"}

# Playbook, what is by half, settings, words of the message.
CASES: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    # A new secrets.json, with a new key of backups, would take the place of the one that comes back.
    "backup": ("backup", "restore", {}, RESTORE),
    "backup-of-a-whole-installation": ("backup", "", {}, [CHANGE]),
    "postgres-upgrade": ("postgres_upgrade", "restore", {}, RESTORE),
    "postgres-upgrade-after-a-move": ("postgres_upgrade", "object_store_moved", {}, MOVE),
    "postgres-upgrade-that-goes-on": ("postgres_upgrade", "postgres_upgrade", {}, [CHANGE]),
    "object-store-move": ("object_store_move", "restore", {}, RESTORE),
    "object-store-move-after-an-upgrade": ("object_store_move", "postgres_upgrade", {}, UPGRADE),
    "object-store-move-that-goes-on": ("object_store_move", "object_store_moved", {}, [CHANGE]),
    # The replaced secrets are in the folder of backups, and nowhere else.
    "uninstall": ("uninstall", "restore", {}, RESTORE),
    "uninstall-with-data": ("uninstall", "restore", WITH_DATA, [CHANGE]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_reaches_the_first_change(name: str, tmp_path: Path) -> None:
    playbook, unfinished, values, words = CASES[name]
    answers = {"installed": IMAGE, **({"restore": unfinished} if unfinished else {})}
    inventory(tmp_path, {"values": {"answering_otherwise": answers}})
    done = run_playbook(tmp_path, playbook, ["-e", json.dumps(values)] if values else [])
    assert done.code != 0
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert done.changes == []
    assert (CHANGE in done.output) == (CHANGE in words), done.ending()
    assert CHANGE in words or (CONTROL in done.message and len(done.errors) == 1), done.ending()
