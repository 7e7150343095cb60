# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _postgres
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._postgres import Scram, filled, parse
from ansible_collections.selfhosted.trigger_dev.plugins.modules import postgres_server_info

from tests.unit.plugins.modules.servers import Certificate, certificate, nobody, serving

Invoke = Callable[..., dict[str, Any]]
PASSWORD = "pä ss/%'\"word"
ROW = {
    "version": "17.6 (Debian 17.6-1)",
    "wal_level": "replica",
    "max_replication_slots": "10",
    "used_replication_slots": "3",
    "replication_slots": '["electric_slot_default"]',
    "max_wal_senders": "10",
    "standby": "f",
    "replication_allowed": "t",
    "create_allowed": "f",
    "schema_create_allowed": "t",
    "foreign_tables": '["TaskRun"]',
}


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def refusal(code: str, text: str) -> bytes:
    return message(b"E", f"SFATAL\0C{code}\0M{text}\0\0".encode())


class Postgres:
    """A server that knows one password and one row."""

    def __init__(self, login: str, tls: Certificate | None = None, lies: bool = False) -> None:
        self.login, self.tls, self.lies = login, tls, lies
        self.seen: list[bytes] = []

    def exactly(self, stream: socket.socket, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = stream.recv(size - len(found))
            if not more:
                raise ConnectionResetError
            found += more
        return found

    def body(self, stream: socket.socket, kind: bytes) -> bytes:
        assert self.exactly(stream, 1) == kind
        (size,) = struct.unpack("!i", self.exactly(stream, 4))
        found = self.exactly(stream, size - 4)
        self.seen.append(found)
        return found

    def __call__(self, stream: socket.socket) -> None:
        (size,) = struct.unpack("!i", self.exactly(stream, 4))
        first = self.exactly(stream, size - 4)
        if first == struct.pack("!i", 80877103):
            stream.sendall(b"S" if self.tls else b"N")
            if self.tls:
                with self.tls.context.wrap_socket(stream, server_side=True) as secured:
                    (size,) = struct.unpack("!i", self.exactly(secured, 4))
                    self.serve(secured, self.exactly(secured, size - 4))
            return
        self.serve(stream, first)

    def serve(self, stream: socket.socket, startup: bytes) -> None:
        assert startup[4:].startswith(b"user\0trigger\0database\0main\0")
        if not getattr(self, f"log_in_by_{self.login}")(stream):
            stream.sendall(refusal("28P01", "password authentication failed"))
            return
        stream.sendall(message(b"R", struct.pack("!i", 0)) + message(b"S", b"a\0b\0") + message(b"Z", b"I"))
        self.body(stream, b"Q")
        names = b"".join(name.encode() + b"\0" + bytes(18) for name in ROW)
        values = b"".join(struct.pack("!i", len(value)) + value.encode() for value in ROW.values())
        stream.sendall(
            message(b"T", struct.pack("!h", len(ROW)) + names)
            + message(b"D", struct.pack("!h", len(ROW)) + values)
            + message(b"C", b"SELECT 1\0")
            + message(b"Z", b"I")
        )

    def log_in_by_cleartext(self, stream: socket.socket) -> bool:
        stream.sendall(message(b"R", struct.pack("!i", 3)))
        return self.body(stream, b"p") == PASSWORD.encode() + b"\0"

    def log_in_by_md5(self, stream: socket.socket) -> bool:
        stream.sendall(message(b"R", struct.pack("!i", 5) + b"salt"))
        inner = hashlib.md5(PASSWORD.encode() + b"trigger").hexdigest().encode()
        return self.body(stream, b"p") == b"md5" + hashlib.md5(inner + b"salt").hexdigest().encode() + b"\0"

    def log_in_by_kerberos(self, stream: socket.socket) -> bool:
        stream.sendall(message(b"R", struct.pack("!i", 7)))
        return True

    def log_in_by_scram(self, stream: socket.socket) -> bool:
        salt, count = b"0123456789abcdef", 4096
        stream.sendall(message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"))
        initial = self.body(stream, b"p").partition(b"\0")[2][4:]
        assert initial.startswith(b"n,,n=,r=")
        nonce = initial[8:] + b"SERVER"
        challenge = b"r=" + nonce + b",s=" + base64.b64encode(salt) + f",i={count}".encode()
        stream.sendall(message(b"R", struct.pack("!i", 11) + challenge))
        final = self.body(stream, b"p")
        bare, _, proof = final.rpartition(b",p=")
        everything = initial[3:] + b"," + challenge + b"," + bare
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, count)
        key = hmac.digest(salted, b"Client Key", "sha256")
        mask = hmac.digest(hashlib.sha256(key).digest(), everything, "sha256")
        signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), everything, "sha256")
        if base64.b64decode(proof) != bytes(a ^ b for a, b in zip(key, mask)):
            return False
        answer = b"v=" + base64.b64encode(bytes(32) if self.lies else signature)
        stream.sendall(message(b"R", struct.pack("!i", 12) + answer))
        return True


