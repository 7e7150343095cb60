# SPDX-License-Identifier: MIT
"""ClickHouse over HTTP. Credentials come from the address and from nowhere else."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit


class ClickHouseError(Exception):
    pass


@dataclass(frozen=True)
class Address:
    base: str
    user: str
    password: str
    parameters: tuple[tuple[str, str], ...]


def address(url: str) -> Address:
    """The address without `secure`, which belongs to the migration tool and not to the server."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (8443 if parts.scheme == "https" else 8123)
    return Address(
        f"{parts.scheme}://{host}:{port}/",
        unquote(parts.username or "default"),
        unquote(parts.password or ""),
        tuple(pair for pair in parse_qsl(parts.query) if pair[0] != "secure"),
    )


def query(url: str, statement: str, data: bytes = b"", timeout: float = 30) -> str:
    place = address(url)
    body = statement.encode() + (b"\n" + data if data else b"")
    target = place.base + ("?" + urlencode(place.parameters, quote_via=quote) if place.parameters else "")
    request = urllib.request.Request(
        target,
        data=body,
        headers={"X-ClickHouse-User": place.user, "X-ClickHouse-Key": place.password, "Content-Type": "text/plain"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as failure:
        raise ClickHouseError(failure.read().decode(errors="replace").strip()) from failure
    except OSError as failure:
        raise ClickHouseError(str(failure)) from failure
    return text
