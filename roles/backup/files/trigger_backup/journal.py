# SPDX-License-Identifier: MIT
"""What was done of something that takes several steps, so that another call goes on after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .plan import JOURNAL, read_json, write_json
from .process import Say

# The last step.
COMPLETE = "complete"


class Journal:
    """Keeps in a file which steps are done, and facts that later ones need. Without the file nothing was begun."""

    def __init__(self, path: Path, say: Say) -> None:
        self.path = path
        self.say = say

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.path, JOURNAL) if self.path.exists() else {}
        return found

    @property
    def done(self) -> list[str]:
        steps: list[str] = self.state.get("done", [])
        return steps

    def keep(self, **facts: Any) -> None:
        write_json(self.path, {**self.state, **facts})

    def step(self, name: str, text: str, action: Callable[[], object]) -> None:
        """Take a step, unless it is done."""
        if name not in self.done:
            self.say(text)
            action()
            self.keep(done=[*self.done, name])

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
