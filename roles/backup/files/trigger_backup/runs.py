# SPDX-License-Identifier: MIT
"""A run of a playbook that changes the installation, which a timer waits for: both stop and start the webapp."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

# A playbook that starts a command within its own run writes asked.COMMAND before; so nobody waits for himself. Each has
# its own: another one that waits must not take it away.
ASKED = "asked."
# A run touches its lock each 20 s. Without that it has died (plugins/action/run_lock.py).
STALE_SECONDS = 120
LOOK_SECONDS = 5


def running(lock: Path) -> str:
    """Tell which playbook holds the lock; empty if none does."""
    try:
        holder, _, told = lock.read_text(encoding="utf-8").partition("\n")
        age = time.time() - lock.stat().st_mtime
    except OSError:
        return ""
    if not holder or age >= STALE_SECONDS:
        return ""
    try:
        return str(json.loads(told)["playbook"])
    except (ValueError, KeyError, TypeError):
        return "a playbook"


def wait_for_run(lock: Path, folder: Path, command: str, say: Callable[[str], None]) -> None:
    """Return when no run changes the installation, or when one has asked for this command.

    `folder`: that of backups. `say` is told once, with the name of the playbook.
    """
    asked = folder / f"{ASKED}{command}"
    told = False
    while not asked.exists() and (playbook := running(lock)):
        if not told:
            say(f"Waiting for the end of {playbook}, which changes the installation")
        told = True
        time.sleep(LOOK_SECONDS)
    asked.unlink(missing_ok=True)
