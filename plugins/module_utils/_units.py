# SPDX-License-Identifier: MIT
"""The systemd units of this collection on a host."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("/etc/systemd/system")
# Stands in the first line of every file that the roles write.
HEADER = "Ansible managed (selfhosted.trigger_dev)"


def unit_names(folder: Path) -> list[str]:
    """Name the units that the roles have written."""
    return sorted(
        path.name
        for path in folder.glob("trigger-*")
        if path.suffix in (".service", ".timer") and path.is_file() and HEADER in path.read_text(errors="replace")
    )
