# SPDX-License-Identifier: MIT
"""The well-known proxy runs as the role runs it, and passes what a run needs; what the role says of it is true."""

from __future__ import annotations

from typing import Any

import pytest

from tests.socket_proxy.conftest import Start
from tests.socket_proxy.proxies import IMAGE, Proxy, Recorder
from tests.socket_proxy.requests import JSON, create, http, task


@pytest.fixture
def classic(start: Start, rendered: dict[str, dict[str, Any]], recorder: Recorder) -> Proxy:
    """It, in front of the engine that records."""
    found = start("classic", rendered["classic"]["service"]["image"], recorder.path)
    recorder.take()
    return found


def test_the_four_calls_pass(classic: Proxy, recorder: Recorder) -> None:
    calls = [
        http(f"/images/{IMAGE}/json", method="GET"),
        http(f"/images/create?fromImage={IMAGE}"),
        create(task()),
        http(f"/containers/{'a' * 64}/start"),
    ]
    assert [classic.statuses(each) for each in calls] == [[404], [201], [201], [201]]
    assert len(recorder.take()) == 4


def test_it_is_no_protection_against_the_supervisor(classic: Proxy) -> None:
    """Which the documents say of it; the other mode is for those who want one."""
    assert classic.statuses(create(task(Privileged=True, Binds=["/:/host"]))) == [201]


@pytest.mark.parametrize("case", ["strict", "monitor", "classic"])
def test_what_the_role_expects_of_a_proxy_is_so(
    start: Start, rendered: dict[str, dict[str, Any]], recorder: Recorder, case: str
) -> None:
    proxy = start(case, rendered[case]["service"]["image"], recorder.path)
    recorder.take()
    calls = rendered[case]["calls"]
    assert len(calls) >= 6
    for call in calls:
        request = http(call["path"], "", JSON, method=call.get("method", "GET"))
        assert proxy.statuses(request) == [call.get("status", 403)], call
    assert len(recorder.take()) == 1
