# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
import subprocess
from datetime import datetime
from itertools import pairwise

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.schedule_gap import schedule_gap
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._calendar_events import WORDS

from testbed.common import require

HOUR, DAY = 3600, 86400
GAPS = {
    "*:0/15": 900,
    "*:*:0/10": 10,
    "hourly": HOUR,
    "0,7,14,21:00": 7 * HOUR,
    "8..17:00/20": 14 * HOUR + 1200,
    "daily UTC": DAY,
    "Daily": DAY,
    "*-*-* 02:30:00": DAY,
    "Sun *-*-* 04:30:00": 7 * DAY,
    "Mon..Fri 22:30": 3 * DAY,
    "Mon,Thu 3:00": 4 * DAY,
    "Mon-Fri *:0/30": 2 * DAY + 1800,
    "Fri 01,13:15:30": 6 * DAY + 12 * HOUR,
    "*-*-1/2 00:00": 2 * DAY,
    "*-*~03 12:00": 31 * DAY,
    "Mon *-05~07/1": 371 * DAY,
    "monthly": 31 * DAY,
    "quarterly": 92 * DAY,
    "semiannually": 184 * DAY,
    "yearly Europe/Vienna": 366 * DAY,
    "*-1..3-01": 306 * DAY,
    "12:00:30.5": DAY,
    "*:*:0.5/20": 20,
}
KNOWN_WORDS = {
    *("minutely", "hourly", "daily", "weekly", "monthly"),
    *("quarterly", "semiannually", "semi-annually", "annually", "yearly", "biannually"),
}
NEVER_AGAIN = 10227 * DAY


@pytest.mark.parametrize(("schedule", "seconds"), GAPS.items())
def test_the_longest_time_between_two_events_is_known(schedule: str, seconds: int) -> None:
    assert schedule_gap(schedule) == seconds


@pytest.mark.parametrize("schedule", ["2199-01-01", "2026..2199-*-* 01:00"])
def test_what_ends_counts_as_very_long(schedule: str) -> None:
    assert schedule_gap(schedule) == NEVER_AGAIN


@pytest.mark.parametrize("schedule", ["", "sometimes", "25:00", "*-02-30", "2020-01-01", None, 5])
def test_what_is_no_schedule_has_none(schedule: object) -> None:
    assert schedule_gap(schedule) == 0


def test_every_word_of_systemd_is_known() -> None:
    assert set(WORDS) == KNOWN_WORDS


@pytest.mark.parametrize("schedule", [schedule for schedule, gap in GAPS.items() if gap <= 31 * DAY])
def test_systemd_says_the_same(schedule: str) -> None:
    require({"systemd-analyze": "systemd"})
    words = ["systemd-analyze", "calendar", "--base-time=2000-12-31 23:59:59 UTC", "--iterations=1500", schedule]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"})
    found = re.findall(r"(?:elapse|Iter\. #\d+|Iteration #\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", done.stdout)
    times = [datetime.fromisoformat(each) for each in found]
    assert max((after - before).total_seconds() for before, after in pairwise(times)) == GAPS[schedule]
