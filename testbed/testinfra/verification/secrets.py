# SPDX-License-Identifier: MIT
"""Finds secrets in texts, in every form in which they could stand there, and never shows one itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus


class Secrets(Mapping[str, str]):
    """Secrets by name; pytest shows the arguments of a failing test, and this shows names only."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Secrets {', '.join(self._values)}>"

    def and_also(self, **values: str) -> Secrets:
        """Give these and more."""
        return Secrets({**self._values, **values})


def forms(value: str) -> set[str]:
    """Give every form of a secret: plain, in a URL, in JSON or YAML, in a Compose file, in base64 at any offset."""
    plain = {value, quote(value, safe=""), quote(value), quote_plus(value), value.replace("$", "$$")}
    quoted = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in plain for ascii_only in (True, False)}
    quoted |= {value.replace("'", "''")}
    encoded = set()
    for shift in range(3):
        # Three bytes make four characters; those that depend on what stands before or behind are cut off.
        text = base64.b64encode(b"\0" * shift + value.encode()).decode().rstrip("=")
        encoded.add(text[4 if shift else 0 : len(text) - (len(text) % 4)])
    return {form for form in plain | quoted | encoded if form}


def leaks(text: str, secrets: Mapping[str, str]) -> set[str]:
    """Name the secrets that a text holds."""
    return {name for name, value in secrets.items() if any(form in text for form in forms(value))}


def published(text: str, defaults: Iterable[str]) -> list[int]:
    """Give the positions of the published defaults that a text holds."""
    return [number for number, value in enumerate(defaults) if value in text]
