# SPDX-License-Identifier: MIT
"""Filter clamped_limits."""

from __future__ import annotations

from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.filter.clamped_limits import clamped_limits

SERVICES: dict[str, dict[str, Any]] = {
    "small": {"cpus": 0.5, "memory_mib": 512},
    "equal": {"cpus": 2.0, "memory_mib": 4096},
    "busy": {"cpus": 2.5, "memory_mib": 512},
    "large": {"cpus": "3", "memory_mib": "6144"},
}


def test_only_what_gets_less_is_told() -> None:
    assert clamped_limits(SERVICES, 2, 4096) == [
        "busy: 2 processors instead of 2.5",
        "large: 2 processors instead of 3, 4096 MiB of memory instead of 6144",
    ]


def test_a_large_host_says_nothing() -> None:
    assert clamped_limits(SERVICES, 64, 2**20) == []
