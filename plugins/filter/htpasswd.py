# SPDX-License-Identifier: MIT
"""Filter htpasswd: the users of a registry as the text of an htpasswd file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import FORMATS, is_line

# bcrypt reads no more; a longer password would be accepted with any ending.
MAXIMUM_BYTES = 72
# Shorter ones are found by trying, as those of trigger_secrets.
MINIMUM_CHARACTERS = 8


class Hasher(Protocol):
    def hash(self, password: str) -> str: ...

    def verify(self, password: str, encoded: str) -> bool: ...


def bcrypt(cost: int) -> Hasher:
    """Give passlib's bcrypt, proved to work: passlib 1.7.4 and bcrypt 5 import well together and fail on first use."""
    try:
        from passlib.hash import bcrypt as handler

        logging.getLogger("passlib").setLevel(logging.ERROR)
        trial = handler.using(rounds=4, ident="2y")
        working = trial.verify("trial", trial.hash("trial"))
    except Exception as error:
        raise AnsibleFilterError(
            f"htpasswd: passlib and bcrypt are missing on the controller or do not fit together "
            f"({type(error).__name__}: {error}); install the versions of requirements.txt"
        ) from error
    if not working:
        raise AnsibleFilterError("htpasswd: bcrypt on the controller does not verify its own hash")
    hasher: Hasher = handler.using(rounds=cost, ident="2y")
    return hasher


def parse(text: str) -> dict[str, str]:
    """Read name and hash of each line; lines that are no bcrypt entry are nothing that could be kept."""
    pairs = (line.strip().split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: encoded for name, encoded in pairs if encoded.startswith(("$2a$", "$2b$", "$2y$"))}


def fault(name: object, password: object) -> str:
    """Say what a user cannot have; empty if there is nothing. Never with the password."""
    # A line that begins with # is a comment to the registry. Caddy gets names between backquotes, and replaces braces.
    if (
        not isinstance(name, str)
        or not name
        or ":" in name
        or not name.isprintable()
        or name != name.strip()
        or name.startswith("#")
        or any(letter in name for letter in "`{}")
    ):
        needed = "not empty, no colon, backquote or brace, no blanks around it, no # in front"
        return f"{name!r} cannot be a user name ({needed})"
    if not isinstance(password, str) or not password:
        return f"the password of {name} must be a string that is not empty"
    if len(password) < MINIMUM_CHARACTERS:
        return f"the password of {name} must have at least {MINIMUM_CHARACTERS} characters"
    if len(password.encode()) > MAXIMUM_BYTES:
        return f"the password of {name} exceeds {MAXIMUM_BYTES} bytes, all that bcrypt reads"
    if "\0" in password:
        return f"the password of {name} holds a NUL character, where bcrypt would end it"
    return "" if is_line(password) else f"the password of {name} must be {FORMATS['line'].words}"


def _check(name: object, password: object) -> tuple[str, str]:
    if getattr(password, "__ENCRYPTED__", False):
        password = str(password)
    if found := fault(name, password):
        raise AnsibleFilterError(f"htpasswd: {found}")
    return str(name), str(password)


def render(users: Iterable[tuple[str, str]], existing: Mapping[str, str], hasher: Hasher) -> str:
    """Write one line per user; a hash that still fits its password stays, so that a second run changes nothing."""

    def encoded(name: str, password: str) -> str:
        old = existing.get(name)
        return old if old is not None and _verifies(hasher, password, old) else hasher.hash(password)

    return "".join(f"{name}:{encoded(name, password)}\n" for name, password in users)


def _verifies(hasher: Hasher, password: str, encoded: str) -> bool:
    try:
        return hasher.verify(password, encoded)
    except ValueError:  # a damaged hash is replaced like one that does not fit
        return False


def htpasswd(users: Iterable[Mapping[str, object]], existing: str = "", cost: int = 10) -> str:
    """Check the users, then write the file."""
    pairs = [_check(user.get("name"), user.get("password")) for user in users]
    names = [name for name, _password in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AnsibleFilterError(f"htpasswd: given more than once: {', '.join(twice)}")
    return render(pairs, parse(existing), bcrypt(cost))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"htpasswd": htpasswd}
