# SPDX-License-Identifier: MIT
"""Filter checked_groups: what the play about an inventory is played for, which is some host in any case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence


def checked_groups(groups: Mapping[str, Sequence[str]], ours: Iterable[str], is_limited: bool = False) -> list[str]:
    """Give our groups with hosts. Where these may be none of the run, all hosts follow, or the controller."""
    found = [name for name in ours if groups.get(name)]
    if found and not is_limited:
        return found
    return [*found, "all" if groups.get("all") else "localhost"]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"checked_groups": checked_groups}
