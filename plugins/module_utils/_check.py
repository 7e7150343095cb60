# SPDX-License-Identifier: MIT
"""What playbooks/status.yml tells: one row for everything that was looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    what: str
    ok: bool
    detail: str


def size(number: float) -> str:
    """Give bytes in the unit that people read."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    step = 0
    while number >= 1024 and step < len(units) - 1:
        number, step = number / 1024, step + 1
    return f"{number:.{1 if step else 0}f} {units[step]}"
