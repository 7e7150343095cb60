# SPDX-License-Identifier: MIT
from __future__ import annotations

import socket

import pytest
from hello import hello

from tests.unit.plugins.modules.servers import nobody


def test_reach_tells_open_refused_and_unresolved_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert hello.reach(f"127.0.0.1:{port}") == "open"
    assert hello.reach(f"127.0.0.1:{nobody()}") == "refused"
    assert hello.reach("no-such-host.invalid:1") == "unresolved"


def test_span_is_one_span_in_otlp_json() -> None:
    found = hello.span("run_x", 1)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [entry["name"] for entry in found] == ["run_x"]
    assert len(found[0]["traceId"]) == 32


@pytest.mark.parametrize("answers", [[500, 502, 200], [None, 503, 200], [409], [500] * 5])
def test_a_server_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch, answers: list[int | None]) -> None:
    """As the genuine runner does; what is refused is refused."""
    left = list(answers)
    pauses: list[float] = []

    def answer(*_: object) -> tuple[int, bytes]:
        if (status := left.pop(0)) is None:
            raise hello.Unreachable
        return status, b""

    monkeypatch.setattr(hello, "request", answer)
    monkeypatch.setattr("time.sleep", pauses.append)
    assert hello.post("http://supervisor", {}, {}) == (answers[-1], b"")
    assert left == []
    assert pauses == list(hello.RETRIES)[: len(answers) - 1]


def test_a_run_tells_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than the webapp waits for a sign: without one it would begin the run again."""
    told: list[float | str] = []

    def beat() -> None:
        told.append("alive")
        if told.count("alive") == 1:
            raise hello.Unreachable

    monkeypatch.setattr("time.sleep", told.append)
    hello.work(70, beat)
    assert told == [30, "alive", 30, "alive", 10]


def test_a_call_of_the_task_itself_bridges_a_restart_of_the_webapp(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the supervisor bridges one for the run's own calls."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)

    def refused(*_: object) -> tuple[int, bytes]:
        if sum(pauses) < 30:
            raise hello.Unreachable("connection refused")
        return 200, b"{}"

    monkeypatch.setattr(hello, "request", refused)
    api = hello.Api({"TRIGGER_API_URL": "http://control.example.com:8030", "TRIGGER_SECRET_KEY": "x"})
    assert api.get("/api/v3/runs/run_1")[0] == 200