def url(port: int, query: str = "") -> str:
    return f"postgresql://trigger@localhost:{port}/main{query}"


@pytest.mark.parametrize("login", ["cleartext", "md5", "scram"])
def test_what_is_found(invoke: Invoke, login: str) -> None:
    server = Postgres(login)
    with serving(server) as port:
        result = invoke(postgres_server_info.main, url=url(port), password=PASSWORD, check=True)
    assert result["changed"] is False
    assert result["postgres_server"] == {
        "version": "17.6",
        "wal_level": "replica",
        "max_replication_slots": 10,
        "free_replication_slots": 7,
        "replication_slots": ["electric_slot_default"],
        "max_wal_senders": 10,
        "standby": False,
        "replication_allowed": True,
        "create_allowed": False,
        "schema_create_allowed": True,
        "foreign_tables": ["TaskRun"],
    }
    if login != "cleartext":
        assert not any(PASSWORD.encode() in body for body in server.seen)


@pytest.mark.parametrize("login", ["cleartext", "md5", "scram"])
def test_a_wrong_password(invoke: Invoke, login: str) -> None:
    with serving(Postgres(login)) as port:
        result = invoke(postgres_server_info.main, url=url(port), password="nonsense", advice="Set a variable.")
    assert result["failed"]
    assert result["msg"] == (
        f"PostgreSQL at localhost:{port} refuses the login of trigger: password authentication failed. Set a variable."
    )


def test_a_server_that_does_not_know_the_password_itself(invoke: Invoke) -> None:
    with serving(Postgres("scram", lies=True)) as port:
        result = invoke(postgres_server_info.main, url=url(port), password=PASSWORD)
    assert "cannot prove that it knows the password" in result["msg"]


def test_a_login_without_a_password(invoke: Invoke) -> None:
    with serving(Postgres("kerberos")) as port:
        result = invoke(postgres_server_info.main, url=url(port), password=PASSWORD)
    assert "a kind of login that is not a password" in result["msg"]


@pytest.mark.parametrize(
    ("mode", "name", "trusted", "problem"),
    [
        ("verify-full", "localhost", True, ""),
        ("require", "localhost", True, ""),
        ("require", "localhost", False, "certificate is not accepted"),
        ("require", "elsewhere", True, "certificate is not accepted"),
        ("no-verify", "elsewhere", False, ""),
    ],
)
def test_tls(invoke: Invoke, mode: str, name: str, trusted: bool, problem: str) -> None:
    presented = certificate(name)
    with serving(Postgres("scram", presented)) as port:
        result = invoke(
            postgres_server_info.main,
            url=url(port, f"?sslmode={mode}"),
            password=PASSWORD,
            ca_certificates=presented.pem if trusted else "",
        )
    assert problem in result.get("msg", "")
    assert bool(result.get("failed")) is bool(problem)


def test_a_server_without_tls(invoke: Invoke) -> None:
    with serving(Postgres("scram")) as port:
        result = invoke(postgres_server_info.main, url=url(port, "?sslmode=require"), password=PASSWORD)
    assert "it offers no TLS" in result["msg"]


