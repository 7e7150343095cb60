# SPDX-License-Identifier: MIT
"""Module backup_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
version_added: 0.1.0
short_description: Read what became of the last backups of an installation
description:
  - Runs on the control host. Reads the file in which the program of the role C(backup) keeps its last results.
  - Reports what it finds and does not fail because of it, so that one fault does not hide the others.
options:
  path:
    description: Folder of backups in the folder of the installation.
    type: path
    required: true
  age_max_hours:
    description: Hours after which the last backup is too old, if one is expected.
    type: int
    default: 30
  expected:
    description:
      - Whether a timer makes backups. Without one, a missing or old backup is no fault.
      - With one, the first backup may take as long to come as O(age_max_hours) allows.
    type: bool
    default: false
  test_age_max_seconds:
    description:
      - Seconds after which the last test of a backup is too old; 0 if none is expected.
      - The first test may take as long to come, from the day on which O(test_timer) was written.
    type: int
    default: 0
  test_timer:
    description: File of the timer that tests backups.
    type: path
    default: /etc/systemd/system/trigger-backup-verify.timer
  point_minutes:
    description: Minutes between two points, where the plan of backups has any.
    type: int
    default: 5
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Read what became of the last backups
  selfhosted.trigger_dev.backup_info:
    path: /opt/trigger/backup
    expected: true
"""

RETURN = r"""
backup:
  description: >-
    The last result of each kind. V(good) and V(failed) are of a backup, V(verified) and V(unverified) of its test,
    V(point) and V(point_failed) of a point between two backups. Each has V(time) (Unix seconds) and V(text); a failure
    has V(error). Kinds that never happened are missing.
  returned: success
  type: dict
  sample: {good: {time: 1764383400.0, text: Backup 0123abcd of 2025-11-29 02:30 UTC.}}
checks:
  description: >-
    One entry for the last backup, and one for its test if there was one or one is expected. Where there are points,
    another one for the last of these.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was looked at.
      type: str
      returned: always
      sample: backup
    ok:
      description: Whether the last attempt succeeded, and is young enough where backups are expected.
      type: bool
      returned: always
    detail:
      description: What was found.
      type: str
      returned: always
      sample: 7.2 h old, 120.5 MiB, the webapp was stopped for 14.1 s
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import moment, size

FILE = "status.json"
# There while a restore is not finished.
RESTORE = "restore.json"
# There while what was before an upgrade of Postgres, or before a move of objects, is kept: file -> row and its cure.
KEPT = {
    "postgres_upgrade.json": (
        "upgrade of Postgres",
        "start the playbook postgres_upgrade again, or run {}/trigger-backup postgres-undo",
    ),
    "object_store_moved.json": (
        "move of objects",
        "start the playbook object_store_move again, or run {}/trigger-backup resume",
    ),
}
PROGRAM = "trigger-backup"
TEST_TIMER = "/etc/systemd/system/trigger-backup-verify.timer"
# After that an attempt that says nothing has been killed.
PATIENCE_SECONDS = 12 * 3600
PLAN = "plan.json"
# A backup that takes long delays the next point.
POINT_MINUTES = 60


@dataclass(frozen=True)
class Parameters:
    path: str
    age_max_hours: int
    expected: bool
    point_minutes: int = 5
    test_age_max_seconds: int = 0
    test_timer: str = TEST_TIMER


def read(path: str) -> dict[str, Any]:
    """Read the results; none where no backup was ever made."""
    try:
        with open(os.path.join(path, FILE), encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return found


def text(kind: str, row: Mapping[str, Any]) -> str:
    """Say in a line what became of it."""
    when = moment(row["time"])
    if kind == "good":
        left = "".join(f" Not included: {what} ({why})." for what, why in sorted(row["left_out"].items()))
        amount = f"{size(row['bytes'])}, of which {size(row['bytes_added'])} were new"
        away = f"The webapp was stopped for {row['pause_seconds']} s."
        stored = f"stored in {row['repository']} within {row['seconds']:.0f} s"
        return f"Backup {row['snapshot'][:8]} of {when}: {amount}, {stored}. {away}{left}"
    if kind == "point":
        stored = f"of which {size(row['bytes_added'])} were new, stored in {row['repository']}"
        return f"Point {row['snapshot'][:8]} of {when}: {size(row['bytes'])}, {stored} within {row['seconds']:.0f} s."
    if kind == "verified":
        took = f"within {row['seconds']:.0f} s"
        also = f" and the point {row['point']} after it" if row.get("point") else ""
        what = f"Backup {row['snapshot'][:8]}{also}"
        uncounted = row.get("uncounted", [])
        without = f" Not counted, because written to during the backup: {', '.join(uncounted)}." if uncounted else ""
        done = "were" if also else "was"
        return f"{what} {done} restored in separate containers at {when} {took}: everything matches.{without}"
    if not row["error"]:
        return f"Begun at {when}, and ended before it was over."
    return f"Failed at {when}: {row['error']}"


def under_way(row: Mapping[str, Any], now: float) -> bool:
    """Tell whether an attempt has begun and may go on. A success removes the row."""
    return not row["error"] and now - row["time"] < PATIENCE_SECONDS


def written(path: str) -> float | None:
    """Tell when a file was written; none where there is none."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None


