# SPDX-License-Identifier: MIT
"""The gateway as a door: what is behind it, who gets through, and what nobody can make it believe."""

from __future__ import annotations

import base64
import json
import re
import uuid

import pytest
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node, eventually
from verification.secrets import Secrets
from wire import WEBAPP, scan, send, send_all

from testbed.cluster import address, http
from testbed.developer import Developer

DOOR = {80, 443}
# They take a connection from everybody, and answer with a refusal.
PRIVATE = {8080: "/healthcheck", 9080: "/packets/"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_of_all_ports_only_the_door_is_open(machine: Node) -> None:
    assert scan(machine, "control.tls") - {expected.SSH_PORT} == DOOR


def test_the_private_ports_are_open_to_their_own_network_alone(deployment: Deployment, machine: Node) -> None:
    places = [f"{deployment.private_address}:{port}" for port in PRIVATE]
    assert set(deployment.workers[0].connects(places).values()) == {True}, "guards the line below"
    assert set(machine.connects(places).values()) == {False}


def test_workers_have_no_open_port(deployment: Deployment, machine: Node) -> None:
    for worker in deployment.workers:
        assert scan(machine, worker.name) - {expected.SSH_PORT} == set(), worker.name


def test_services_publish_nothing(control: Node) -> None:
    """Not even on the loopback: engines before 28 let neighbours through to that."""
    ours = {row.name for row in expected.CONTAINERS[expected.CONTROL_GROUP]}
    bound = {name: control.container(name)["HostConfig"]["PortBindings"] for name in ours}
    assert {name: ports for name, ports in bound.items() if ports} == {}


def test_a_neighbour_with_a_route_reaches_no_service(control: Node, machine: Node) -> None:
    """From another host of the same network, which sends packets for the containers' addresses to the control host."""
    image = control.container("trigger-webapp-trigger-redis-1")["Config"]["Image"]
    own = address(control.name)
    policy = control.output("iptables -S FORWARD | head -n 1").split()
    subnets = [
        control.seen["networks"][name]["IPAM"]["Config"][0]["Subnet"] for name in ("trigger-front", "trigger-registry")
    ]
    places = [
        f"{control.address(name, network)}:{port}"
        for name, network, port in (
            (WEBAPP, "trigger-front", 3000),
            ("trigger-webapp-trigger-seaweedfs-1", "trigger-front", 9000),
            ("trigger-registry-trigger-registry-1", "trigger-registry", 5000),
        )
    ]
    # As on a host that forwards nothing by itself; the engine sets it only where it began to forward.
    control.output("iptables -P FORWARD DROP")
    started = "docker run --detach --rm --network trigger-front --publish 127.0.0.1::6379 %s redis-server --save ''"
    listening = control.output(started, image)
    try:
        for subnet in subnets:
            machine.output("ip route replace %s via %s", subnet, own)
        found = "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' %s"
        guard = f"{control.output(found, listening)}:6379"
        assert control.connects([*places, guard]) == dict.fromkeys([*places, guard], True)
        assert machine.connects([*places, guard]) == {**dict.fromkeys(places, False), guard: True}
    finally:
        control.output("docker rm --force %s", listening)
        control.output("iptables -P FORWARD %s", policy[-1])
        for subnet in subnets:
            machine.output("ip route del %s", subnet)


@pytest.mark.parametrize("port", PRIVATE)
def test_the_private_address_is_for_workers(deployment: Deployment, port: int) -> None:
    """The machine that the nodes run on is in their networks, and nobody has named it."""
    place = f"http://{deployment.private_address}:{port}{PRIVATE[port]}"
    refused = http("GET", place)
    assert refused.status == 403
    assert b"gateway_private_clients" in refused.body
    worker = deployment.workers[0].output("hostname -I").split()
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        for source in worker:
            spoofed = {name: f"for={source}" if name == "Forwarded" else source}
            assert http("GET", place, headers=spoofed).status == 403, name
    for node in deployment.workers:
        answer = send(node, deployment.private_address, PRIVATE[port], port=port)
        # The object store itself wants a login, and says so in its own words.
        assert (answer.status, answer.body) == (200, "OK") if port == 8080 else "<Code>" in answer.body, node.name


@pytest.mark.parametrize("port", PRIVATE)
def test_the_private_address_has_no_name(deployment: Deployment, port: int) -> None:
    """Least of all the webapp's: browsers that know that one over https take no plain http from it any more."""
    host = {"Host": f"trigger.tls:{port}"}
    assert send(deployment.workers[0], deployment.private_address, PRIVATE[port], port=port, headers=host).status == 421


def test_plain_http_leads_to_https(machine: Node) -> None:
    answer = send(machine, "trigger.tls", "/login?x=1", port=80)
    assert (answer.status, answer.headers["location"]) == (308, "https://trigger.tls/login?x=1")


def test_the_webapp_says_that_it_wants_https(machine: Node) -> None:
    answer = send(machine, "trigger.tls", "/healthcheck")
    assert (answer.status, answer.body) == (200, "OK")
    assert answer.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize("place", ["trigger.tls", "registry.trigger.tls"])
@pytest.mark.parametrize("host", ["evil.example", "control.tls", "localhost"])
def test_another_host_is_misdirected(machine: Node, place: str, host: str) -> None:
    assert send(machine, place, "/", headers={"Host": host}).status == 421


def test_another_host_is_misdirected_over_http_too(machine: Node) -> None:
    assert send(machine, "trigger.tls", "/", port=80, headers={"Host": "evil.example"}).status == 421


def test_a_name_cannot_be_reached_through_another(machine: Node) -> None:
    """A connection that was made for the registry is not one to the webapp."""
    assert send(machine, "registry.trigger.tls", "/healthcheck", headers={"Host": "trigger.tls"}).status == 421


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/METRICS", "/%6detrics", "//metrics", "/x/../metrics"])
def test_metrics_are_not_for_everybody(control: Node, machine: Node, path: str) -> None:
    assert send(machine, "trigger.tls", path).status in (403, 404)
    inside = control.http(f"http://{control.address(WEBAPP, 'trigger-front')}:3000/metrics")
    assert inside[0] == 200, "guards the line above"


def test_metrics_are_not_for_tasks_either(deployment: Deployment) -> None:
    """What workers may call their tasks may call."""
    assert send(deployment.workers[0], deployment.private_address, "/metrics", port=8080).status in (403, 404)


LOGINS = {"trigger": "registry_password", "trigger-pull": "registry_pull_password"}
# Calls that write, and what the registry itself says of them: each is about something that is not there.
WRITES = {
    ("POST", "/v2/trigger/probe/blobs/uploads/"): 202,
    ("PATCH", "/v2/trigger/probe/blobs/uploads/of-nobody"): 404,
    ("PUT", "/v2/trigger/probe/manifests/written"): 400,
    ("DELETE", f"/v2/trigger/probe/manifests/sha256:{'0' * 64}"): 404,
}


def basic(secrets: Secrets, user: str) -> dict[str, str]:
    """Give the header of a login."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secrets[LOGINS[user]]}".encode()).decode()}


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_the_login_of_workers_writes_nothing(machine: Node, secrets: Secrets, method: str, path: str) -> None:
    for user in LOGINS:
        headers = basic(secrets, user)
        wanted = WRITES[method, path] if user == "trigger" else 401
        assert send(machine, "registry.trigger.tls", path, method, headers=headers, body="{}").status == wanted, user
        assert send(machine, "registry.trigger.tls", "/v2/", headers=headers).status == 200, user


def test_the_login_of_workers_pulls_and_does_not_push(machine: Node, developer: Developer, secrets: Secrets) -> None:
    pulled, pushed = (f"{developer.registry}/trigger/probe:{tag}" for tag in ("1", "overwritten"))
    developer.login("trigger-pull", secrets["registry_pull_password"])
    try:
        machine.output("docker pull --quiet %s", pulled)
        machine.output("docker tag %s %s", pulled, pushed)
        refused = machine.run("docker push --quiet %s", pushed)
    finally:
        developer.machine_runs("docker", "logout", developer.registry)
    assert refused.rc != 0
    assert "unauthorized" in refused.stderr.lower() or "401" in refused.stderr
    listed = send(machine, developer.registry, "/v2/trigger/probe/tags/list", headers=basic(secrets, "trigger"))
    assert json.loads(listed.body)["tags"] == ["1"]
    machine.output("docker image rm %s %s", pulled, pushed)


def links(control: Node, mail: str) -> list[str]:
    """Give the links that were made for a mail address."""
    text = control.logs(WEBAPP)
    return re.findall(rf"sendEmail to {re.escape(mail)},.*?^(\S+/magic\?token=)", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "http"},
        {"X-Forwarded-Host": "localhost", "X-Forwarded-Proto": "http"},
        {"Forwarded": "host=evil.example;proto=http"},
    ],
    ids=lambda headers: ",".join(headers) or "plain",
)
def test_the_login_link_leads_here_whatever_the_request_says(
    deployment: Deployment, control: Node, headers: dict[str, str]
) -> None:
    """Asked from a worker: the test below counts what the developer's machine asks."""
    mail = f"{uuid.uuid4().hex}@example.com"
    body = f"action=send&email={mail}"
    asked = send(deployment.workers[0], "trigger.tls", "/login/magic", "POST", headers=FORM | headers, body=body)
    assert asked.status == 302
    # The engine writes the log after the webapp has answered.
    assert eventually(lambda: links(control, mail)) == ["https://trigger.tls/magic?token="]


def test_a_client_is_counted_by_its_own_address(control: Node, machine: Node) -> None:
    """Whoever could choose the address would get past the limit of logins, or use up that of others."""
    mails = [f"{uuid.uuid4().hex}@example.com" for _ in range(12)]
    requests = [
        ["trigger.tls", 443, True, "POST", "/login/magic", FORM | {"X-Forwarded-For": f"203.0.113.{number}"},
         f"action=send&email={mail}"]
        for number, mail in enumerate(mails)
    ]  # fmt: skip
    send_all(machine, requests)

    def refused() -> dict[str, str]:
        lines = [line for line in control.logs(WEBAPP).splitlines() if "Login magic link rate limit exceeded" in line]
        return {row["email"]: row["clientIp"] for row in map(json.loads, lines) if row["email"] in mails}

    # The engine writes the log in its order, after the webapp has answered.
    assert eventually(lambda: mails[-1] in refused())
    assert [mail for mail in mails if links(control, mail)] == mails[:10]
    assert set(refused().values()) == {address(machine.name)}


def test_a_websocket_gets_through(machine: Node) -> None:
    """Both paths that upstream upgrades."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for path in ("/ws", "/socket.io/?EIO=4&transport=websocket"):
        assert send(machine, "trigger.tls", path, headers=upgrade).status == 101, path


def test_a_large_body_gets_through(machine: Node) -> None:
    """As large as the webapp itself takes one."""
    body = json.dumps({"pad": "x" * (9 << 20)})
    headers = {"Content-Type": "application/json"}
    answer = send(machine, "trigger.tls", "/otel/v1/traces", "POST", headers=headers, body=body)
    assert answer.status == 200
