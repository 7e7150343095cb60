# SPDX-License-Identifier: MIT
"""Who trusts whom: the programs in Node, and the hello runner, with and without a CA of somebody's own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession, TCPConnector
from doubles import authorities
from doubles.webapp import objectstore
from hello import hello

from tests.unit.plugins.modules.servers import certificate, serving


def answer(stream: socket.socket) -> None:
    stream.recv(65536)
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")


@dataclass(frozen=True)
class Server:
    """A server whose certificate is its own CA."""

    port: int
    authority: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    tls = certificate()
    file = tmp_path / "authority.pem"
    file.write_text(tls.pem)
    with serving(answer, tls) as port:
        yield Server(port, file)


async def ask(url: str, trust: ssl.SSLContext) -> int:
    async with ClientSession(connector=TCPConnector(ssl=trust)) as session, session.get(url) as answer:
        return answer.status


def test_an_extra_authority_is_trusted_beside_the_others(server: Server) -> None:
    trust = authorities.trusted({authorities.VARIABLE: str(server.authority)})
    assert asyncio.run(ask(server.url, trust)) == 200
    assert trust.cert_store_stats()["x509_ca"] == authorities.trusted({}).cert_store_stats()["x509_ca"] + 1


def test_without_it_the_certificate_is_refused(server: Server) -> None:
    with pytest.raises(ClientConnectorCertificateError):
        asyncio.run(ask(server.url, authorities.trusted({})))


def test_another_name_is_refused(server: Server) -> None:
    trust = authorities.trusted({authorities.VARIABLE: str(server.authority)})
    with pytest.raises(ClientConnectorCertificateError):
        asyncio.run(ask(f"https://127.0.0.1:{server.port}", trust))


@pytest.mark.parametrize("content", [None, "not a certificate\n"])
def test_a_file_that_cannot_be_used_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, server: Server
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    trust = authorities.trusted({authorities.VARIABLE: str(file)})
    assert f"Ignoring extra certs from `{file}`" in capsys.readouterr().err
    with pytest.raises(ClientConnectorCertificateError):
        asyncio.run(ask(server.url, trust))


def test_the_webapp_trusts_it_for_the_object_store(server: Server) -> None:
    environment = {
        "OBJECT_STORE_BASE_URL": server.url,
        "OBJECT_STORE_ACCESS_KEY_ID": "a",
        "OBJECT_STORE_SECRET_ACCESS_KEY": "s",
    }

    async def put(extra: dict[str, str]) -> None:
        store = objectstore.object_store(environment | extra)
        assert store
        async with store.session() as session:
            await objectstore.upload(session, store, "a", b"b")

    asyncio.run(put({authorities.VARIABLE: str(server.authority)}))
    with pytest.raises(ClientConnectorCertificateError):
        asyncio.run(put({}))


def test_the_runner_names_the_issuer_of_a_chain_that_it_has_verified(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url
    assert "CERTIFICATE_VERIFY_FAILED" in str(hello.asked(url))
    with pytest.raises(hello.Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        hello.request("GET", url, {})
    monkeypatch.setattr(hello, "TRUST", hello.trusted(str(server.authority)))
    assert hello.asked(url) == "localhost"
    assert hello.request("GET", url, {}) == (200, b"OK")


def test_nobody_has_signed_plain_http() -> None:
    assert hello.issuer("http://127.0.0.1:1") is None


def test_the_runner_goes_on_without_a_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(hello.trusted(f"{tmp_path}/none"), ssl.SSLContext)
    assert "Ignoring extra certs" in capsys.readouterr().err