def test_authorities_that_are_none(invoke: Invoke) -> None:
    with serving(Postgres("scram", certificate())) as port:
        result = invoke(
            postgres_server_info.main, url=url(port, "?sslmode=require"), password=PASSWORD, ca_certificates="nonsense"
        )
    assert "not certificates in PEM" in result["msg"]


def test_nobody_listens(invoke: Invoke) -> None:
    port = nobody()
    result = invoke(postgres_server_info.main, url=url(port), password=PASSWORD, advice="Set a variable.")
    assert f"localhost:{port}: the connection is refused" in result["msg"]
    assert result["msg"].endswith("Set a variable.")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("postgresql://u:secret@h/d", "holds a password"),
        ("mysql://u@h/d", "must begin with postgresql://"),
        ("postgresql://h/d", "lacks its user"),
        ("postgresql://u@h", "lacks its database"),
        ("postgresql://u@/d", "lacks its host"),
        ("postgresql://u@h:x/d", "port is not a number"),
        ("postgresql://u@h/d?sslmode=maybe", "sslmode=maybe is unknown"),
    ],
)
def test_urls_that_cannot_be_used(text: str, word: str) -> None:
    with pytest.raises(ServiceError, match=word) as raised:
        parse(text)
    assert "secret" not in str(raised.value)


def test_parts_of_a_url() -> None:
    server = parse("postgres://us%40er@[::1]/da%2Fta?sslmode=verify-full&x=y")
    assert (server.user, server.database, server.tls) == ("us@er", "da/ta", True)
    assert (server.endpoint.host, server.endpoint.port, server.endpoint.address) == ("::1", 5432, "[::1]:5432")
    assert not parse("postgres://u@h/d").tls
    assert not parse("postgres://u@h/d?sslmode=disable").tls


def test_values_are_quoted() -> None:
    query = "SELECT :'name', ':x', 'a'::text"
    assert filled(query, {"name": "o'clock"}) == "SELECT 'o''clock', ':x', 'a'::text"


def test_scram_refuses_a_nonce_that_is_not_its_own() -> None:
    with pytest.raises(ServiceError):
        Scram("password", "mine").final(b"r=other,s=c2FsdA==,i=4096")


def docker(stdout: str, code: int = 0) -> Callable[..., Completed]:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert argv[-1] == "pg"
        return Completed(code, stdout, "")

    return fake


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"postgres_password": PASSWORD}))
    return file


def test_the_bundled_server(invoke: Invoke, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        postgres_server_info,
        "run",
        docker('[false, {"a": {"IPAddress": "127.0.0.1"}, "b": {"IPAddress": "172.18.0.2"}}]'),
    )
    with serving(Postgres("scram")) as port:
        asked = {"url": f"postgresql://trigger@trigger-postgres:{port}/main", "container": "pg"}
        result = invoke(postgres_server_info.main, secrets_file=str(stored), **asked)
        assert result["postgres_server"]["version"] == "17.6"
        stored.write_text(json.dumps({"postgres_password": "former"}))
        result = invoke(postgres_server_info.main, secrets_file=str(stored), advice="Mend it.", **asked)
        assert "refuses the login of trigger" in result["msg"]
        assert result["msg"].endswith("Mend it.")
        stored.unlink()
        result = invoke(postgres_server_info.main, secrets_file=str(stored), **asked)
        assert "holds no postgres_password" in result["msg"]


@pytest.mark.parametrize(("stdout", "code"), [("", 1), ("", 127), ('[false, {"a": {"IPAddress": ""}}]', 0)])
def test_a_container_that_does_not_run(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, stdout: str, code: int) -> None:
    monkeypatch.setattr(postgres_server_info, "run", docker(stdout, code))
    asked = {"url": "postgresql://u@h/d", "container": "pg", "secrets_file": "/nowhere"}
    assert invoke(postgres_server_info.main, **asked)["postgres_server"] is None


def test_modes_are_those_of_the_documentation() -> None:
    for mode in _postgres.TLS_MODES:
        assert f"V({mode})" in postgres_server_info.DOCUMENTATION
