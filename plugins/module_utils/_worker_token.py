# SPDX-License-Identifier: MIT
"""Tokens of worker groups: how the webapp makes them, and the files that hold them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import string
from dataclasses import dataclass

PREFIX = "tr_wgt_"
CHARACTERS = string.digits + string.ascii_letters
LENGTH = 40
FORM = re.compile(f"{PREFIX}[0-9A-Za-z]{{{LENGTH}}}")
MODE = 0o600
LONGEST_FILE = 4096
NOT_A_FILE = "not a regular file, but a token is expected there. Move it away and run this again"


@dataclass(frozen=True)
class Token:
    text: str

    @property
    def sha256(self) -> str:
        """What the database keeps of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def new_token() -> Token:
    return Token(PREFIX + "".join(secrets.choice(CHARACTERS) for _ in range(LENGTH)))


def parse(content: str) -> Token | None:
    """Give the token that a file holds, if it has the form of one."""
    text = content.strip()
    return Token(text) if FORM.fullmatch(text) else None


def read_file(path: str) -> str | None:
    """Read the file without following a link: its folder may belong to the webapp's user, not to root."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    # Not before it is known to be a file: of a folder no stream can be made, and the error would name a number.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, NOT_A_FILE, path)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(LONGEST_FILE).decode("utf-8", errors="replace")
