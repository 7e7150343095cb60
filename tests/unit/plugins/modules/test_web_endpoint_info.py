# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import socket
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.modules import web_endpoint_info as module

from tests.unit.plugins.certificates import Issued, issue
from tests.unit.plugins.modules.servers import Certificate, Talk, nobody, serving

from .conftest import Invoke

ROOT = issue("Root of the test", ca=True)


def saying(status: int, seen: list[str] | None = None) -> Talk:
    def talk(stream: socket.socket) -> None:
        asked = stream.recv(65536).decode()
        if seen is not None:
            seen.append(asked)
        stream.sendall(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n".encode())

    return talk


def shown(days: tuple[float, float] = (-1, 90), names: tuple[str, ...] = ("localhost",)) -> Certificate:
    leaf: Issued = issue("server", ROOT, names=names, days=days)
    return Certificate(leaf.pem, leaf.serving())


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    return tmp_path / "ca.pem"


def asked(invoke: Invoke, ca_file: Path | str, **row: Any) -> tuple[bool, str]:
    result = invoke(module.main, check=True, endpoints=[{"what": "it", **row}], ca_file=str(ca_file), timeout=30)
    assert result["changed"] is False
    (check,) = result["checks"]
    assert check["what"] == "it"
    return check["ok"], check["detail"]


def test_a_name_that_answers(invoke: Invoke, trust: Path) -> None:
    seen: list[str] = []
    with serving(saying(200, seen), shown()) as port:
        url = f"https://localhost:{port}/healthcheck"
        assert asked(invoke, trust, url=url, statuses=[200]) == (
            True,
            f"{url} answers 200; its certificate has 90 days left",
        )
    assert seen[0].startswith("GET /healthcheck HTTP/1.1\r\n")
    assert f"Host: localhost:{port}\r\n" in seen[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_another_place_is_asked_for_a_name(invoke: Invoke, trust: Path, scheme: str) -> None:
    """By its address, with the name for certificate and header; no name is resolved."""
    seen: list[str] = []
    names = ("trigger.example.com",)
    with serving(saying(200, seen), shown(names=names) if scheme == "https" else None) as port:
        url = f"{scheme}://trigger.example.com:{port}/healthcheck"
        ok, detail = asked(invoke, trust, url=url, statuses=[200], connect_to="127.0.0.1")
        assert (ok, detail.split(";")[0]) == (True, f"{url} answers 200")
        other = asked(invoke, trust, url=f"{scheme}://other.example.com:{port}/", connect_to="127.0.0.1")
        assert other[0] is (scheme == "http")
        assert ("does not cover other.example.com" in other[1]) is (scheme == "https")
    assert seen[0].startswith("GET /healthcheck HTTP/1.1\r\n")
    assert f"Host: trigger.example.com:{port}\r\n" in seen[0]
    assert seen[0].count("Host:") == 1


@pytest.mark.parametrize(
    ("addresses", "listens", "ok"),
    [
        (["127.0.0.1"], False, True),
        (["::1", "127.0.0.1"], False, False),
        (["::1", "127.0.0.1"], True, True),
        # From here it cannot be tried, and a name of IPv6 alone says itself what is wrong.
        (["2001:db8::7", "127.0.0.1"], False, True),
    ],
)
def test_an_address_of_ipv6_that_nobody_serves_is_told(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, addresses: list[str], listens: bool, ok: bool
) -> None:
    def resolve(_host: str, port: int, *_arguments: object, **_options: object) -> list[tuple[Any, ...]]:
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [
            (families[":" in ip], socket.SOCK_STREAM, 6, "", (ip, port, 0, 0) if ":" in ip else (ip, port))
            for ip in addresses
        ]

    connect = socket.socket.connect

    def route(stream: socket.socket, place: tuple[Any, ...]) -> None:
        if place[0] == "2001:db8::7":
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        connect(stream, place)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", route)
    with serving(saying(200)) as port:
        with socket.create_server(("::1", port), family=socket.AF_INET6) if listens else nullcontext():
            assert module.dead_addresses("trigger.example.com", port, 2) == ([] if ok else ["::1"])
        if not listens:
            found = asked(invoke, "", url=f"http://trigger.example.com:{port}/")
            assert found[0] is ok
            assert ("(::1): remove the AAAA record" in found[1]) is not ok


def test_a_row_is_named_by_its_address(invoke: Invoke) -> None:
    url = f"http://127.0.0.1:{nobody()}"
    (check,) = invoke(module.main, endpoints=[{"url": f"{url}/healthcheck"}], timeout=2)["checks"]
    assert check["what"] == url.replace("://", " ")


@pytest.mark.parametrize(
    ("status", "row", "ok"),
    [
        (401, {"statuses": [200, 401]}, True),
        (502, {"statuses": [200, 401]}, False),
        (403, {}, True),
        (404, {}, True),
        (403, {"refused": [403]}, False),
        (502, {}, False),
    ],
)
def test_what_is_answered_counts(invoke: Invoke, status: int, row: dict[str, Any], ok: bool) -> None:
    with serving(saying(status)) as port:
        found = asked(invoke, "", url=f"http://127.0.0.1:{port}/otel/v1/traces", advice="set it right", **row)
    assert found[0] is ok
    assert ("set it right" in found[1]) is not ok
    assert f"answers {status}" in found[1]


@pytest.mark.parametrize(
    ("days", "ok", "left"),
    [
        ((-60, 30), True, "30 days left"),
        ((-73, 17), False, "17 days left, and was to be renewed before"),
        ((-345, 20), False, "20 days left, and was to be renewed before"),
        # Those that the gateway issues itself live half a day.
        ((-0.25, 0.25), True, "6 hours left"),
        ((-0.45, 0.05), False, "1 hours left, and was to be renewed before"),
    ],
)
def test_a_certificate_is_told_before_it_expires(
    invoke: Invoke, trust: Path, days: tuple[float, float], ok: bool, left: str
) -> None:
    with serving(saying(200), shown(days)) as port:
        found = asked(invoke, trust, url=f"https://localhost:{port}/")
    assert found[0] is ok
    assert found[1].endswith(f"its certificate has {left}")


def test_why_there_is_no_answer(invoke: Invoke, trust: Path) -> None:
    with serving(saying(200), shown()) as port:
        assert "unknown authority" in asked(invoke, "/no/such/file", url=f"https://localhost:{port}/")[1]
    with serving(saying(200), shown(names=("other.example.com",))) as port:
        assert "it is for other.example.com" in asked(invoke, trust, url=f"https://localhost:{port}/")[1]
    refused = asked(invoke, trust, url=f"https://127.0.0.1:{nobody()}/")
    assert refused[0] is False
    assert "the connection is refused" in refused[1]
    assert "has no address here" in asked(invoke, trust, url="https://nobody.invalid/")[1]
