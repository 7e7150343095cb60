# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.clock_check import clock_check


@pytest.mark.parametrize(
    ("ahead", "ok", "detail"),
    [
        (0, True, "differs from the controller's by at most 3.0 s"),
        (4, True, "differs from the controller's by at most 5.0 s"),
        # Certainly as much as is allowed, and not more.
        (8, True, "differs from the controller's by at most 9.0 s"),
        (8.5, False, "at least 5.5 s ahead of the controller's, 5 s are allowed (trigger_clock_skew_max_seconds)"),
        (-4, True, "differs from the controller's by at most 7.0 s"),
        (-6.5, False, "at least 5.5 s behind the controller's, 5 s are allowed (trigger_clock_skew_max_seconds)"),
    ],
)
def test_only_what_the_way_cannot_explain_is_wrong(ahead: float, ok: bool, detail: str) -> None:
    """It was asked at 100 and took one second to begin; it looked for 10 s, and the answer came 3 s later."""
    clock = {"asked_at": 100.0, "began_at": 101.0 + ahead, "ended_at": 111.0 + ahead}
    for allowed in (5, "5"):
        assert clock_check(clock, 114.0, allowed) == {"what": "clock", "ok": ok, "detail": detail}
