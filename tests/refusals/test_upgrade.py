# SPDX-License-Identifier: MIT
"""What an upgrade and its way back refuse, before anything changes, and what they begin with otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.refusals.test_refusals import CHANGE, inventory, run_playbook

OLD, NEW = "v4.2.0", "v4.5.12"
IMAGE = "ghcr.io/triggerdotdev/trigger.dev"
RECORD = {"from": OLD, "to": NEW, "snapshot": "0123abcd", "time": "2026-01-31 12:00 UTC", "state": "begun"}
DISCARD = "upgrade_rollback_discard_enabled"


def record(**values: str) -> dict[str, Any]:
    return {"upgrade": json.dumps(RECORD | values)}


LATER = "v4.8.9"
# What people have to know, and the releases from and to which an upgrade tells it.
NOTES = {
    "Tasks of the old SDK (v3) no longer run": {(OLD, NEW)},
    "No test of this collection has deployed this series": {(NEW, LATER)},
    "deleted after about 37 days": {(NEW, LATER), ("v4.8.8", LATER)},
    'The event store "clickhouse" is gone': {(NEW, LATER)},
}
# Playbook, what the host has, options, words of the message.
CASES: dict[str, tuple[str, dict[str, Any], list[str], list[str]]] = {
    "nothing-to-upgrade": ("upgrade", {}, ["-e", f"trigger_version={NEW}"], ["nothing to upgrade", "playbook site"]),
    "upgrade-to-an-older-version": (
        "upgrade",
        {"installed": f"{IMAGE}:{NEW}"},
        ["-e", f"trigger_version={OLD}"],
        [NEW, OLD, "down migrations"],
    ),
    "upgrade-to-a-floating-tag": (
        "upgrade",
        {"installed": f"{IMAGE}:{OLD}"},
        ["-e", '{"trigger_version": "latest", "trigger_floating_tags_enabled": true}'],
        ["trigger_version is latest", "needs a release"],
    ),
    "upgrade": ("upgrade", {"installed": f"{IMAGE}:{OLD}"}, ["-e", f"trigger_version={NEW}"], [CHANGE]),
    "patch-release": ("upgrade", {"installed": f"{IMAGE}:v4.5.6"}, ["-e", f"trigger_version={NEW}"], [CHANGE]),
    "later-series": (
        "upgrade",
        {"installed": f"{IMAGE}:{NEW}"},
        ["-e", f"trigger_version={LATER}"],
        [CHANGE],
    ),
    "later-release": (
        "upgrade",
        {"installed": f"{IMAGE}:v4.8.8"},
        ["-e", f"trigger_version={LATER}"],
        [CHANGE],
    ),
    "no-way-back": ("rollback", {}, [], ["no upgrade that could be taken back", "backup_restore"]),
    "complete": ("rollback", record(state="complete"), [], [RECORD["time"], DISCARD]),
    "complete-and-discarded": ("rollback", record(state="complete"), ["-e", json.dumps({DISCARD: True})], [CHANGE]),
    "begun": ("rollback", record(), [], [CHANGE]),
    "version-on-the-command-line": (
        "rollback",
        record(),
        ["-e", f"trigger_version={NEW}"],
        ["command line", f"goes back to {OLD}"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_reaches_the_first_change(name: str, tmp_path: Path) -> None:
    playbook, answers, options, words = CASES[name]
    inventory(tmp_path, {"values": {"answering_otherwise": answers}})
    done = run_playbook(tmp_path, playbook, options)
    assert done.code != 0
    assert len(done.errors) == 1, done.ending()
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert done.changes == []
    assert (CHANGE in done.output) == (CHANGE in words)
    if CHANGE in words and playbook == "upgrade":
        release = str(answers["installed"]).rpartition(":")[2]
        wanted = options[-1].rpartition("=")[2]
        assert f"Trigger.dev {release} -> {wanted}" in done.text
        for note, steps in NOTES.items():
            assert (note in done.text) == ((release, wanted) in steps), note
