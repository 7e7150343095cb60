# SPDX-License-Identifier: MIT
"""A copy of the roles and documents in which a test adds a row, so that it sees what follows from it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.common import ROOT
from tools.settings import generated


@dataclass(frozen=True)
class Copy:
    """The copy; only `add` stands for a change by hand."""

    root: Path

    def add(self, path: str, text: str, before: str = "") -> None:
        """Add text to one file: before a text that stands there once, or at its end."""
        old = (self.root / path).read_text()
        assert not before or old.count(before) == 1, f"{path} holds this not once: {before}"
        new = old.replace(before, text + before) if before else old + text
        (self.root / path).write_text(new)

    def generate(self) -> set[str]:
        """Do what `make generate` does, and name the files that it has changed."""
        changed = {path: text for path, text in generated(self.root).items() if path.read_text() != text}
        for path, text in changed.items():
            path.write_text(text)
        return {str(path.relative_to(self.root)) for path in changed}

    def read(self, path: str) -> Any:
        """Read a file of YAML."""
        return yaml.safe_load((self.root / path).read_text())

    def text(self, path: str) -> str:
        """Read a file."""
        return (self.root / path).read_text()


def copy(folder: Path) -> Copy:
    """Copy what `make generate` reads and writes into a folder."""
    for name in ("roles", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    return Copy(folder)
