# SPDX-License-Identifier: MIT
"""Connects to services that are external, with nothing but the standard library."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

# Goes with the doc fragment `service`.
ARGUMENT_SPEC: dict[str, Any] = {
    "ca_certificates": {"type": "str", "default": ""},
    "advice": {"type": "str", "default": ""},
}
TIMEOUT_SECONDS = 10.0
# One and the same from Python 3.10 on.
TIMEOUTS = (TimeoutError, socket.timeout)


class ServiceError(Exception):
    """A service that cannot be used; its text says what, where and why, and never holds a secret."""


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int
    # PEM of CAs that are trusted beside those of the host.
    ca: str = ""
    # Whether the certificate has to be valid for the host's name; False: anybody's will do.
    verified: bool = True
    timeout: float = TIMEOUT_SECONDS

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def reason(error: OSError, timeout: float = TIMEOUT_SECONDS) -> str:
    """Say in the operator's words why there is no connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message.strip('.')})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({(error.reason or str(error)).lower().replace('_', ' ')}); does it speak TLS on this port?"
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    if isinstance(error, TIMEOUTS):
        return f"no answer within {timeout:.0f} s (a firewall?)"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused (nothing listens there)"
    if isinstance(error, ConnectionError):
        return "it closes the connection"
    return error.strerror or str(error)


def with_advice(error: Exception, advice: str) -> str:
    """Give the message of a failure: what is wrong, and what can be done about it."""
    text = str(error).rstrip(".")
    return f"{text}{'' if text.endswith('?') else '.'} {advice}".strip()


def context(endpoint: Endpoint) -> ssl.SSLContext:
    """Trust the host's CAs and the given ones, as the webapp's Node does with NODE_EXTRA_CA_CERTS."""
    found = ssl.create_default_context()
    # Python 3.13 began to refuse CAs without some extensions; private ones lack them, and Node does not care.
    found.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not endpoint.verified:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    elif endpoint.ca:
        try:
            # Python takes ASCII alone, and comments between certificates often name CAs of other languages.
            found.load_verify_locations(cadata=endpoint.ca.encode("ascii", "ignore").decode())
        except (ssl.SSLError, ValueError):
            raise ServiceError("The CAs that were given are not certificates in PEM") from None
    return found


def connect(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection((endpoint.host, endpoint.port), endpoint.timeout)


def secure(stream: socket.socket, endpoint: Endpoint) -> ssl.SSLSocket:
    try:
        return context(endpoint).wrap_socket(stream, server_hostname=endpoint.host)
    except TIMEOUTS:
        stream.close()
        raise ServiceError("it takes the connection but no TLS; does it speak TLS on this port?") from None
    except (OSError, ServiceError):
        stream.close()
        raise


class Reader:
    """Exact reads and lines from a socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._buffer = b""

    def _fill(self) -> None:
        more = self._stream.recv(65536)
        if not more:
            raise ConnectionResetError
        self._buffer += more

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._fill()
        found, _, self._buffer = self._buffer.partition(b"\r\n")
        return found
