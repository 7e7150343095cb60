# SPDX-License-Identifier: MIT
"""Filter postgres_url: one address of Postgres for the two readers that the webapp has."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

from ansible_collections.selfhosted.trigger_dev.plugins.filter.url_fill import url_fill

# node-postgres takes each of these for "the certificate must be valid for the name" (measured with pg 8.15.6).
VERIFIED = ("prefer", "require", "verify-ca", "verify-full")


def postgres_url(url: str, password: str = "", ca_file: str = "") -> str:
    """Complete the address so that Prisma and node-postgres mean the same by its sslmode.

    Prisma knows disable, prefer and require, takes any other word for prefer, and looks at no certificate unless
    sslaccept is strict. It finds the CA in sslcert, node-postgres in sslrootcert. A certificate in sslcert that comes
    without its key is never shown to the server by node-postgres.
    """
    if not url:
        return ""
    mode = parse_qs(urlsplit(url).query).get("sslmode", [""])[-1]
    query: dict[str, object] = {"schema": "public"}
    if mode in VERIFIED:
        url = url.replace(f"sslmode={quote(mode)}", "sslmode=require")
        query["sslaccept"] = "strict"
        if ca_file:
            query |= {"sslcert": ca_file, "sslrootcert": ca_file}
    return url_fill(url, password, query)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"postgres_url": postgres_url}
