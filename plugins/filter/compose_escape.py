# SPDX-License-Identifier: MIT
"""Filter compose_escape: protects a structure from the interpolation of Docker Compose."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def compose_escape(value: object) -> object:
    """Double every `$` in every string value; keys stay, because Compose interpolates values only."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: compose_escape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [compose_escape(item) for item in value]
    return value


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"compose_escape": compose_escape}
