# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.modules import backup_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.backup_info import Parameters, look

NOW = 1_764_383_400.0
HOUR = 3600.0


def good(hours: float = 1) -> dict[str, Any]:
    return {
        "time": NOW - hours * HOUR,
        "snapshot": "0123abcd",
        "bytes": 3 * 2**20,
        "bytes_added": 1024,
        "repository": "/r",
        "seconds": 31.4,
        "pause_seconds": 14.1,
        "left_out": {"redis": "Redis is external"},
    }


def failed(hours: float) -> dict[str, Any]:
    return {"time": NOW - hours * HOUR, "error": "no space left"}


def begun(hours: float) -> dict[str, Any]:
    return {"time": NOW - hours * HOUR, "error": ""}


def verified(hours: float) -> dict[str, Any]:
    return {"time": NOW - hours * HOUR, "snapshot": "0123abcd", "seconds": 40.0}


@pytest.mark.parametrize(
    ("found", "expected", "verdicts", "words"),
    [
        ({}, False, [True], "none was made yet"),
        ({}, True, [False], "none was made yet"),  # nor is the program there
        ({"good": good(30)}, True, [True], "30.0 h old, 3.0 MiB, the webapp was stopped for 14.1 s"),
        ({"good": good(31)}, True, [False], "at most 30 h are allowed"),
        ({"good": good(31)}, False, [True], "31.0 h old"),
        ({"good": good(1), "failed": begun(2)}, True, [True], "1.0 h old"),
        ({"good": good(20), "failed": begun(13)}, True, [False], "ended before it was over"),
        ({"good": good(2), "failed": failed(1)}, False, [False], "no space left"),
        ({"failed": failed(1)}, False, [False], "no space left"),
        ({"good": good(), "verified": verified(1)}, True, [True, True], "everything matches"),
        ({"good": good(), "verified": verified(2), "unverified": failed(1)}, True, [True, False], "no space left"),
        ({"good": good(), "verified": verified(2), "unverified": begun(1)}, True, [True, True], "everything matches"),
    ],
)
def test_each_kind_of_result(found: dict[str, Any], expected: bool, verdicts: list[bool], words: str) -> None:
    checks = list(look(found, Parameters("/x", 30, expected), NOW))
    assert [check.ok for check in checks] == verdicts
    assert words in " ".join(check.detail for check in checks)


@pytest.mark.parametrize(
    ("found", "timer_age", "allowed", "verdict", "words"),
    [
        ({}, 400, 0, None, ""),
        ({"verified": verified(400)}, 400, 0, True, "everything matches."),
        ({"verified": verified(47)}, 400, 48, True, "everything matches."),
        ({"verified": verified(400)}, 1, 48, True, "everything matches."),
        ({"verified": verified(49)}, 400, 48, False, "everything matches. At most 2 days are allowed."),
        ({"verified": verified(49), "unverified": begun(1)}, 400, 48, False, "At most 2 days are allowed."),
        ({}, 47, 48, True, "none was made yet"),
        ({}, 49, 48, False, "none was made yet (playbook backup_verify)"),
        ({}, None, 48, False, "none was made yet"),
    ],
)
def test_a_test_is_expected_when_a_timer_makes_some(
    tmp_path: Path, found: dict[str, Any], timer_age: float | None, allowed: int, verdict: bool | None, words: str
) -> None:
    timer = tmp_path / "verify.timer"
    if timer_age is not None:
        timer.touch()
        os.utime(timer, (NOW - timer_age * HOUR,) * 2)
    wanted = Parameters("/x", 30, False, test_age_max_seconds=int(allowed * HOUR), test_timer=str(timer))
    checks = [check for check in look(found, wanted, NOW) if check.what == "test of the backup"]
    assert [check.ok for check in checks] == ([] if verdict is None else [verdict])
    assert words in "".join(check.detail for check in checks)


def pointed(minutes: float) -> dict[str, Any]:
    row = {"time": NOW - minutes * 60, "snapshot": "4567cdef", "bytes": 2**20, "bytes_added": 2048}
    return {**row, "repository": "/r", "seconds": 4.2}


