# SPDX-License-Identifier: MIT
"""PostgreSQL's wire protocol, as much of it as is needed here: TLS, every kind of password, simple queries.

No driver can be expected on a control host, and neither psql.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import socket
import stringprep
import struct
import unicodedata
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Optional, cast
from urllib.parse import parse_qs, unquote, urlsplit

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    Endpoint,
    Reader,
    ServiceError,
    connect,
    reason,
    secure,
)

PROTOCOL = 196608  # 3.0
SSL_REQUEST = struct.pack("!ii", 8, 80877103)

# What the webapp's replication client makes of `sslmode`: everything that is not `disable` or `no-verify` is verified
# in full, name and all, unlike in libpq. (Prisma is content with less.) The value tells whether it is verified.
TLS_MODES = {"no-verify": False, "prefer": True, "require": True, "verify-ca": True, "verify-full": True}

# An expression, not an annotation: Python 3.9 knows no `|` there.
Row = dict[str, Optional[str]]


class QueryError(Exception):
    """The server refuses; `code` is the SQLSTATE."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Server:
    """Where a database is and who logs in to it."""

    endpoint: Endpoint
    user: str
    database: str
    tls: bool

    @property
    def name(self) -> str:
        return f"PostgreSQL at {self.endpoint.address}"


def parse(url: str, ca: str = "") -> Server:
    """Read postgresql://user@host:port/database?sslmode=..."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ServiceError("The URL of PostgreSQL cannot be read: its port is not a number") from None
    if parts.password is not None:
        raise ServiceError("The URL of PostgreSQL holds a password; it must be given apart from it")
    if parts.scheme not in ("postgres", "postgresql"):
        raise ServiceError("The URL of PostgreSQL must begin with postgresql://")
    database = unquote(parts.path.lstrip("/"))
    missing = [name for name, value in (("user", parts.username), ("host", parts.hostname), ("database", database))
               if not value]  # fmt: skip
    if missing:
        raise ServiceError(
            f"The URL of PostgreSQL lacks its {' and '.join(missing)}; its form is postgresql://user@host:port/database"
        )
    mode = parse_qs(parts.query).get("sslmode", ["disable"])[-1]
    if mode != "disable" and mode not in TLS_MODES:
        raise ServiceError(f"sslmode={mode} is unknown; known are disable, {', '.join(TLS_MODES)}")
    endpoint = Endpoint(str(parts.hostname), port or 5432, ca, TLS_MODES.get(mode, True))
    return Server(endpoint, unquote(str(parts.username)), database, mode != "disable")


def _prepared(password: str) -> bytes:
    """SASLprep, of which nothing is left for ASCII."""
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter
        for letter in password
        if not stringprep.in_table_b1(letter)
    )  # fmt: skip
    return unicodedata.normalize("NFKC", mapped).encode()


class Scram:
    """The client's side of SCRAM-SHA-256, without channel binding."""

    def __init__(self, password: str, nonce: str) -> None:
        self._password = _prepared(password)
        self._nonce = nonce
        self._signature = b""

    @property
    def first(self) -> bytes:
        return f"n,,n=,r={self._nonce}".encode()

    def final(self, challenge: bytes) -> bytes:
        fields = self._fields(challenge)
        nonce, salt, count = fields.get("r", ""), fields.get("s", ""), fields.get("i", "")
        if not nonce.startswith(self._nonce) or not count.isdigit():
            raise ServiceError("the server does not speak SCRAM-SHA-256 as it should")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, base64.b64decode(salt), int(count))
        key = self._hmac(salted, b"Client Key")
        bare = f"c=biws,r={nonce}".encode()
        message = b",".join([self.first[3:], challenge, bare])
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        mask = self._hmac(hashlib.sha256(key).digest(), message)
        proof = bytes(left ^ right for left, right in zip(key, mask))
        return bare + b",p=" + base64.b64encode(proof)

    def verify(self, answer: bytes) -> None:
        """A server that does not know the password itself is not the one that is meant."""
        if base64.b64decode(self._fields(answer).get("v", "")) != self._signature:
            raise ServiceError("the server cannot prove that it knows the password")

    @staticmethod
    def _hmac(key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, "sha256")

    @staticmethod
    def _fields(message: bytes) -> dict[str, str]:
        return {part[:1]: part[2:] for part in message.decode().split(",")}


