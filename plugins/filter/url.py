# SPDX-License-Identifier: MIT
"""Filter url: a URL built from its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from ansible.errors import AnsibleFilterError

PARTS = frozenset({"scheme", "user", "password", "host", "port", "path", "query"})


def _encode(text: object) -> str:
    return quote(str(text), safe="")


def _query(params: Mapping[str, object]) -> str:
    for name, value in params.items():
        # `true`, `True` and `1` differ to the program that reads the URL.
        if isinstance(value, bool):
            raise AnsibleFilterError(f"url: query parameter {name} is a boolean; write the string that is expected")
    return "&".join(f"{_encode(name)}={_encode(value)}" for name, value in params.items() if value is not None)


def url(parts: Mapping[str, object]) -> str:
    """Build scheme://user:password@host:port/path?query from the parts that are there."""
    unknown = sorted(set(parts) - PARTS)
    if unknown:
        raise AnsibleFilterError(f"url: unknown parts {', '.join(unknown)}; known are {', '.join(sorted(PARTS))}")
    given = {name: value for name, value in parts.items() if value is not None and value != ""}
    missing = sorted({"scheme", "host"} - set(given))
    if missing:
        raise AnsibleFilterError(f"url: {' and '.join(missing)} must be given")
    if "password" in given and "user" not in given:
        # redis://:password@host is the one form in use without a user name.
        given["user"] = ""
    query = given.get("query", {})
    if not isinstance(query, Mapping):
        raise AnsibleFilterError("url: query must be a dictionary")

    host = str(given["host"])
    text = f"{given['scheme']}://"
    if "user" in given:
        secret = f":{_encode(given['password'])}" if "password" in given else ""
        text += f"{_encode(given['user'])}{secret}@"
    text += f"[{host}]" if ":" in host else host
    if "port" in given:
        text += f":{given['port']}"
    if "path" in given:
        text += "/" + quote(str(given["path"]).lstrip("/"), safe="/")
    encoded = _query(query)
    return f"{text}?{encoded}" if encoded else text


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"url": url}