@pytest.mark.parametrize(
    ("found", "minutes", "ok", "words"),
    [
        ({}, 5, True, "the first backup comes before"),
        ({"good": good(2)}, 5, False, "none was saved yet; at most 60 min are allowed"),
        ({"good": good(2), "point": pointed(4)}, 5, True, "4 min old, 2.0 KiB were new"),
        ({"good": good(2), "point": pointed(61)}, 5, False, "at most 60 min are allowed"),
        ({"good": good(2), "point": pointed(61)}, 30, True, "61 min old"),
        ({"good": good(2), "point": pointed(4), "point_failed": begun(0.01)}, 5, True, "4 min old"),
        ({"good": good(2), "point": pointed(4), "point_failed": failed(0.01)}, 5, False, "no space left"),
    ],
)
def test_points_are_judged_where_there_are_any(
    tmp_path: Path, found: dict[str, Any], minutes: int, ok: bool, words: str
) -> None:
    plan = tmp_path / "plan.json"
    for points in (False, True):
        plan.write_text(json.dumps({"points": points}))
        os.utime(plan, (NOW - 2 * HOUR,) * 2)
        checks = [
            each for each in look(found, Parameters(str(tmp_path), 30, False, minutes), NOW) if "point" in each.what
        ]
        assert len(checks) == points
    assert checks[0].ok is ok
    assert words in checks[0].detail


def test_a_point_that_was_tested_is_told(invoke: Any, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"verified": {**verified(1), "point": "4567cdef"}}))
    text = invoke(backup_info.main, path=str(tmp_path))["backup"]["verified"]["text"]
    assert text.startswith("Backup 0123abcd and the point 4567cdef after it were restored in separate containers")


def test_what_was_not_counted_is_told(invoke: Any, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"verified": {**verified(1), "uncounted": ["clickhouse"]}}))
    text = invoke(backup_info.main, path=str(tmp_path))["backup"]["verified"]["text"]
    assert text.endswith("everything matches. Not counted, because written to during the backup: clickhouse.")


def test_a_point_is_told(invoke: Any, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"point": pointed(0)}))
    text = invoke(backup_info.main, path=str(tmp_path))["backup"]["point"]["text"]
    assert (
        text == "Point 4567cdef of 2025-11-29 02:30 UTC: 1.0 MiB, of which 2.0 KiB were new, stored in /r within 4 s."
    )


def test_the_first_backup_has_its_time(tmp_path: Path) -> None:
    program = tmp_path / "trigger-backup"
    program.touch()
    for hours, ok in ((29.9, True), (30.1, False)):
        os.utime(program, (NOW - hours * HOUR,) * 2)
        (check,) = look({}, Parameters(str(tmp_path), 30, True), NOW)
        assert check.ok is ok


def test_a_restore_that_is_not_finished_is_told(tmp_path: Path) -> None:
    (tmp_path / "restore.json").touch()
    first, _ = look({"good": good()}, Parameters(str(tmp_path), 30, False), NOW)
    assert (first.what, first.ok) == ("restore of a backup", False)
    assert "backup_restore again" in first.detail


def test_the_last_backup_is_told(invoke: Any, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"good": good()}))
    text = invoke(backup_info.main, path=str(tmp_path))["backup"]["good"]["text"]
    assert text == (
        "Backup 0123abcd of 2025-11-29 01:30 UTC: 3.0 MiB, of which 1.0 KiB were new, stored in /r within 31 s. "
        "The webapp was stopped for 14.1 s. Not included: redis (Redis is external)."
    )


def test_without_a_backup_there_is_nothing_to_tell(invoke: Any, tmp_path: Path) -> None:
    result = invoke(backup_info.main, check=True, path=str(tmp_path))
    assert (result["backup"], result["changed"]) == ({}, False)


@pytest.mark.parametrize(
    ("file", "what", "cure"),
    [
        ("postgres_upgrade.json", "upgrade of Postgres", "start the playbook postgres_upgrade again"),
        ("object_store_moved.json", "move of objects", "start the playbook object_store_move again"),
    ],
)
@pytest.mark.parametrize(
    ("state", "ok"),
    [
        ('{"done": ["stop", "keep"]}', False),
        ('{"done": ["stop", "keep", "place", "complete"]}', True),
        ('{"done": ["stop", "keep", "place", "complete"], "undoing": true}', False),
    ],
)
def test_what_is_unfinished_is_reported(tmp_path: Path, file: str, what: str, cure: str, state: str, ok: bool) -> None:
    (tmp_path / file).write_text(state)
    found = {check.what: check for check in look({}, Parameters(str(tmp_path), 30, False), 0.0)}
    assert (what not in found) is ok
    if not ok:
        assert cure in found[what].detail
