# SPDX-License-Identifier: MIT
"""Times and sizes as people read them, the same in modules and in the program of backups."""

from __future__ import annotations

import time


def moment(seconds: float) -> str:
    """Give a time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def duration(seconds: float) -> str:
    """Give a time in the unit that people read."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(number: float) -> str:
    """Give bytes in the unit that people read."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    step = 0
    while number >= 1024 and step < len(units) - 1:
        number, step = number / 1024, step + 1
    return f"{number:.{1 if step else 0}f} {units[step]}"
