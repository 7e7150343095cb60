# SPDX-License-Identifier: MIT
"""Keeps what a node's Python compiles of the modules that Ansible sends, for the next task that sends the same.

They come as sources in an archive, which Python never keeps: a third of what a task computes on its host (measured).
This replaces a private part of Python, so it is done only on nodes that were started with SHORTCUTS (../preloaded.py).
"""

from __future__ import annotations

import marshal
import os
import zipimport
import zlib
from types import CodeType

FOLDER = "/run/compiled-modules"
# Written by node-start.
SWITCH = "/etc/compiled-modules"

_compile = zipimport._compile_source  # type: ignore[attr-defined]


def compile_once(path: str, source: bytes) -> CodeType:
    """Compile a file of an archive, or take what is kept of the same file with the same text."""
    name = path.partition(".zip/")[2].replace("/", ".")
    kept = f"{FOLDER}/{name}-{len(source)}-{zlib.crc32(source)}"
    try:
        with open(kept, "rb") as file:
            return marshal.load(file)  # type: ignore[no-any-return]
    except OSError:
        pass
    code: CodeType = _compile(path, source)
    # Only root keeps: what others could write would be run by root.
    if os.geteuid() == 0:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        scratch = f"{kept}.{os.getpid()}"
        with open(scratch, "wb") as file:
            marshal.dump(code, file)
        os.replace(scratch, kept)
    return code


if os.path.exists(SWITCH):
    zipimport._compile_source = compile_once  # type: ignore[attr-defined]
