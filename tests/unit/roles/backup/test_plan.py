# SPDX-License-Identifier: MIT
"""Files that cannot be read, and what is advised then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from trigger_backup import adopt, move, restore, upgrade
from trigger_backup.adopt_source import source_of
from trigger_backup.create import results
from trigger_backup.engine import Engine
from trigger_backup.journal import Journal
from trigger_backup.plan import plan_of, secrets_of, target_of
from trigger_backup.process import BackupError, Shell

from testbed.common import ROOT

READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "secrets.json": (secrets_of, "Do not remove it. It has the only encryption key"),
    restore.STATE: (lambda path: Journal(path, lambda _: None).state, "Do not remove it: only it knows the way back"),
    upgrade.UPGRADE: (lambda path: upgrade.require_finished(path.parent), "Do not remove it: only it knows"),
    move.STATE: (lambda path: move.accept(path.parent, Engine(Shell()), "x"), "Do not remove it: only it knows"),
    adopt.ADOPTION: (lambda path: Journal(path, lambda _: None).state, "Do not remove it: only it knows the way back"),
    "plan.json": (plan_of, "Remove it; the playbook backup writes it again"),
    "status.json": (lambda path: results(path.parent), "Remove it; the playbook backup writes it again"),
    "adopt_source.json": (source_of, "Remove it; the playbook adopt writes it again"),
    move.TOLD: (move.told_of, "Remove it; the playbook object_store_move writes it again"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_told_with_what_to_do(tmp_path: Path, name: str) -> None:
    """Without the secrets the data is lost, and without a journal what was set aside."""
    read, advice = READERS[name]
    path = tmp_path / name
    path.write_text('{"half')
    with pytest.raises(BackupError, match=rf"{path} is damaged\. {advice}"):
        read(path)


@pytest.mark.parametrize(
    ("read", "advice"),
    [
        (secrets_of, r"secrets\.json is missing\. .*restore it from a backup or from your vault"),
        (lambda path: target_of(path.parent), r"repository\.json is missing\. The playbook backup writes it"),
    ],
)
def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path, read: Callable[[Path], Any], advice: str) -> None:
    with pytest.raises(BackupError, match=advice):
        read(tmp_path / "secrets.json")


@pytest.mark.parametrize(("name", "kind"), [("create", "failed"), ("verify", "unverified")])
@pytest.mark.parametrize(
    ("row", "words"), [({"error": "No room."}, "No room."), ({"error": ""}, "it was ended."), ({}, "it was ended.")]
)
def test_a_program_that_was_killed_has_a_cause_in_the_message(
    name: str, kind: str, row: dict[str, str], words: str
) -> None:
    """It says nothing then, and its last note has no error."""
    tasks = yaml.safe_load((ROOT / f"roles/backup/tasks/{name}.yml").read_text())
    (text,) = (task["ansible.builtin.assert"]["fail_msg"] for task in tasks if "ansible.builtin.assert" in task)
    said = jinja2.Template(text).render(inventory_hostname="h", __backup_result={kind: row})
    assert f": {words} " in said
