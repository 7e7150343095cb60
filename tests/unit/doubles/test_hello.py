# SPDX-License-Identifier: MIT
from __future__ import annotations

import socket

from hello import hello


def test_reach_tells_open_refused_and_unresolved_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert hello.reach(f"127.0.0.1:{port}") == "open"
    assert hello.reach(f"127.0.0.1:{port}") == "refused"
    assert hello.reach("no-such-host.invalid:1") == "unresolved"


def test_span_is_one_span_in_otlp_json() -> None:
    found = hello.span("run_x", 1)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [entry["name"] for entry in found] == ["run_x"]
    assert len(found[0]["traceId"]) == 32
