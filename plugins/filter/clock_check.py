# SPDX-License-Identifier: MIT
"""Filter clock_check: whether a host's clock is that of the controller, as a check of the status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.filter.host_problems import skew


def clock_check(clock: Mapping[str, float], now: float, skew_max_seconds: float | str) -> dict[str, Any]:
    """Give the row. The answer took a while, so two bounds are known: it is wrong if the least is too much."""
    allowed = float(skew_max_seconds)  # a value of -e is text
    least = skew(clock, now)
    if abs(least) > allowed:
        side = "ahead of" if least > 0 else "behind"
        detail = f"at least {abs(least):.1f} s {side} the controller's, {allowed:g} s are allowed"
        return {"what": "clock", "ok": False, "detail": f"{detail} (trigger_clock_skew_max_seconds)"}
    most = max(now - clock["ended_at"], clock["began_at"] - clock["asked_at"])
    return {"what": "clock", "ok": True, "detail": f"differs from the controller's by at most {most:.1f} s"}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"clock_check": clock_check}
