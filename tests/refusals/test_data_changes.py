# SPDX-License-Identifier: MIT
"""A version of the collection that treats data in a new way ends a run once, before anything changes.

There is no such version yet, so the table has a row of the test here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.refusals.test_refusals import CHANGE, CONTROL, ROOT, inventory, run_playbook

VERSION: str = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
ACKNOWLEDGED = "trigger_collection_acknowledged"
ROWS = [
    {"version": "0.0.1", "applies": True, "change": "Rows are sorted."},
    {
        "version": VERSION,
        "applies": "{{ __webapp_installed.stdout is search('old') }}",
        "change": "Queues are emptied.",
    },
]
REFUSED = [CONTROL, "Rows are sorted. Queues are emptied.", "playbook backup", f"{ACKNOWLEDGED} to {VERSION}."]
OLD, NEW = {"installed": "data of old"}, {"installed": "data of new"}
# What the host has, what is acknowledged, words of the message.
CASES: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "old-data": (OLD, "", REFUSED),
    "only-an-earlier-change-is-acknowledged": (OLD, "0.0.1", [CONTROL, "way: Queues are emptied.", f"to {VERSION}."]),
    "acknowledged": (OLD, VERSION, [CHANGE]),
    "new-data": (NEW, "0.0.1", [CHANGE]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_ends_until_it_is_acknowledged(name: str, tmp_path: Path) -> None:
    answers, acknowledged, words = CASES[name]
    inventory(tmp_path, {"values": {"answering_otherwise": answers}})
    values: dict[str, Any] = {"__webapp_data_changes": ROWS, ACKNOWLEDGED: acknowledged}
    done = run_playbook(tmp_path, "site", ["-e", json.dumps(values)])
    assert done.code != 0
    assert len(done.errors) == 1, done.ending()
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert done.changes == []
    assert (CHANGE in done.output) == (CHANGE in words), done.ending()


def test_each_row_says_what_the_check_needs() -> None:
    rows = yaml.safe_load((ROOT / "roles/webapp/vars/main/data_changes.yml").read_text())["__webapp_data_changes"]
    versions = [[int(part) for part in str(row["version"]).split(".")] for row in [*rows, {"version": VERSION}]]
    assert versions == sorted(versions), "in the order of their versions, and none is later than the collection"
    for row in rows:
        assert set(row) == {"version", "applies", "change"}
        assert row["change"].endswith(".")
