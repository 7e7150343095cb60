# SPDX-License-Identifier: MIT
"""Where progress goes: lines with the time since the run began, and on a terminal one more that is rewritten."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import clock

# The live line stands below the cursor, so that what others print does not run into it.
_DRAW = "\n\x1b[K{text}\x1b[1A\r"
_ERASE = "\x1b[J"


def on_terminal() -> bool:
    """Tell whether the output can be rewritten."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """Prints lines by Ansible's display, which keeps its log file, too."""

    def __init__(self, display: Any) -> None:
        self.display = display
        self.began = self.printed = time.monotonic()
        self.lock = threading.RLock()
        self.live = False
        self._drawn = False
        self._ended = threading.Event()

    def line(self, text: str, *, depth: int = 0, color: str | None = None, stderr: bool = False) -> None:
        """Print a line with the time."""
        self.text(f"{self.stamp()}{'  ' * depth}{text}", color=color, stderr=stderr)

    def text(self, text: str, *, color: str | None = None, stderr: bool = False) -> None:
        """Print a text as it is, at once: what goes to a file or a pipe would else come minutes later."""
        with self.lock:
            self.erase()
            self.display.display(text, color=color, stderr=stderr)
            sys.stdout.flush()
            self.printed = time.monotonic()

    def stamp(self) -> str:
        """Give the time since the run began."""
        return f"{clock(time.monotonic() - self.began):>7}  "

    def draw(self, text: str) -> None:
        """Rewrite the live line."""
        with self.lock:
            columns = shutil.get_terminal_size().columns
            self.erase()
            # Ansible writes and forks with one lock, which holds for these two, too.
            sys.stdout.write(_DRAW.format(text=f"{self.stamp()}{text}"[: columns - 1]))
            sys.stdout.flush()
            self._drawn = True

    def erase(self) -> None:
        """Take the live line away before something else is printed."""
        with self.lock:
            if self._drawn:
                sys.stdout.write(_ERASE)
                sys.stdout.flush()
                self._drawn = False

    def watch(self, look: Callable[[], None], seconds: float) -> None:
        """Look now and then what is going on: Ansible calls nobody while a task runs."""

        def repeat() -> None:
            while not self._ended.wait(seconds):
                look()

        threading.Thread(target=repeat, daemon=True, name="progress").start()

    def end(self) -> None:
        """Print nothing by itself any more."""
        self._ended.set()
        with self.lock:
            self.erase()
            self.live = False
