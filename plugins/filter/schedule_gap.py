# SPDX-License-Identifier: MIT
"""Filter schedule_gap: the longest time between two events of a schedule, on which limits of ages depend."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._calendar_events import longest_gap


def schedule_gap(schedule: object) -> int:
    """Give the seconds. What is no schedule has none: the check of the settings says so."""
    return longest_gap(str(schedule))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"schedule_gap": schedule_gap}
