# SPDX-License-Identifier: MIT
"""What calls something too old knows how often it is made."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.prometheus import alerts, metric_names

# Setting of a schedule -> what follows from it. Nothing: no row and no alert judges the age of what it makes.
SCHEDULES = {
    "backup_schedule": "__backup_gap_hours",
    "backup_verify_schedule": "__trigger_backup_test_max_seconds",
    "registry_gc_timer_schedule": "",
    "status_schedule": "__trigger_status_max_seconds",
    "task_images_clean_schedule": "__trigger_clean_max_seconds",
    "task_images_prepull_schedule": "",
}
# Alert -> what its number follows from, where no setting has a say in it.
FIXED = {
    "TriggerHostSilent": "trigger-metrics.timer, and the longest interval of scrapes",
    "TriggerContainerOutOfMemory": "how long an end is worth a message",
}


def test_every_schedule_says_what_follows_from_it(root: Path, files: dict[str, str]) -> None:
    rows = {
        name: row
        for path in root.glob("roles/*/meta/settings.yml")
        for name, row in yaml.safe_load(path.read_text())["settings"].items()
    }
    assert {name for name, row in rows.items() if row.get("format") in ("schedule", "rare_schedule")} == set(SCHEDULES)
    texts = "\n".join(text for name, text in files.items() if name.startswith("roles/") and "/vars/" in name)
    for limit in filter(None, SCHEDULES.values()):
        assert texts.count(limit) > 1, f"{limit} is used by nothing"


def test_alerts_compare_ages_with_what_settings_say() -> None:
    fixed = set()
    for name, alert in alerts().items():
        # What is young enough may be what an alert leaves out.
        compared = re.fullmatch(r"(.*)[<>]=?([^<>]*)", str(alert.rule["expr"]), re.DOTALL)
        if compared and "time() -" in compared[1] and not metric_names(compared[2]):
            fixed.add(name)
    assert fixed == set(FIXED)
