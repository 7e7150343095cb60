# SPDX-License-Identifier: MIT
from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import Endpoint
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._tls import reason
from ansible_collections.selfhosted.trigger_dev.plugins.modules import tls_endpoint_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.tls_endpoint_info import Parameters

from tests.unit.plugins.certificates import Issued, issue
from tests.unit.plugins.modules.servers import Certificate, nobody, serving, ssh

Invoke = Callable[..., dict[str, Any]]
NAME = "trigger.example.com"
ROOT = issue("Root of the test", ca=True)
BETWEEN = issue("Between", ROOT, ca=True)
ADVICE = "Look at its log."


def quiet(_stream: socket.socket) -> None:
    """Say nothing after the handshake."""


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause fits into the time: the only attempt may take as long as it needs on a busy machine."""
    monkeypatch.setattr(tls_endpoint_info, "PAUSE_SECONDS", 3600.0)


def shown(leaf: Issued, *between: Issued) -> Certificate:
    return Certificate(leaf.pem, leaf.serving(*between))


def good(*names: str) -> Certificate:
    return shown(issue("server", BETWEEN, names=names or (NAME,)), BETWEEN)


def asked(invoke: Invoke, port: int, name: str = NAME, **options: Any) -> dict[str, Any]:
    """Ask at the loopback, once unless told otherwise."""
    given = {"connect_to": "127.0.0.1", "ca_certificates": ROOT.pem, "timeout": 30, "advice": ADVICE} | options
    return invoke(tls_endpoint_info.main, name=name, port=port, **given)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ((NAME, "registry.trigger.example.com"), NAME),
        (("*.trigger.example.com",), "objects.trigger.example.com"),
        (("127.0.0.1",), "127.0.0.1"),
        (("::1",), "::1"),
    ],
)
def test_what_is_found(invoke: Invoke, names: tuple[str, ...], name: str) -> None:
    leaf = issue("server", BETWEEN, names=names)
    with serving(quiet, shown(leaf, BETWEEN)) as port:
        result = asked(invoke, port, name, check=True)
    assert result["changed"] is False
    found = result["tls_endpoint"]
    assert found.pop("version") in ("TLSv1.2", "TLSv1.3")
    assert datetime.fromisoformat(found.pop("not_after").replace("Z", "+00:00")) == leaf.certificate.not_valid_after_utc
    assert int(found.pop("serial"), 16) == leaf.certificate.serial_number
    # The one of IPv6 as OpenSSL writes it.
    assert [one.strip().replace("0:0:0:0:0:0:0:1", "::1") for one in found.pop("names")] == list(names)
    assert found == {"issuer": "CN=Between"}


def test_without_another_target_it_is_the_name(invoke: Invoke) -> None:
    with serving(quiet, good("localhost")) as port:
        assert "tls_endpoint" in asked(invoke, port, "localhost", connect_to="")
        assert f"localhost:{port}: " in asked(invoke, port, "localhost", connect_to="", ca_certificates="")["msg"]


WRONG: dict[str, tuple[Certificate, dict[str, Any], str]] = {
    "another authority": (
        good(),
        {"ca_certificates": issue("Other", ca=True).pem},
        "unknown authority, which was not given and is none that",
    ),
    "a private CA": (good(), {"ca_certificates": ""}, "unknown authority, which this host does not trust"),
    "its own authority": (shown(issue("self", names=[NAME])), {}, "unknown authority"),
    "a gap": (shown(issue("server", BETWEEN, names=[NAME])), {}, "the server does not send the certificates between"),
    "an intermediate for a CA": (good(), {"ca_certificates": BETWEEN.pem}, "unknown authority"),
    "another name": (good("a.example.com", "b.example.com"), {}, f"does not cover {NAME}; it is for a.example.com, b."),
    "no name": (shown(issue(NAME, ROOT)), {}, f"does not cover {NAME}; it is for no name at all"),
    "another address": (good(), {"name": "127.0.0.1"}, f"does not cover 127.0.0.1; it is for {NAME}"),
    "expired": (shown(issue("server", ROOT, names=[NAME], days=(-9, -1))), {}, "has expired"),
    "the future": (shown(issue("server", ROOT, names=[NAME], days=(1, 9))), {}, "is not valid yet; is the clock"),
    "no CA between": (
        shown(issue("server", plain := issue("plain", ROOT), names=[NAME]), plain),
        {},
        "is not accepted (invalid CA certificate)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_certificate_that_cannot_be_trusted(invoke: Invoke, case: str) -> None:
    presented, options, text = WRONG[case]
    with serving(quiet, presented) as port:
        message = asked(invoke, port, **options)["msg"]
    assert text in message
    place = f"{options.get('name', NAME)}:{port}"
    assert message.startswith((f"{place} (asked for at 127.0.0.1): ", f"127.0.0.1:{port}: "))
    assert message.endswith(f" {ADVICE}")


def http(stream: socket.socket) -> None:
    stream.recv(65536)
    stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def closing(stream: socket.socket) -> None:
    stream.recv(65536)


def mute(stream: socket.socket) -> None:
    while stream.recv(65536):
        pass


@pytest.mark.parametrize(
    ("talk", "text"),
    [
        (http, "does not speak TLS on this port"),
        (ssh, "does not speak TLS on this port"),
        (closing, "it closes the connection in the handshake; does it speak TLS on this port? Look"),
        (mute, "it takes the connection but no TLS"),
    ],
)
def test_something_else_listens(invoke: Invoke, talk: Callable[[socket.socket], None], text: str) -> None:
    with serving(talk) as port:
        assert text in asked(invoke, port, timeout=1 if talk is mute else 30)["msg"]


@pytest.mark.parametrize("kind", [ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError])
def test_a_connection_that_is_closed_is_told_whichever_way_it_shows(kind: type[OSError]) -> None:
    error = kind(8, "TLS/SSL connection has been closed (EOF)")
    wanted = Parameters(Endpoint("trigger.example.com", 443), "192.0.2.1", 5, "")
    assert "closes the connection in the handshake" in reason(wanted, error, 1)


def test_a_server_that_has_no_certificate_for_the_name(invoke: Invoke) -> None:
    """As Caddy answers while it waits for the ACME server."""
    presented = good()

    def refuse(_socket: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int:
        return int(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)

    presented.context.sni_callback = refuse
    with serving(quiet, presented) as port:
        message = asked(invoke, port)["msg"]
    assert f"the server has no certificate for {NAME}, or not yet" in message


def test_nobody_listens(invoke: Invoke) -> None:
    assert "the connection is refused (nothing listens there). Look" in asked(invoke, nobody())["msg"]


def test_nobody_answers(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def dropped(address: tuple[str, int], timeout: float) -> socket.socket:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", dropped)
    assert "no answer within 1 s (a firewall?)" in asked(invoke, 443, timeout=1)["msg"]


def test_a_name_without_an_address(invoke: Invoke) -> None:
    message = asked(invoke, 443, connect_to="nowhere.invalid")["msg"]
    assert f"{NAME}:443 (asked for at nowhere.invalid): nowhere.invalid has no address here" in message


def test_it_tries_until_there_is_a_certificate(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_endpoint_info, "PAUSE_SECONDS", 0.05)
    presented = good()
    asks = 0

    def third(_socket: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
        nonlocal asks
        asks += 1
        return None if asks == 3 else int(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)

    presented.context.sni_callback = third
    with serving(quiet, presented) as port:
        assert "tls_endpoint" in asked(invoke, port, timeout=30)
    assert asks == 3


def test_it_ends_in_time(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that runs in the pauses alone."""
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(tls_endpoint_info, "PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(tls_endpoint_info, "time", clock)
    assert "refused" in asked(invoke, nobody(), timeout=3)["msg"]
    assert 1 < sum(pauses) < 4


@pytest.mark.parametrize("name", ["a" * 64 + ".example.com", "trigger..example.com"])
def test_a_name_that_is_none(invoke: Invoke, name: str) -> None:
    assert f"name must be the name of a host, not '{name}'" in asked(invoke, 443, name)["msg"]
    assert "connect_to must be the name" in asked(invoke, 443, connect_to=name)["msg"]


def test_what_nobody_has_to_wait_for(invoke: Invoke) -> None:
    assert "timeout must be at least 1 second" in asked(invoke, 443, timeout=0)["msg"]
    began = time.monotonic()
    message = asked(invoke, nobody(), ca_certificates="PEM", timeout=60)["msg"]
    assert "The CAs that were given are not certificates in PEM" in message
    assert time.monotonic() - began < 30
