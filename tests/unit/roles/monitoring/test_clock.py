# SPDX-License-Identifier: MIT
"""The clock of a host against the time in an answer, which is one of whole seconds."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from trigger_metrics.clock import AGENT, ClockError, clock, least, skew

from tests.unit.plugins.certificates import issue


@pytest.mark.parametrize(
    ("asked", "answered", "date", "wanted"),
    [
        # The header says 100 from 100 to 101.
        (100.0, 100.1, 100, 0),
        (100.9, 101.0, 100, 0),
        (101.0, 101.4, 100, 0),
        (99.9, 100.0, 100, 0),
        (107.5, 107.6, 100, 6.5),
        (92.0, 92.5, 100, -7.5),
        # An answer that took long proves little.
        (99.0, 109.0, 100, 0),
        (105.0, 115.0, 100, 4),
    ],
)
def test_the_least_that_it_differs(asked: float, answered: float, date: float, wanted: float) -> None:
    assert least(asked, answered, date) == pytest.approx(wanted)


class Webapp(http.server.BaseHTTPRequestHandler):
    status, wrong_by, date = 200, 0.0, ""

    def do_GET(self) -> None:
        assert (self.path, self.headers["User-Agent"]) == ("/healthcheck", AGENT)
        self.send_response_only(self.status)
        if self.date != "none":
            self.send_header("Date", self.date or formatdate(time.time() + self.wrong_by, usegmt=True))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webapp(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Webapp) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def address(server: http.server.HTTPServer, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.server_address[1]}/healthcheck"


# Also a gateway that does not reach the webapp has a clock.
@pytest.mark.parametrize("status", [200, 301, 502])
@pytest.mark.parametrize(("wrong_by", "wanted"), [(0.0, 0.0), (3600.0, -3600.0), (-3600.0, 3600.0)])
def test_it_is_compared(
    webapp: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, wrong_by: float, wanted: float
) -> None:
    monkeypatch.setattr(Webapp, "status", status)
    monkeypatch.setattr(Webapp, "wrong_by", wrong_by)
    found = {each.name: each.value for each in clock({"url": address(webapp), "skew_max_seconds": 5})}
    assert found["trigger_clock_skew_max_seconds"] == 5
    assert found["trigger_clock_skew_seconds"] == pytest.approx(wanted, abs=2 if wanted else 0)


def test_a_certificate_that_seems_to_have_ended_does_not_hide_it(webapp: http.server.HTTPServer) -> None:
    context = issue("trigger.example.com", names=["trigger.example.com"], days=(-9, -2)).serving()
    webapp.socket = context.wrap_socket(webapp.socket, server_side=True)
    assert skew(address(webapp, "https")) == 0


@pytest.mark.parametrize("date", ["none", "yesterday"])
def test_an_answer_without_a_time_is_told(
    webapp: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setattr(Webapp, "date", date)
    with pytest.raises(ClockError, match=r"/healthcheck answers without the time \(header Date\)"):
        skew(address(webapp))


def test_a_webapp_that_is_not_reached_is_told() -> None:
    found = clock({"url": "http://127.0.0.1:1/healthcheck", "skew_max_seconds": 5})
    assert next(found).name == "trigger_clock_skew_max_seconds"
    with pytest.raises(ClockError, match=r"http://127\.0\.0\.1:1/healthcheck does not answer: .*refused"):
        next(found)
