# SPDX-License-Identifier: MIT
"""Filter percent_encode: a string as one component of a URL."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote


def percent_encode(text: str) -> str:
    """Encode everything but the unreserved characters of RFC 3986, so that no component can end too early."""
    return quote(text, safe="")


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"percent_encode": percent_encode}
