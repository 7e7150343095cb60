# SPDX-License-Identifier: MIT
from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _connection
from ansible_collections.selfhosted.trigger_dev.plugins.modules import redis_server_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.redis_server_info import command, found

from tests.unit.plugins.modules.servers import certificate, nobody, serving, ssh

Invoke = Callable[..., dict[str, Any]]
PASSWORD = "pä ss\r\nword"
INFO = (
    "# Server\r\nredis_version:7.4.5\r\nrole:master\r\n\r\n# Memory\r\nmaxmemory_policy:allkeys-lru\r\n"
    "# Persistence\r\naof_enabled:0\r\ncluster_enabled:0\r\nexecutable:/a:b\r\n"
)


def redis(*login: str) -> Callable[[socket.socket], None]:
    """A server that wants this login."""

    def talk(stream: socket.socket) -> None:
        allowed = not login
        while asked := stream.recv(65536):
            if asked == command("AUTH", *login):
                allowed = True
                stream.sendall(b"+OK\r\n")
            elif asked == command("INFO") and allowed:
                body = INFO.encode()
                # In two pieces, as a network may deliver it.
                stream.sendall(f"${len(body)}\r\n".encode() + body[:20])
                stream.sendall(body[20:] + b"\r\n")
            else:
                stream.sendall(
                    b"-NOAUTH Authentication required.\r\n" if asked == command("INFO") else b"-WRONGPASS x\r\n"
                )

    return talk


@pytest.mark.parametrize(
    ("login", "given"),
    [
        ((), {}),
        ((PASSWORD,), {"password": PASSWORD}),
        (("trigger", PASSWORD), {"username": "trigger", "password": PASSWORD}),
    ],
)
@pytest.mark.parametrize("tls", [True, False])
def test_what_is_found(invoke: Invoke, login: tuple[str, ...], given: dict[str, str], tls: bool) -> None:
    presented = certificate() if tls else None
    with serving(redis(*login), presented) as port:
        result = invoke(
            redis_server_info.main,
            host="localhost",
            port=port,
            tls=tls,
            ca_certificates=presented.pem if presented else "",
            check=True,
            **given,
        )
    assert result["changed"] is False
    assert result["redis_server"] == {
        "version": "7.4.5",
        "role": "master",
        "maxmemory_policy": "allkeys-lru",
        "aof_enabled": False,
        "cluster_enabled": False,
    }


@pytest.mark.parametrize(("given", "word"), [({}, "NOAUTH"), ({"password": "nonsense"}, "WRONGPASS")])
def test_a_wrong_login(invoke: Invoke, given: dict[str, str], word: str) -> None:
    with serving(redis(PASSWORD)) as port:
        result = invoke(
            redis_server_info.main, host="localhost", port=port, tls=False, advice="Set a variable.", **given
        )
    assert f"Redis at localhost:{port} refuses: {word}" in result["msg"]
    assert result["msg"].endswith(" Set a variable.")
    assert ".." not in result["msg"]
    assert "nonsense" not in result["msg"]


def test_a_certificate_of_nobody(invoke: Invoke) -> None:
    with serving(redis(), certificate()) as port:
        result = invoke(redis_server_info.main, host="localhost", port=port)
    assert "certificate is not accepted" in result["msg"]


def test_comments_between_authorities(invoke: Invoke) -> None:
    presented = certificate()
    with serving(redis(), presented) as port:
        result = invoke(
            redis_server_info.main, host="localhost", port=port, ca_certificates=f"# Főtanúsítvány\n{presented.pem}"
        )
    assert result["redis_server"]["role"] == "master"


def test_tls_where_there_is_none(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis waits for the end of what it takes for a command."""

    def wait(stream: socket.socket) -> None:
        while stream.recv(65536):
            pass

    monkeypatch.setattr(_connection.Endpoint, "timeout", 0.2)
    endpoint = _connection.Endpoint.__init__
    monkeypatch.setattr(_connection.Endpoint, "__init__", lambda *a, **k: endpoint(*a, **{**k, "timeout": 0.2}))
    with serving(wait) as port:
        result = invoke(redis_server_info.main, host="localhost", port=port)
    assert "does it speak TLS on this port?" in result["msg"]


def test_nobody_listens(invoke: Invoke) -> None:
    port = nobody()
    assert (
        f"localhost:{port}: the connection is refused"
        in invoke(redis_server_info.main, host="localhost", port=port, tls=False)["msg"]
    )


def test_something_else_listens(invoke: Invoke) -> None:
    with serving(ssh) as port:
        result = invoke(redis_server_info.main, host="localhost", port=port, tls=False)
    assert "does not speak Redis' protocol" in result["msg"]


def test_what_a_managed_server_does_not_tell() -> None:
    assert found("redis_version:7.2.0\r\n").maxmemory_policy is None
    assert found("redis_version:7.2.0\r\n").aof_enabled is None
