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
    chunked = headers.get('Transfer-Encoding') == 'chunked'
    connection.putrequest(method, path, skip_accept_encoding=True)
    if data is not None and not chunked:
        connection.putheader('Content-Length', str(len(data)))
    for name, value in headers.items():
        connection.putheader(name, value)
    if data is not None:
        connection.putheader('Content-Type', 'application/json')
    connection.endheaders()
    if data is not None:
        connection.send(b'%x\\r\\n%s\\r\\n0\\r\\n\\r\\n' % (len(data), data) if chunked else data)
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

    def create(self, body: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Ask for a container; what is created against expectation is removed at once."""
        (answer,) = self.send(("POST", "/containers/create", body, headers or {}))
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
    ((status, answer),) = proxy.send(("POST", "/containers/create?name=trigger-test", json.dumps(body), {}))
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


def test_a_path_cannot_be_disguised(proxy: Proxy) -> None:
    """The engine cleans paths; a name of an image must not become the name of something else."""
    disguises = [
        "/images/../containers/json",
        "/images/x/../../containers/json",
        f"/images/../containers/{PROXY}/json",
        "/images/%2e%2e/containers/json",
    ]
    answers = proxy.send(*(("GET", path, None, {}) for path in disguises))
    assert [(path, status) for path, (status, _) in zip(disguises, answers, strict=True) if status == 200] == []
    assert not [path for path, (_, body) in zip(disguises, answers, strict=True) if PROXY in body and "Config" in body]


def test_a_container_that_is_only_a_task_passes(proxy: Proxy) -> None:
    """Guards the tests below: what they change about this body is what is refused."""
    status, answer = proxy.create(json.dumps(proxy.task()))
    assert status == 201, answer


@pytest.mark.parametrize(
    "settings",
    [
        {"Privileged": True},
        {"Binds": ["/:/host"]},
        {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
        {"VolumesFrom": [PROXY]},
        {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]},
        {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]},
        {"DeviceCgroupRules": ["a *:* rwm"]},
        {"CapAdd": ["SYS_ADMIN"]},
        {"PidMode": "host"},
        {"IpcMode": "host"},
        {"UTSMode": "host"},
        {"UsernsMode": "host"},
        {"CgroupnsMode": "host"},
        {"CgroupParent": "/"},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"Sysctls": {"net.ipv4.ip_forward": "1"}},
        {"Runtime": "other"},
        {"MaskedPaths": []},
        {"ReadonlyPaths": []},
        {"NetworkMode": "host"},
        {"NetworkMode": f"container:{PROXY}"},
        {"NetworkMode": "trigger-proxy"},
        {"NetworkMode": "trigger-data"},
        {"NetworkMode": "bridge"},
    ],
    ids=lambda settings: "-".join(f"{name}={value}"[:32] for name, value in settings.items()),
)
def test_a_container_that_is_more_than_a_task_is_refused(proxy: Proxy, settings: dict[str, Any]) -> None:
    assert proxy.create(json.dumps(proxy.task(**settings)))[0] == 403


@pytest.mark.parametrize(
    "key",
    ["privileged", "PRIVILEGED", 'Privileged" ', "Privileged\\u0022", "\\u0050rivileged"],
    ids=["lower", "upper", "blank", "escaped-quote", "escaped-letter"],
)
def test_a_key_cannot_be_disguised(proxy: Proxy, key: str) -> None:
    name = key if key.endswith('" ') else key + '"'
    body = json.dumps(proxy.task(PLACE=1)).replace('"PLACE": 1', f'"{name}: true')
    assert proxy.create(body)[0] in (400, 403)


@pytest.mark.parametrize("key", ["Bind\u017f", "\u017fecurityOpt", "Mount\u017f"])
def test_letters_that_the_engine_folds_do_not_pass(proxy: Proxy, key: str) -> None:
    """Go takes the long s for an s when it compares names of keys; such a key must not slip past the proxy's list."""
    value = {"Bind\u017f": ["/:/host"], "Mount\u017f": [{"Type": "bind", "Source": "/", "Target": "/host"}]}.get(
        key, ["seccomp=unconfined"]
    )
    assert proxy.create(json.dumps(proxy.task(**{key: value}), ensure_ascii=False))[0] == 403


def test_networks_of_a_container_cannot_be_chosen_elsewhere(proxy: Proxy) -> None:
    body = proxy.task() | {"NetworkingConfig": {"EndpointsConfig": {"trigger-proxy": {}}}}
    assert proxy.create(json.dumps(body))[0] == 403


def test_a_body_that_cannot_be_looked_at_is_refused(proxy: Proxy) -> None:
    body = json.dumps(proxy.task())
    assert proxy.create(body, {"Transfer-Encoding": "chunked"})[0] in (400, 403)
    large = json.dumps(proxy.task() | {"Env": ["FILL=" + "x" * 130000]} | proxy.task(Privileged=True))
    assert proxy.create(large)[0] in (400, 403, 413)
    # What stands behind the part that the proxy has read would pass unseen.
    behind = json.dumps({"Env": ["FILL=" + "x" * 118000]} | proxy.task(Privileged=True))
    assert proxy.create(behind)[0] in (400, 403, 413)


def test_a_second_request_cannot_hide_in_the_first(proxy: Proxy) -> None:
    hidden = "GET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n"
    ((status, body),) = proxy.send(("GET", f"/images/{proxy.image}/json", hidden, {"Transfer-Encoding": "chunked"}))
    assert "HostConfig" not in body
    assert status in (200, 400, 403)