def is_unfinished(path: str) -> bool:
    """Tell whether the new data is not in its place."""
    try:
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
    except FileNotFoundError:
        return False
    return "complete" not in state["done"] or bool(state.get("undoing"))


def look(found: Mapping[str, Any], wanted: Parameters, now: float) -> Iterator[Check]:
    """Judge the last backup, its last test, and a restore that was not finished."""
    if os.path.exists(os.path.join(wanted.path, RESTORE)):
        cure = f"start the playbook backup_restore again, or run {wanted.path}/{PROGRAM} undo"
        yield Check("restore of a backup", False, f"is not finished: {cure}")
    for name, (what, cure) in KEPT.items():
        if is_unfinished(os.path.join(wanted.path, name)):
            yield Check(what, False, f"is not finished: {cure.format(wanted.path)}")
    good, failed = found.get("good"), found.get("failed")
    if failed and not under_way(failed, now):
        yield Check("backup", False, text("failed", failed))
    elif not good:
        since = written(os.path.join(wanted.path, PROGRAM))
        late = wanted.expected and (since is None or now - since > wanted.age_max_hours * 3600)
        yield Check("backup", not late, "none was made yet (playbook backup)")
    else:
        hours = (now - good["time"]) / 3600
        old = wanted.expected and hours > wanted.age_max_hours
        detail = f"{hours:.1f} h old, {size(good['bytes'])}, the webapp was stopped for {good['pause_seconds']} s"
        yield Check("backup", not old, f"{detail}; at most {wanted.age_max_hours} h are allowed" if old else detail)
    yield from look_at_test(found, wanted, now)
    since = points_since(wanted.path)
    if since is not None:
        yield look_at_points(found, wanted, since, now)


def look_at_test(found: Mapping[str, Any], wanted: Parameters, now: float) -> Iterator[Check]:
    """Judge the last test of a backup."""
    verified, unverified = found.get("verified"), found.get("unverified")
    if unverified and not under_way(unverified, now):
        yield Check("test of the backup", False, text("unverified", unverified))
        return
    if not verified and not wanted.test_age_max_seconds:
        return
    known = [each for each in (verified and verified["time"], written(wanted.test_timer)) if each is not None]
    # Nobody has waited for the timer before it was there.
    old = wanted.test_age_max_seconds and now - max(known, default=0) > wanted.test_age_max_seconds
    detail = text("verified", verified) if verified else "none was made yet (playbook backup_verify)"
    allowed = f" At most {wanted.test_age_max_seconds / 86400:.0f} days are allowed." if old and verified else ""
    yield Check("test of the backup", not old, detail + allowed)


def points_since(path: str) -> float | None:
    """Tell when the plan that has points was written; none where there are no points."""
    plan = os.path.join(path, PLAN)
    try:
        with open(plan, encoding="utf-8") as file:
            return os.stat(plan).st_mtime if json.load(file).get("points") else None
    except FileNotFoundError:
        return None


def look_at_points(found: Mapping[str, Any], wanted: Parameters, since: float, now: float) -> Check:
    """Judge the last point."""
    good, failed = found.get("point"), found.get("point_failed")
    if failed and failed["error"]:
        return Check("point between backups", False, text("point_failed", failed))
    if not found.get("good"):
        return Check(
            "point between backups", True, "none was saved yet: the first backup comes before (playbook backup)"
        )
    allowed = max(POINT_MINUTES, 3 * wanted.point_minutes)
    minutes = (now - (good["time"] if good else since)) / 60
    detail = f"{minutes:.0f} min old, {size(good['bytes_added'])} were new" if good else "none was saved yet"
    cure = f"; at most {allowed} min are allowed (systemctl status trigger-backup-point.timer)"
    old = minutes > allowed
    return Check("point between backups", not old, detail + (cure if old else ""))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "age_max_hours": {"type": "int", "default": 30},
            "expected": {"type": "bool", "default": False},
            "test_age_max_seconds": {"type": "int", "default": 0},
            "test_timer": {"type": "path", "default": TEST_TIMER},
            "point_minutes": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    wanted = Parameters(**module.params)
    found = read(wanted.path)
    results = {kind: {**row, "text": text(kind, row)} for kind, row in found.items()}
    checks = [check.row for check in look(found, wanted, time.time())]
    module.exit_json(changed=False, backup=results, checks=checks)


if __name__ == "__main__":
    main()
