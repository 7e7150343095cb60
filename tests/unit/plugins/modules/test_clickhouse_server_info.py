# SPDX-License-Identifier: MIT
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._clickhouse import QueryError, server
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.modules import clickhouse_server_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.clickhouse_server_info import (
    RIGHTS,
    Found,
    look,
)

from tests.unit.plugins.modules.servers import nobody, serving, ssh

Invoke = Callable[..., dict[str, Any]]
NO_RIGHT = "CREATE DATABASE ON trigger_dev.*"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"])).decode()
        given = (self.headers["X-ClickHouse-User"], self.headers["X-ClickHouse-Key"])
        status, text = 200, "25.8.18.1\n"
        if given != ("tri@gger", "secret"):
            status, text = 403, "Code: 516. DB::Exception: Authentication failed"
        elif query.startswith("CHECK GRANT"):
            text = "0\n" if query.endswith(NO_RIGHT) else "1\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def clickhouse() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_what_is_found(invoke: Invoke) -> None:
    with clickhouse() as port:
        result = invoke(
            clickhouse_server_info.main, url=f"http://tri%40gger@localhost:{port}/?x=y", password="secret", check=True
        )
    assert result["clickhouse_server"] == {"version": "25.8.18.1", "missing_rights": [NO_RIGHT]}
    assert result["changed"] is False


def test_a_wrong_password(invoke: Invoke) -> None:
    with clickhouse() as port:
        result = invoke(
            clickhouse_server_info.main,
            url=f"http://tri%40gger@localhost:{port}",
            password="nonsense",
            advice="Set it.",
        )
    assert result["msg"] == f"ClickHouse at localhost:{port} refuses the login of tri@gger (403). Set it."


def test_a_server_that_cannot_be_asked_for_rights() -> None:
    def ask(statement: str) -> str:
        if statement.startswith("CHECK"):
            raise QueryError("refuses a query: Code: 62. DB::Exception: Syntax error")
        return "23.8.1.1"

    assert look(ask) == Found("23.8.1.1", None)


def test_another_refusal_is_told() -> None:
    def ask(statement: str) -> str:
        if statement.startswith("CHECK"):
            raise QueryError("Code: 241. Memory limit")
        return "25.8.1.1"

    with pytest.raises(QueryError):
        look(ask)


def test_nobody_and_somebody_else_listen(invoke: Invoke) -> None:
    port = nobody()
    assert "connection is refused" in invoke(clickhouse_server_info.main, url=f"http://u@localhost:{port}")["msg"]
    with serving(ssh) as port:
        assert "does not speak HTTP" in invoke(clickhouse_server_info.main, url=f"http://u@localhost:{port}")["msg"]


@pytest.mark.parametrize(
    ("url", "word"),
    [("http://u:secret@h", "holds a password"), ("clickhouse://u@h", "http"), ("http://u@h:x", "port is not a number")],
)
def test_urls_that_cannot_be_used(url: str, word: str) -> None:
    with pytest.raises(ServiceError, match=word) as raised:
        server(url, "", "")
    assert "secret" not in str(raised.value)


def test_ports() -> None:
    assert server("http://h", "", "").origin.endpoint.port == 8123
    assert server("https://h", "", "").origin.endpoint.port == 8443
    assert server("https://h:1", "", "").origin.endpoint.port == 1
    assert server("https://h", "", "").user == "default"


def test_rights_cover_what_migrations_do() -> None:
    assert {"CREATE DATABASE ON trigger_dev.*", "CREATE TABLE ON default.*"} <= set(RIGHTS)
