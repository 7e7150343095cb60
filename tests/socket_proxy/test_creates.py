# SPDX-License-Identifier: MIT
"""What a supervisor and the probe of a worker ask for passes, and the genuine engine does it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.modules import runner_probe

from testbed.common import ROOT, docker
from tests.socket_proxy.conftest import RUNNERS, Marker
from tests.socket_proxy.proxies import IMAGE, Proxy, Recorder
from tests.socket_proxy.requests import JSON, create, dockerode, http, supervisor, task

# Text of anybody: quotes, escapes of all kinds, what looks like keys, other alphabets and no characters at all.
TEXTS = [
    "PLAIN=x",
    "QUOTES=\"'`\\ \\u0050rivileged",
    'KEYS=","HostConfig":{"Privileged":true},"x":"',
    "LINES=a\nb\r\tc\u2028\u2029",
    "CONTROL=\x01\x1f\x7f",
    "WORLD=é ſ K 漢字 😀",
    "EMPTY=",
]
LARGE = [f"VARIABLE_{number}={'x' * 990}" for number in range(115)]
# As large as it may be where the query repeats it.
MIDDLE = LARGE[:55]


def wanted(options: dict[str, Any]) -> dict[str, Any]:
    """Give options with the network of this run, and a command that goes on."""
    host = options["HostConfig"] | {"NetworkMode": RUNNERS}
    return options | {"HostConfig": host, "Entrypoint": ["sleep"], "Cmd": ["60"]}


@pytest.mark.parametrize("ascii_only", [True, False], ids=["escapes", "utf-8"])
@pytest.mark.parametrize("environment", [TEXTS, MIDDLE], ids=["texts", "middle"])
def test_a_container_of_a_run_starts(genuine: Proxy, marker: Marker, environment: list[str], ascii_only: bool) -> None:
    options = wanted(supervisor(f"runner-{marker.text}", environment))
    body = json.dumps(options, ensure_ascii=ascii_only)
    assert starts(genuine, create(body, query=dockerode(options))) == environment


def test_a_large_environment_passes(genuine: Proxy, marker: Marker) -> None:
    options = wanted(supervisor(f"runner-{marker.text}", LARGE))
    body = json.dumps(options)
    assert 115_000 < len(body) < 120_000
    assert starts(genuine, create(body, query=f"name=runner-{marker.text}")) == LARGE


def starts(proxy: Proxy, data: bytes) -> list[str]:
    """Create a container and start it; gives the environment that it has been given."""
    answer = proxy.send(data)
    assert b" 201 " in answer.splitlines()[0], answer
    (identity,) = re.findall(rb'"Id":"([0-9a-f]{64})"', answer)
    name = identity.decode()
    try:
        assert proxy.statuses(http(f"/containers/{name}/start")) == [204]
        found = json.loads(docker("inspect", name))[0]
        assert found["State"]["Running"]
        assert not found["HostConfig"]["Privileged"]
        assert found["HostConfig"]["PidsLimit"] == 4096
        assert found["HostConfig"]["MemorySwap"] == found["HostConfig"]["Memory"] > 0
        assert set(found["NetworkSettings"]["Networks"]) == {RUNNERS}
        return [each for each in found["Config"]["Env"] if not each.startswith("PATH=")]
    finally:
        docker("rm", "--force", name)


def test_the_probe_of_a_worker_passes(recording: Proxy, recorder: Recorder) -> None:
    """With the module's own hands: what it sends is what has to pass."""
    given = runner_probe.Parameters(
        "proxy",
        "trigger-proxy",
        2375,
        IMAGE,
        "registry.example.com:5000",
        "x",
        "y",
        None,
        True,
        "trigger-runner",
        [],
        [],
        [],
        5,
    )
    call = runner_probe.speak(recording.address, 2375, 5)
    with pytest.raises(runner_probe.ProbeError, match="inspect"):
        runner_probe.start(call, given, "trigger-probe-0123456789abcdef", ["docker-socket-proxy:2375"])
    options = runner_probe.container(given, ["docker-socket-proxy:2375"], "trigger-probe-0123456789abcdef")
    body = json.dumps(options, ensure_ascii=False)
    path = f"/containers/create?{runner_probe.query(options)}"
    assert call("POST", path, {"Content-Type": "application/json"}, body).status == 201
    # The engine that records says the same to every POST.
    assert call("POST", f"/containers/{'a' * 64}/start", {}, None).status == 201
    assert call("POST", f"/images/create?fromImage={quote(IMAGE, safe='')}", {}, None).status == 201
    assert [line.split("?")[0] for line, _ in recorder.take()] == [
        f"GET /images/{IMAGE}/json HTTP/1.1",
        "POST /containers/create",
        f"POST /containers/{'a' * 64}/start HTTP/1.1",
        "POST /images/create",
    ]


