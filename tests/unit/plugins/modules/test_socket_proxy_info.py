# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import socket_proxy_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.socket_proxy_info import (
    Call,
    Parameters,
    check_calls,
    look,
    refusals,
    speak,
)

CALLS = [Call("GET", "/_ping", 403), Call("DELETE", "/images/none", 403), Call("GET", "/images/none/json", 404)]


def statuses(*answers: int) -> Callable[[str, str], int]:
    left = iter(answers)
    return lambda _method, _path: next(left)


def networks(found: Any) -> Callable[..., Completed]:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(0, json.dumps(found), "") if argv[-1] == "proxy" else Completed(1, "", "no such object")

    return fake


def wanted(container: str = "proxy") -> Parameters:
    return Parameters(container, "inner", 2375, CALLS)


def test_it_answers_as_it_must() -> None:
    check = check_calls(statuses(403, 403, 404), CALLS)
    assert (check.ok, check.detail) == (True, "answers 3 calls as it must")


def test_each_wrong_answer_is_named() -> None:
    check = check_calls(statuses(200, 404, 503), CALLS)
    assert not check.ok
    assert check.detail == (
        "GET /_ping: 200 instead of 403; DELETE /images/none: 404 instead of 403; "
        "GET /images/none/json: 503 instead of 404"
    )


def test_one_silence_is_enough() -> None:
    asked = []

    def silent(method: str, path: str) -> int:
        asked.append((method, path))
        raise TimeoutError("timed out")

    check = check_calls(silent, CALLS)
    assert check.detail == "GET /_ping: no answer (TimeoutError: timed out)"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("container", "found", "told"),
    [
        ("other", {}, "other is not there: no such object"),
        ("proxy", {"outer": {"IPAddress": "10.0.0.2"}}, "no address on the network inner"),
        ("proxy", {"inner": {"IPAddress": ""}}, "is it running?"),
        ("proxy", None, "is it running?"),
    ],
)
def test_a_proxy_that_is_not_there_is_reported(container: str, found: Any, told: str) -> None:
    check = look(wanted(container), networks(found), lambda _host, _port: statuses())
    assert not check.ok
    assert told in check.detail


def test_it_is_asked_where_the_supervisor_asks_it() -> None:
    spoken = []

    def speaker(host: str, port: int) -> Callable[[str, str], int]:
        spoken.append((host, port))
        return statuses(403, 403, 404)

    found = {"outer": {"IPAddress": "10.0.0.2"}, "inner": {"IPAddress": "10.0.0.3"}}
    assert look(wanted(), networks(found), speaker).ok
    assert spoken == [("10.0.0.3", 2375)]


LOG = """refused: GET /_ping (403) asked by verify
refused: POST /containers/create (403) not in the form of JSON
refused: POST /containers/create (403) a key that no task has: HostConfig.Init
refused: POST /containers/create (403) a key that no task has: HostConfig.Init
[NOTICE] haproxy is up
refused: GET /version (403) -
"""


def test_refusals_are_counted_and_our_own_are_not() -> None:
    asked = []

    def logs(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        asked.append(list(argv))
        return Completed(0, LOG, "")

    check = refusals(logs, replace(wanted(), minutes=60))
    assert asked == [["docker", "logs", "--since", "60m", "proxy"]]
    assert (check.what, check.ok) == ("refusals of the socket proxy", False)
    assert check.detail == (
        "3 in the last 60 minutes: POST /containers/create (403) a key that no task has: HostConfig.Init (2 times); "
        "GET /version (403) - (1 times)"
    )


def test_without_refusals_there_is_nothing_to_say() -> None:
    quiet = refusals(lambda argv, stdin="", timeout=60: Completed(0, LOG[:105], ""), replace(wanted(), minutes=5))
    assert (quiet.ok, quiet.detail) == (True, "none in the last 5 minutes")
    lost = refusals(lambda argv, stdin="", timeout=60: Completed(1, "", "no such container"), wanted())
    assert (lost.ok, "no such container" in lost.detail) == (False, True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/images/none/json" else 403)
        self.end_headers()

    do_POST = do_DELETE = do_GET

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_real_calls(port: int) -> None:
    ask = speak("127.0.0.1", port)
    assert [ask(call.method, call.path) for call in CALLS] == [403, 403, 404]


def test_the_module(invoke: Any, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(socket_proxy_info, "run", networks({"trigger-proxy": {"IPAddress": "127.0.0.1"}}))
    calls: list[dict[str, object]] = [
        {"path": "/_ping"},
        {"path": "/images/none/json", "status": 404},
        {"path": "/x", "method": "POST"},
    ]
    result = invoke(socket_proxy_info.main, check=True, proxy_container="proxy", proxy_port=port, calls=calls)
    assert result["checks"] == [{"what": "socket proxy", "ok": True, "detail": "answers 3 calls as it must"}]
    calls[0]["status"] = 200
    result = invoke(socket_proxy_info.main, proxy_container="proxy", proxy_port=port, calls=calls)
    assert not result["checks"][0]["ok"]
    assert "failed" not in result
