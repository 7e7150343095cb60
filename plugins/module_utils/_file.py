# SPDX-License-Identifier: MIT
"""Writes files so that a reader, or a machine that loses power, never sees half of one."""

from __future__ import annotations

import os
import tempfile


def write_atomically(path: str, text: str, mode: int, owner: int | None = None, group: int | None = None) -> None:
    """Replace the file as a whole; without numbers the new one belongs to user and group of this process.

    The kernel would give it the group of a folder that is setgid.
    """
    owner = os.geteuid() if owner is None else owner
    group = os.getegid() if group is None else group
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchown(stream.fileno(), owner, group)
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_descriptor)
    finally:
        os.close(folder_descriptor)