def keys(options: dict[str, Any]) -> set[str]:
    """Give the keys of a body, those of its HostConfig too."""
    return {*options, *(f"HostConfig.{key}" for key in options["HostConfig"])}


def test_the_probe_sends_the_keys_that_a_supervisor_sends() -> None:
    """A key that is not in the rules is refused before the worker takes runs. `supervisor` is upstream's docker.ts."""
    genuine = keys(supervisor("runner-x", []) | {"platform": "linux/amd64"})

    def probe(limited: bool) -> set[str]:
        given = runner_probe.Parameters(
            "", "", 0, IMAGE, None, None, None, "linux/amd64", limited, "trigger-runner", [], [], [], 5
        )
        return keys(runner_probe.container(given, [], "trigger-probe-x"))

    assert probe(limited=True) == genuine | {"Entrypoint", "Cmd"}
    # What DOCKER_ENFORCE_MACHINE_PRESETS alone has the supervisor send.
    assert probe(limited=False) == probe(limited=True) - {"HostConfig.NanoCpus", "HostConfig.Memory"}
    rows = yaml.safe_load((ROOT / "roles/supervisor/vars/main/create.yml").read_text())["__supervisor_create_keys"]
    for series in ("4.2", "4.5"):
        assert {row["key"] for row in rows if "probe" not in row["since"] and row["since"] <= series} == genuine
    assert {row["key"] for row in rows if row["since"] == "probe"} == {"Entrypoint", "Cmd"}


@pytest.mark.parametrize(
    "data",
    [
        http(f"/images/create?{dockerode({'fromImage': IMAGE})}", json.dumps({"fromImage": IMAGE}), JSON),
        http(f"/images/create?{dockerode({'fromImage': IMAGE, 'platform': 'linux/arm64'})}", "{}", JSON),
        http(f"/images/create?fromImage={IMAGE}", "", "X-Registry-Auth: " + "e" * 1000),
        http(f"/images/create?fromImage={IMAGE}%40sha256%3A{'a' * 64}"),
        http(f"/images/{IMAGE}@sha256:{'a' * 64}/json", method="GET"),
        http(f"/containers/{'a' * 64}/start", "{}", JSON),
        create(task(), "Expect: 100-continue"),
        create(task(), version="1.0"),
        create(json.dumps(task(), indent="\t\r\n ")),
    ],
    ids=["pull", "platform", "login", "digest", "inspect", "start", "expect", "1.0", "blanks"],
)
def test_what_a_client_may_do_as_well_passes(recording: Proxy, recorder: Recorder, data: bytes) -> None:
    assert recording.statuses(data)[-1] in (201, 404)
    assert len(recorder.take()) == 1


def test_one_connection_carries_them_all(recording: Proxy, recorder: Recorder) -> None:
    """And a refusal in between does not take the others along."""
    requests = [create(task()), http("/_ping", method="GET"), create(task(Privileged=True)), create(task())]
    assert recording.statuses(b"".join(requests), answers=4) == [201, 403, 403, 201]
    assert len(recorder.take()) == 2
