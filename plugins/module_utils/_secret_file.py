# SPDX-License-Identifier: MIT
"""Reads the file of secrets; what secret_file and secret_file_info have in common."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

LOST = (
    "Restore it from a backup. Without one, the current secrets are still in the env files of the services "
    "(webapp/*.env beside it: ENCRYPTION_KEY, SESSION_SECRET, MAGIC_LINK_SECRET, MANAGED_WORKER_SECRET and the "
    "passwords): set them in trigger_secrets and move this file away. It is left as it is, because new secrets would "
    "make the data unreadable"
)


class SecretFileError(Exception):
    """Something that the user must set right. Its text never holds a secret."""


def hexadecimal(number: int) -> str:
    """Generate a secret of so many hexadecimal digits."""
    return secrets.token_hex(number // 2)


@dataclass(frozen=True)
class Stored:
    """The file as it is on the host."""

    exists: bool = False
    mode: int = 0
    owner: int = 0
    group: int = 0
    secrets: Mapping[str, str] = field(default_factory=dict)


def parse(text: str, path: str) -> dict[str, str]:
    """Read a flat JSON object of strings. Anything else is refused: it may be the only copy of the secrets."""
    advice = "repair it or restore it from a backup (it is left as it is, because the data depends on its secrets)"
    try:
        content = json.loads(text)
    except ValueError as error:
        if not text.rstrip().endswith("}"):
            how = "ends in the middle" if text.strip() else "is empty"
            raise SecretFileError(f"{path} {how}. {LOST}") from None
        where = f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "text"
        raise SecretFileError(f"{path} is not JSON ({where}); {advice}") from None
    if not isinstance(content, dict):
        raise SecretFileError(f"{path} does not hold a JSON object; {advice}")
    broken = sorted(name for name, value in content.items() if not isinstance(value, str) or value == "")
    if broken:
        raise SecretFileError(f"{path}: the value of {', '.join(broken)} is not a string or is empty; {advice}")
    return content


def read(path: str) -> Stored:
    """Read the file, if there is one."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return Stored()
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"{path} is not a regular file")
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except UnicodeDecodeError:
        raise SecretFileError(f"{path} is not UTF-8 text; repair it or restore it from a backup") from None
    return Stored(True, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, parse(text, path))
