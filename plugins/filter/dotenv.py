# SPDX-License-Identifier: MIT
"""Filter dotenv: a dictionary as the text of an env_file for Docker Compose."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from ansible.errors import AnsibleFilterError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Compose ends a double-quoted value at an unescaped quote, expands backslash escapes and then interpolates `$`;
# everything else (spaces, `#`, single quotes, control characters, any Unicode) it takes as it stands.
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "$": "$$", "\n": r"\n", "\r": r"\r"})


def _text(name: str, value: object, where: str) -> str:
    if isinstance(value, str) or getattr(value, "__ENCRYPTED__", False):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # `1`, `true` and `True` mean different things to different variables, so nothing is guessed here.
    raise AnsibleFilterError(
        f"{where}: {name} is a value of type {type(value).__name__}; "
        "write it as the very string that the program expects (for example '1' or 'true')"
    )


def _line(name: object, value: object, allow_empty: Collection[str], where: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise AnsibleFilterError(f"{where}: {name!r} is not the name of an environment variable")
    text = _text(name, value, where)
    if text == "" and name not in allow_empty:
        raise AnsibleFilterError(
            f"{where}: {name} is empty; leave it out (null), or name it in allow_empty if the program wants it empty"
        )
    if "\0" in text:
        raise AnsibleFilterError(f"{where}: {name} holds a NUL character, which no environment variable can")
    return f'{name}="{text.translate(ESCAPES)}"'


def dotenv(
    values: Mapping[str, object], header: str = "", allow_empty: Collection[str] = (), where: str = "dotenv"
) -> str:
    """Render the values that are not null, in their order, one NAME="value" per line. Errors begin with where."""
    if not isinstance(values, Mapping):
        raise AnsibleFilterError(f"{where}: wants a dictionary, not a value of type {type(values).__name__}")
    comments = [line if line.startswith("#") else f"# {line}".rstrip() for line in header.splitlines()]
    lines = [_line(name, value, allow_empty, where) for name, value in values.items() if value is not None]
    return "".join(f"{line}\n" for line in comments + lines)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"dotenv": dotenv}
