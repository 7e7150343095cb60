# SPDX-License-Identifier: MIT
"""What Compose would change of a project. The program of the role `monitoring` asks, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

# What Compose would do to something, in a line of its dry run; what it is done with has another word.
STEP = re.compile(
    r'\b(?:Container|Network|Volume) +"?(?:[0-9a-f]{12}_)?(\S+?)"? +'
    r"(?:Creating|Recreate|Starting|Restarting|Stopping|Removing)\b"
)
UNHEALTHY = re.compile(r"^dependency .*failed to start", re.MULTILINE)

NAME = re.compile(r"^name: (\S+)$", re.MULTILINE)


class Ended(Protocol):
    """How a program has ended."""

    @property
    def code(self) -> int: ...

    @property
    def stdout(self) -> str: ...

    @property
    def stderr(self) -> str: ...


def deployed(directory: Path) -> dict[str, Path]:
    """Find the projects that the roles have deployed on this host, by their names."""
    found = {}
    for file in sorted(directory.glob("*/compose.yml")):
        named = NAME.search(file.read_text(encoding="utf-8"))
        if named:
            found[named[1]] = file.parent
    return found


def compose(folder: str) -> list[str]:
    """Begin a command whose output is read. The environment of the host may ask for another one, or for none."""
    return ["docker", "compose", "--ansi", "never", "--progress", "plain", "--project-directory", folder]


def comparison(folder: str) -> list[str]:
    """Let Compose itself compare: the hashes that it prints leave out environment files (2.22 up to 2026)."""
    return [*compose(folder), "--dry-run", "up", "--detach", "--remove-orphans", "--no-build", "--pull", "never"]


def changes(done: Ended) -> list[str] | None:
    """Name what Compose would change, by what it says in that dry run. None: it has not compared."""
    # It has compared everything before it waits for one that others depend on, which is told elsewhere.
    if done.code != 0 and not UNHEALTHY.search(done.stderr):
        return None
    return list(dict.fromkeys(STEP.findall(f"{done.stdout}\n{done.stderr}")))
