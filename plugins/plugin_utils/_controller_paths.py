# SPDX-License-Identifier: MIT
"""Paths on the controller that a playbook writes, often after everything else: whether it will be able to."""

from __future__ import annotations

import os
from pathlib import Path


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0))


def _folder(path: Path, text: str) -> str | None:
    if not path.is_dir():
        return f"{text} on the controller cannot be written: {path} is no folder"
    return None if _is_writable(path) else f"{text} on the controller cannot be written: {path} is closed to you"


def file_to_write(text: str) -> str | None:
    """Say why the file cannot be written. Its folder has to be there."""
    path = Path(text).expanduser().absolute()
    if path.is_dir():
        return f"{text} on the controller is a folder, and has to be a file"
    if path.exists():
        return None if _is_writable(path) else f"{text} on the controller cannot be written: it is closed to you"
    if not path.parent.exists():
        return f"{text} on the controller cannot be written: there is no folder {path.parent}"
    return _folder(path.parent, text)


def folder_to_write(text: str) -> str | None:
    """Say why the folder cannot be made or written. Those above it are made with it."""
    path = Path(text).expanduser().absolute()
    return _folder(next(each for each in (path, *path.parents) if os.path.lexists(each)), text)
