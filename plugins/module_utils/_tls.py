# SPDX-License-Identifier: MIT
"""Connects to a TLS server as a client does, and says in the operator's words why it cannot."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    TIMEOUTS,
    Endpoint,
    ServiceError,
    context,
)

SHORT = {"countryName": "C", "organizationName": "O", "organizationalUnitName": "OU", "commonName": "CN"}

# Numbers of OpenSSL (X509_V_ERR_...).
UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
NOT_YET_VALID = 9
EXPIRED = 10
OTHER_NAME = (62, 64)
# What OpenSSL calls an answer that is none of TLS; it depends on the first bytes and on the release.
NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE",
)
# How a connection shows that was closed in the handshake; which of them it is depends on what comes first.
CLOSED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)


@dataclass(frozen=True)
class Target:
    endpoint: Endpoint
    # Name or address to connect to.
    target: str


@dataclass(frozen=True)
class Found:
    version: str
    names: list[str]
    issuer: str
    not_after: str
    serial: str


def trusted(endpoint: Endpoint) -> ssl.SSLContext:
    found = context(endpoint)
    # Python 3.13 began to accept an intermediate certificate for a CA, which other clients do not.
    found.verify_flags &= ~getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    # A name outside the list of names does not count for Docker and browsers.
    found.hostname_checks_common_name = False
    return found


@contextmanager
def handshake(wanted: Target, trust: ssl.SSLContext, seconds: float) -> Iterator[ssl.SSLSocket]:
    """Connect, and give the connection once the certificate is accepted."""
    with closing(socket.create_connection((wanted.target, wanted.endpoint.port), seconds)) as stream:
        try:
            secured = trust.wrap_socket(stream, server_hostname=wanted.endpoint.host)
        except TIMEOUTS:
            raise ServiceError("it takes the connection but no TLS; does it speak TLS on this port?") from None
        with secured:
            yield secured


def found(secured: ssl.SSLSocket) -> Found:
    certificate: Mapping[str, Any] = secured.getpeercert() or {}
    issuer = ((SHORT.get(key, key), value) for part in certificate["issuer"] for key, value in part)
    return Found(
        secured.version() or "",
        [value for _, value in certificate.get("subjectAltName", ())],
        ", ".join(f"{key}={value}" for key, value in issuer),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ssl.cert_time_to_seconds(certificate["notAfter"]))),
        certificate["serialNumber"],
    )


def names_shown(wanted: Target, seconds: float) -> str:
    """Say which names the certificate is for: it is trusted, but for the name."""
    trust = trusted(wanted.endpoint)
    trust.check_hostname = False
    try:
        with handshake(wanted, trust, seconds) as secured:
            return ", ".join(found(secured).names) or "no name at all"
    except (OSError, ServiceError):
        return "others"


def refusal(wanted: Target, error: ssl.SSLCertVerificationError, seconds: float) -> str:
    """Say why the certificate is not accepted."""
    detail = error.verify_message.strip(".")
    if error.verify_code in OTHER_NAME:
        return f"its certificate does not cover {wanted.endpoint.host}; it is for {names_shown(wanted, seconds)}"
    if error.verify_code == EXPIRED:
        return "its certificate, or one that it was issued by, has expired"
    if error.verify_code == NOT_YET_VALID:
        return "its certificate, or one that it was issued by, is not valid yet; is the clock of this host right?"
    if error.verify_code in UNKNOWN_AUTHORITY:
        known = "was not given and is none that this host trusts" if wanted.endpoint.ca else "this host does not trust"
        return (
            f"its certificate comes from an unknown authority, which {known}, or the server does not send the "
            f"certificates between ({detail})"
        )
    return f"its certificate is not accepted ({detail})"


def reason(wanted: Target, error: OSError, seconds: float) -> str:
    """Say in the operator's words why there is no trusted connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return refusal(wanted, error, seconds)
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused (nothing listens there)"
    if isinstance(error, CLOSED):
        return "it closes the connection in the handshake; does it speak TLS on this port?"
    if isinstance(error, ssl.SSLError):
        code = error.reason or ""
        if code in NOT_TLS:
            return "what answers does not speak TLS on this port"
        said = (code or str(error)).lower().replace("_", " ")
        if "ALERT_INTERNAL_ERROR" in code or "UNRECOGNIZED_NAME" in code:
            return f"the server has no certificate for {wanted.endpoint.host}, or not yet (it says: {said})"
        return f"TLS failed ({said})"
    if isinstance(error, socket.gaierror):
        return f"{wanted.target} has no address here ({error.strerror})"
    if isinstance(error, TIMEOUTS):
        return f"no answer within {seconds:.0f} s (a firewall?)"
    return error.strerror or str(error)