def md5(user: str, password: str, salt: bytes) -> bytes:
    inner = hashlib.md5(f"{password}{user}".encode(), usedforsecurity=False).hexdigest()
    return b"md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest().encode()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _startup(server: Server) -> bytes:
    pairs = {"user": server.user, "database": server.database, "client_encoding": "UTF8"}
    text = "".join(f"{name}\0{value}\0" for name, value in pairs.items()) + "\0"
    return struct.pack("!ii", len(text.encode()) + 8, PROTOCOL) + text.encode()


def _refusal(body: bytes) -> QueryError:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return QueryError(fields.get(b"C", ""), fields.get(b"M", "it does not say why"))


def _values(body: bytes) -> list[str | None]:
    (count,) = struct.unpack_from("!h", body)
    at, found = 2, list[Optional[str]]()
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, at)
        at += 4
        found.append(None if size < 0 else body[at : at + size].decode())
        at += max(size, 0)
    return found


def _columns(body: bytes) -> list[str]:
    (count,) = struct.unpack_from("!h", body)
    at, found = 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        found.append(body[at:end].decode())
        at = end + 19
    return found


def filled(query: str, variables: Mapping[str, str]) -> str:
    """Put quoted values where a query says :'name', as psql does."""
    return re.sub(r":'(\w+)'", lambda match: "'" + variables[match[1]].replace("'", "''") + "'", query)


class Session:
    """A connection that is logged in."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._reader = Reader(stream)

    def _receive(self) -> tuple[bytes, bytes]:
        """The next message that is not a notice or a parameter."""
        while True:
            kind = self._reader.exactly(1)
            (size,) = struct.unpack("!i", self._reader.exactly(4))
            body = self._reader.exactly(size - 4)
            if kind == b"E":
                raise _refusal(body)
            if kind not in b"NSK":
                return kind, body

    def log_in(self, server: Server, password: str) -> None:
        self._stream.sendall(_startup(server))
        scram = Scram(password, secrets.token_urlsafe(18))
        while True:
            kind, body = self._receive()
            if kind == b"Z":
                return
            (method,) = struct.unpack_from("!i", body)
            if method == 3:
                answer = password.encode() + b"\0"
            elif method == 5:
                answer = md5(server.user, password, body[4:8]) + b"\0"
            elif method == 10 and b"SCRAM-SHA-256" in body[4:].split(b"\0"):
                answer = b"SCRAM-SHA-256\0" + struct.pack("!i", len(scram.first)) + scram.first
            elif method == 11:
                answer = scram.final(body[4:])
            elif method == 12:
                scram.verify(body[4:])
                continue
            elif method == 0:
                continue
            else:
                raise ServiceError("it asks for a kind of login that is not a password")
            self._stream.sendall(_message(b"p", answer))

    def rows(self, query: str) -> list[Row]:
        self._stream.sendall(_message(b"Q", query.encode() + b"\0"))
        columns, found = list[str](), list[Row]()
        while True:
            kind, body = self._receive()
            if kind == b"T":
                columns = _columns(body)
            elif kind == b"D":
                found.append(dict(zip(columns, _values(body))))
            elif kind == b"Z":
                return found


def _opened(server: Server) -> socket.socket:
    stream = connect(server.endpoint)
    if not server.tls:
        return stream
    stream.sendall(SSL_REQUEST)
    if stream.recv(1) != b"S":
        stream.close()
        raise ServiceError("it offers no TLS, which sslmode in the URL asks for")
    return secure(stream, server.endpoint)


def ask(server: Server, password: str, query: str) -> list[Row]:
    """Log in, put one query, and give its rows."""
    try:
        with closing(_opened(server)) as stream:
            session = Session(stream)
            try:
                session.log_in(server, password)
            except QueryError as error:
                raise ServiceError(f"{server.name} refuses the login of {server.user}: {error}") from None
            return session.rows(query)
    except OSError as error:
        raise ServiceError(f"{server.name}: {reason(error, server.endpoint.timeout)}") from None
    except QueryError as error:
        raise ServiceError(f"{server.name} refuses a query: {error} ({error.code})") from None
    except ServiceError as error:
        text = str(error)
        raise ServiceError(text if text.startswith(server.name) else f"{server.name}: {text}") from None


def number(row: Row, name: str) -> int:
    return int(cast(str, row[name]))
