# SPDX-License-Identifier: MIT
"""An engine whose volumes are folders of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trigger_backup.engine import Engine
from trigger_backup.process import Shell


class FolderEngine(Engine):
    def __init__(self, root: Path, shell: Shell) -> None:
        super().__init__(shell)
        self.root_folder = root
        # Volume -> the labels that it was made with.
        self.labels: dict[str, list[str]] = {}

    def root(self) -> Path:
        return self.root_folder

    def volume(self, name: str) -> Path | None:
        path = self.root_folder / name
        return path if path.is_dir() else None

    def make_volume(self, name: str, labels: Any = ()) -> Path:
        self.labels[name] = list(labels)
        (self.root_folder / name).mkdir(exist_ok=True)
        return self.root_folder / name

    def remove_volume(self, name: str) -> None:
        path = self.root_folder / name
        for file in path.iterdir() if path.is_dir() else []:
            file.unlink()
        if path.is_dir():
            path.rmdir()
