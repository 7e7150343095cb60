# SPDX-License-Identifier: MIT
"""Filter clamped_limits: which services get less than configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def clamped_limits(services: Mapping[str, Mapping[str, Any]], cpus: float, memory_mib: int) -> list[str]:
    """Give a line for each service whose limits are more than the host has."""
    lines = []
    for name, row in services.items():
        parts = []
        if float(row["cpus"]) > cpus:
            parts.append(f"{cpus:g} processors instead of {float(row['cpus']):g}")
        if int(row["memory_mib"]) > memory_mib:
            parts.append(f"{memory_mib} MiB of memory instead of {row['memory_mib']}")
        if parts:
            lines.append(f"{name}: {', '.join(parts)}")
    return lines


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"clamped_limits": clamped_limits}
