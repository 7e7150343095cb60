# SPDX-License-Identifier: MIT
"""One HTTP request to an external service: no redirects, no proxy of the environment."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    Endpoint,
    ServiceError,
    context,
    reason,
)


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of a service."""

    endpoint: Endpoint
    tls: bool
    # As it stands in the header `Host`.
    authority: str


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def origin(what: str, url: str, ca: str, plain_port: int, tls_port: int) -> Origin:
    """Read scheme://host:port; whatever else is in the URL is not looked at."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ServiceError(f"The URL of {what} cannot be read: its port is not a number") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServiceError(f"The URL of {what} must be http(s)://host:port")
    tls = parts.scheme == "https"
    return Origin(
        Endpoint(parts.hostname, port or (tls_port if tls else plain_port), ca), tls, parts.netloc.rpartition("@")[2]
    )


def request(
    what: str, place: Origin, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
) -> Answer:
    end = place.endpoint
    connection = (
        http.client.HTTPSConnection(end.host, end.port, timeout=end.timeout, context=context(end))
        if place.tls
        else http.client.HTTPConnection(end.host, end.port, timeout=end.timeout)
    )
    try:
        with closing(connection):
            connection.request(method, target, body, dict(headers))
            reply = connection.getresponse()
            return Answer(reply.status, {name.lower(): text for name, text in reply.getheaders()}, reply.read())
    except http.client.HTTPException:
        raise ServiceError(f"{what} at {end.address} does not speak HTTP") from None
    except OSError as error:
        raise ServiceError(f"{what} at {end.address}: {reason(error, end.timeout)}") from None
