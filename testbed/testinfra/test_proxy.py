# SPDX-License-Identifier: MIT
"""The socket proxy lets pass what a run needs and nothing else: whoever gets more is root on the host."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from verification.deployment import Deployment
from verification.nodes import Node

PROXY = "trigger-supervisor-docker-socket-proxy-1"

# Sends requests as they are given, from the host, which reaches its own containers. Prints [[status, body], ...].
SEND = """
import http.client, json, sys
asked = json.loads(sys.argv[1])
answers = []
for method, path, body, headers in asked['requests']:
    connection = http.client.HTTPConnection(asked['address'], 2375, timeout=60)
    data = body.encode() if body is not None else None
    connection.putrequest(method, path, skip_accept_encoding=True)
    if data is not None:
        connection.putheader('Content-Length', str(len(data)))
    for name, value in headers.items():
        connection.putheader(name, value)
    if data is not None:
        connection.putheader('Content-Type', 'application/json')
    connection.endheaders()
    if data is not None:
        connection.send(data)
    answer = connection.getresponse()
    answers.append([answer.status, answer.read().decode(errors='replace')])
    connection.close()
print(json.dumps(answers))
"""

# The pull needs the login of the registry, which is read on the host and sent in a header as the supervisor does.
PULL = """
import base64, http.client, json, re, sys
address, image, registry = sys.argv[1:]
environment = dict(pair.split('=', 1) for pair in json.load(sys.stdin))
login = {name: environment['DOCKER_REGISTRY_' + name.upper()] for name in ('username', 'password')}
login['serveraddress'] = registry
connection = http.client.HTTPConnection(address, 2375, timeout=60)
token = base64.urlsafe_b64encode(json.dumps(login).encode()).decode()
headers = {'X-Registry-Auth': token, 'Content-Length': '0'}
connection.request('POST', '/images/create?fromImage=' + image, headers=headers)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.read().decode(errors='replace')]))
"""


@dataclass(frozen=True)
class Proxy:
    """The proxy of one worker."""

    worker: Node
    image: str

    @property
    def address(self) -> str:
        """Its IP address on the network that it shares with the supervisor."""
        return self.worker.address(PROXY, "trigger-proxy")

    def send(self, *requests: tuple[str, str, str | None, dict[str, str]]) -> list[tuple[int, str]]:
        """Send requests and give the answers."""
        asked = {"address": self.address, "requests": requests}
        return [(status, body) for status, body in self.worker.python(SEND, json.dumps(asked))]

    def create(self, body: str) -> tuple[int, str]:
        """Ask for a container; what is created against expectation is removed at once."""
        (answer,) = self.send(("POST", "/containers/create?name=trigger-probe-test", body, {}))
        if answer[0] == 201:
            self.worker.output("docker rm --force %s", json.loads(answer[1])["Id"])
        return answer

    def task(self, **settings: Any) -> dict[str, Any]:
        """Give the body of a create as the supervisor sends it, with more in its HostConfig."""
        return {
            "Image": self.image,
            "Env": ["TRIGGER_RUN_ID=run_1", "TRIGGER_MACHINE_CPU=0.5"],
            "HostConfig": {
                "NetworkMode": "trigger-runner",
                "AutoRemove": True,
                "NanoCpus": 500000000,
                "Memory": 536870912,
            }
            | settings,
        }


@pytest.fixture
def proxy(worker: Node, deployment: Deployment) -> Proxy:
    """The proxy of each worker."""
    return Proxy(worker, f"{deployment.registry}/trigger/probe:1")


def test_the_four_calls_of_a_run_pass(proxy: Proxy, deployment: Deployment) -> None:
    pull = proxy.worker.output(
        "docker inspect --format '{{json .Config.Env}}' trigger-supervisor-supervisor-1 | python3 -c %s %s %s %s",
        PULL,
        proxy.address,
        proxy.image,
        deployment.registry,
    )
    status, progress = json.loads(pull)
    assert status == 200, progress
    assert '"error"' not in progress
    ((status, _),) = proxy.send(("GET", f"/images/{proxy.image}/json", None, {}))
    assert status == 200
    body = proxy.task() | {"Entrypoint": ["sleep"], "Cmd": ["60"]}
    ((status, answer),) = proxy.send(("POST", "/containers/create?name=trigger-probe-test", json.dumps(body), {}))
    assert status == 201, answer
    identity = json.loads(answer)["Id"]
    try:
        ((status, answer),) = proxy.send(("POST", f"/containers/{identity}/start", "", {}))
        assert status == 204, answer
        assert proxy.worker.output("docker inspect --format '{{.State.Running}}' %s", identity) == "true"
    finally:
        proxy.worker.output("docker rm --force %s", identity)


def test_everything_else_is_refused(proxy: Proxy) -> None:
    identity = proxy.worker.container(PROXY)["Id"]
    calls = [
        ("GET", "/_ping"),
        ("HEAD", "/_ping"),
        ("GET", "/version"),
        ("GET", "/info"),
        ("GET", "/events"),
        ("GET", "/containers/json"),
        ("GET", "/images/json"),
        ("GET", "/networks"),
        ("GET", "/volumes"),
        ("GET", "/secrets"),
        ("GET", f"/containers/{identity}/json"),
        ("GET", f"/containers/{identity}/logs?stdout=1"),
        ("GET", f"/containers/{identity}/archive?path=/etc/passwd"),
        ("GET", "/v1.41/containers/json"),
        ("GET", f"/v1.41/images/{proxy.image}/json"),
        ("POST", "/v1.41/containers/create"),
        ("POST", f"/v1.41/containers/{identity}/start"),
        ("POST", f"/containers/{identity}/exec"),
        ("POST", f"/exec/{identity}/start"),
        ("POST", f"/containers/{identity}/stop"),
        ("POST", f"/containers/{identity}/kill"),
        ("POST", f"/containers/{identity}/attach"),
        ("POST", f"/containers/{identity}/update"),
        ("POST", "/containers/trigger-supervisor-supervisor-1/start"),
        ("POST", "/containers/prune"),
        ("POST", "/containers/create/"),
        ("POST", "//containers/create"),
        ("POST", "/containers/%63reate"),
        ("POST", "/images/prune"),
        ("POST", "/images/load"),
        ("POST", f"/images/{proxy.image}/tag?repo=x"),
        ("POST", f"/images/{proxy.image}/push"),
        ("POST", "/build"),
        ("POST", "/commit"),
        ("POST", "/networks/create"),
        ("POST", "/networks/trigger-data/connect"),
        ("POST", "/volumes/create"),
        ("POST", "/swarm/init"),
        ("PUT", f"/containers/{identity}/archive?path=/"),
        ("PUT", "/containers/create"),
        ("DELETE", f"/containers/{identity}?force=1"),
        ("DELETE", f"/images/{proxy.image}"),
        ("CONNECT", "/containers/create"),
    ]
    answers = proxy.send(*((method, path, "{}" if method in ("POST", "PUT") else None, {}) for method, path in calls))
    assert [(call, status) for call, (status, _) in zip(calls, answers, strict=True) if status not in (400, 403)] == []
    assert sum(status == 403 for status, _ in answers) >= len(calls) - 1


def test_a_container_that_is_only_a_task_passes(proxy: Proxy) -> None:
    """Guards the test below: what it changes about this body is what is refused."""
    status, answer = proxy.create(json.dumps(proxy.task()))
    assert status == 201, answer


@pytest.mark.parametrize("settings", [{"Privileged": True}, {"NetworkMode": "host"}], ids=["privileged", "network"])
def test_a_container_that_is_more_than_a_task_is_refused(proxy: Proxy, settings: dict[str, Any]) -> None:
    """Of what there is to try, tests/socket_proxy tries the rest."""
    assert proxy.create(json.dumps(proxy.task(**settings)))[0] == 403
