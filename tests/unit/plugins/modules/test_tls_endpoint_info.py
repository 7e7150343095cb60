# SPDX-License-Identifier: MIT
from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import Endpoint, ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.modules import tls_endpoint_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.tls_endpoint_info import await_trust

from .conftest import Invoke
from .servers import Certificate, nobody, serving, ssh

Issue = Callable[..., Any]
NAME = "trigger.example.com"


@pytest.fixture(scope="module")
def root(issue: Issue) -> Any:
    """A private authority."""
    return issue("root", ca=True, now=datetime.now(UTC), days=(-1, 3650))


@pytest.fixture
def shown(issue: Issue, root: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Certificate:
    """What a server shows: a certificate of the authority, with a certificate for NAME unless asked otherwise."""
    options: dict[str, Any] = {"names": [NAME], "days": (-2, 30), **getattr(request, "param", {})}
    leaf = issue("leaf", by=root, now=datetime.now(UTC), **options)
    (tmp_path / "server.pem").write_text(leaf.pem + leaf.key())
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(tmp_path / "server.pem")
    return Certificate(leaf.pem, found)


def silent(_stream: socket.socket) -> None:
    """Say nothing: the handshake is all that is asked for."""


def ask(invoke: Invoke, port: int, **options: Any) -> dict[str, Any]:
    """Ask once."""
    given = {"name": NAME, "port": port, "connect_to": "127.0.0.1", "timeout": 1, "advice": "Look there.", **options}
    return invoke(tls_endpoint_info.main, **given)


def test_a_certificate_that_can_be_trusted(invoke: Invoke, shown: Certificate, root: Any) -> None:
    with serving(silent, shown) as port:
        result = ask(invoke, port, ca_certificates=root.pem)
    assert result["changed"] is False
    found = result["tls_endpoint"]
    assert (found["names"], found["issuer"]) == ([NAME], "root")
    assert found["version"].startswith("TLSv1.")
    assert found["not_after"].endswith("GMT")
    assert int(found["serial"], 16)


def test_an_unknown_authority(invoke: Invoke, shown: Certificate) -> None:
    with serving(silent, shown) as port:
        result = ask(invoke, port)
    assert result["failed"]
    assert f"{NAME}:{port} (asked for at 127.0.0.1): its certificate is not accepted (" in result["msg"]
    assert result["msg"].endswith("Look there.")


@pytest.mark.parametrize("shown", [{"names": ["other.example.com"]}, {"days": (-9, -1)}], indirect=True)
def test_a_certificate_that_does_not_hold(invoke: Invoke, shown: Certificate, root: Any) -> None:
    with serving(silent, shown) as port:
        result = ask(invoke, port, ca_certificates=root.pem)
    assert "its certificate is not accepted (" in result["msg"]
    assert "expired" in result["msg"] or "mismatch" in result["msg"].lower()


def test_a_port_without_tls(invoke: Invoke, root: Any) -> None:
    with serving(ssh) as port:
        assert "does it speak TLS on this port?" in ask(invoke, port, ca_certificates=root.pem)["msg"]


def test_nobody_there(invoke: Invoke) -> None:
    port = nobody()
    assert "the connection is refused" in ask(invoke, port)["msg"]


def test_it_waits_for_a_certificate_that_is_still_to_come(shown: Certificate, root: Any) -> None:
    """As with an ACME server: first nobody, then the right one."""
    port = nobody()
    opened = ExitStack()

    def pause(_seconds: float) -> None:
        opened.enter_context(serving(silent, shown, port))

    with opened:
        assert await_trust(Endpoint(NAME, port, root.pem, timeout=5), "127.0.0.1", 20, pause)["names"] == [NAME]


def test_it_does_not_wait_for_ever() -> None:
    port = nobody()
    with pytest.raises(ServiceError, match="refused"):
        await_trust(Endpoint(NAME, port, timeout=1), "127.0.0.1", 0, lambda _: pytest.fail("no time left"))
