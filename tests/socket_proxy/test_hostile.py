# SPDX-License-Identifier: MIT
"""What asks for more than a run is refused. One engine tells of what has happened, another one of all that came."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.socket_proxy import proxies
from tests.socket_proxy.conftest import RUNNERS, Marker, Start
from tests.socket_proxy.proxies import IMAGE, NETWORK, Proxy, Recorder
from tests.socket_proxy.requests import (
    BENIGN,
    HOSTILE,
    JSON,
    Hostile,
    changed,
    create,
    dockerode,
    http,
    supervisor,
    task,
    top,
)


def placed(data: bytes) -> bytes:
    """Put a network that exists into a request, with a head that says the new length."""
    head, blank, body = data.partition(b"\r\n\r\n")
    changed = body.replace(NETWORK.encode(), RUNNERS.encode())
    head = head.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(changed))
    return head + blank + changed


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_reaches_the_engine(recording: Proxy, recorder: Recorder, name: str) -> None:
    row = HOSTILE[name]
    statuses = recording.statuses(row.data, pause=row.pause)
    seen = recorder.take()
    harmless = [(line, body) for line, body in seen if line.startswith(f"{BENIGN} ") and body in (b"", b"{}")]
    assert len(seen) == len(harmless) <= row.benign, seen
    assert not [status for status in statuses if 200 <= status < 300], statuses


def test_the_engine_that_records_sees_what_passes(recording: Proxy, recorder: Recorder) -> None:
    """A judge who sees nothing would find all of them innocent."""
    assert recording.statuses(create(task())) == [201]
    ((line, body),) = recorder.take()
    assert line.startswith("POST /containers/create?name=")
    assert json.loads(body) == task(PidsLimit=4096, MemorySwap=536870912)


@pytest.mark.parametrize(
    ("host", "added"),
    [
        ({"NetworkMode": NETWORK}, {"PidsLimit": 4096}),
        ({"NetworkMode": NETWORK, "Memory": 0}, {"PidsLimit": 4096}),
        ({"Memory": 7000000, "NetworkMode": NETWORK}, {"PidsLimit": 4096, "MemorySwap": 7000000}),
    ],
)
def test_limits_are_put_in(
    recording: Proxy, recorder: Recorder, host: dict[str, object], added: dict[str, int]
) -> None:
    assert recording.statuses(create(task() | {"HostConfig": host})) == [201]
    ((_, body),) = recorder.take()
    assert json.loads(body)["HostConfig"] == host | added


def test_without_a_limit_of_processes_there_is_none(start: Start, haproxy: str, recorder: Recorder) -> None:
    proxy = start("boundless", haproxy, recorder.path)
    recorder.take()
    assert proxy.statuses(create(task())) == [201]
    assert proxy.statuses(create(task() | {"HostConfig": {"NetworkMode": NETWORK}})) == [201]
    bodies = [json.loads(body)["HostConfig"] for _, body in recorder.take()]
    assert bodies == [task(MemorySwap=536870912)["HostConfig"], {"NetworkMode": NETWORK}]


def test_the_genuine_engine_tells_of_nothing(genuine: Proxy, marker: Marker) -> None:
    """All of them at once, then a good one: it has an event, and they have none."""

    def send(item: tuple[int, Hostile]) -> tuple[int, list[int]]:
        number, row = item
        return number, genuine.statuses(placed(marker.put(row.data)), pause=row.pause)

    names = list(HOSTILE)
    since = time.time()
    with ThreadPoolExecutor(8) as pool:
        answers = dict(pool.map(send, enumerate(HOSTILE.values())))
    passed = {names[number]: found for number, found in answers.items() if any(200 <= each < 300 for each in found)}
    assert passed == {}
    good = placed(marker.put(create(task(AutoRemove=False))))
    assert genuine.statuses(good) == [201]
    until = time.time()
    while not (found := proxies.events(since, until + 1, marker.text)):
        assert time.time() < until + 60, "the engine tells of nothing at all"
    assert [(event["Type"], event["Action"]) for event in found] == [("container", "create")]


@pytest.mark.parametrize(
    ("case", "image", "passes"),
    [
        ("all-images", "docker.io/library/alpine:3", True),
        ("all-images", "x y", False),
        ("two-images", "a.example.com/x:1", True),
        ("two-images", "b.example.com/x:1", True),
        ("two-images", "b.example.com/y:1", False),
        ("two-images", IMAGE, False),
    ],
)
def test_images_are_those_that_are_allowed(
    start: Start, haproxy: str, recorder: Recorder, case: str, image: str, passes: bool
) -> None:
    proxy = start(case, haproxy, recorder.path)
    recorder.take()
    requests = [
        create(task() | {"Image": image}),
        http(f"/images/create?fromImage={image}"),
        http(f"/images/{image}/json", method="GET"),
    ]
    statuses = [proxy.statuses(each) for each in requests]
    assert statuses == ([[201], [201], [404]] if passes else [[403]] * 3 if " " not in image else [[403], [400], [400]])
    assert len(recorder.take()) == (3 if passes else 0)


def test_the_resource_monitor_reads_three_things_more(start: Start, haproxy: str, recorder: Recorder) -> None:
    proxy = start("monitor", haproxy, recorder.path)
    read = ["/info", "/containers/json", "/containers/json?all=true", f"/containers/{'a' * 64}/json"]
    assert [proxy.statuses(http(target, method="GET")) for target in read] == [[404]] * 4
    others = ["/version", "/containers/x/json", f"/containers/{'a' * 64}/logs"]
    assert [proxy.statuses(http(target, method="GET")) for target in others] == [[403]] * 3
    assert proxy.statuses(http("/info")) == [403]


def test_a_refusal_says_why(recording: Proxy) -> None:
    answer = recording.send(create(task(Privileged=True)))
    assert answer.endswith(b'{"message":"refused by the socket proxy: a key that no task has: HostConfig.Privileged"}')
    recording.send(http("/containers/prune?secret=hidden", "{}", JSON))
    log = recording.log(
        "refused: POST /containers/create (403) a key that no task has: HostConfig.Privileged",
        "refused: POST /containers/prune (403)",
    )
    assert "hidden" not in log


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (top('"Annotations": {"x": "hidden"}'), "a key that no task has: Annotations"),
        (top('"A hidden key": 1'), "a key that no task has: one whose name is not plain"),
        (top(f'"{"K" * 65}": 1'), "a key that no task has: one whose name is not plain"),
        (changed('"CgroupParent": "hidden"'), "a key that no task has: HostConfig.CgroupParent"),
        (changed('"Memory": 1'), "a key twice: HostConfig.Memory"),
        (top('"Env": []'), "a key twice: Env"),
        (json.dumps(task(Memory="hidden")), "a value of another type: HostConfig.Memory"),
        (json.dumps(task(NetworkMode="hidden")), "another network, image or host name: HostConfig.NetworkMode"),
        (json.dumps({"HostConfig": {"NetworkMode": NETWORK}}), "without Image"),
        (json.dumps({"Image": IMAGE, "HostConfig": {}}), "without HostConfig.NetworkMode"),
    ],
)
def test_a_refusal_names_the_key_and_no_value(recording: Proxy, body: str, why: str) -> None:
    answer = recording.send(create(body))
    assert answer.endswith(
        json.dumps({"message": f"refused by the socket proxy: {why}"}, separators=(",", ":")).encode()
    )
    assert "hidden" not in recording.log(f"refused: POST /containers/create (403) {why}\n")


def test_what_passes_is_not_logged(recording: Proxy) -> None:
    """Between two requests that are refused, which stand in the log one behind the other."""
    body = supervisor("runner-abc", ["SECRET=hidden"])
    assert recording.statuses(http("/of-the-beginning", method="GET")) == [403]
    assert recording.statuses(create(body, query=dockerode(body))) == [201]
    assert recording.statuses(http("/of-the-end", method="GET")) == [403]
    lines = recording.log("/of-the-end").splitlines()[-2:]
    assert [line.split()[2] for line in lines] == ["/of-the-beginning", "/of-the-end"]


def test_http_2_is_not_spoken(recording: Proxy) -> None:
    assert recording.statuses(HOSTILE["http/2"].data) == [400]
