# SPDX-License-Identifier: MIT
"""Whether containers of a host can be, and are, confined by AppArmor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENABLED = Path("/sys/module/apparmor/parameters/enabled")
# Not there in a host that is a container itself: engines load no profiles in one.
PROFILES = Path("/sys/kernel/security/apparmor")


def kernel_has_it(enabled: Path, profiles: Path) -> bool:
    """Ask as engines do, apart from their program: without apparmor_parser they leave it off."""
    try:
        return enabled.read_text().startswith("Y") and profiles.is_dir()
    except OSError:
        return False


def engine_uses_it(info: Mapping[str, Any]) -> bool:
    """Look into what the engine says of itself."""
    return any(str(option).startswith("name=apparmor") for option in info.get("SecurityOptions") or [])
