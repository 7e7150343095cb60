# SPDX-License-Identifier: MIT
"""What listens where, and who reaches it: from outside, and from where tasks run."""

from __future__ import annotations

import json
import re
import socket

from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node

from testbed.cluster import Run, address

ELECTRIC = "trigger-webapp-electric-1"
# It asks nobody for a password. Postgres is beside it because it replicates from there.
BESIDE_ELECTRIC = {"trigger-webapp-webapp-1", "trigger-webapp-trigger-postgres-1"}
# What a mistake would publish beside what containers listen on: MinIO's console, metrics, the engine itself.
CLOSED = {2375, 2376, 3000, 5432, 6379, 8020, 8123, 9001, 9090}


def published(node: Node) -> set[int]:
    """Give the ports of the host that have to be open."""
    return {port for row in node.expected.values() for port in row.published.values()}


def private(node: Node) -> set[int]:
    """Give the ports that are open on its private address alone."""
    return set().union(*(row.private for row in node.expected.values()))


EVERYWHERE = "every address"


def outside(listeners: list[str]) -> set[tuple[str, int]]:
    """Give address and port of what listens beyond the loopback, without the door of the operators."""
    places = ((place.partition("%")[0], int(port)) for place, _, port in (each.rpartition(":") for each in listeners))
    return {
        (EVERYWHERE if place in ("0.0.0.0", "[::]", "*") else place, port)
        for place, port in places
        if port != expected.SSH_PORT and not re.match(r"\[::1\]|\[::ffff:127\.|127\.", place)
    }


def test_nothing_else_listens(node: Node, deployment: Deployment) -> None:
    """Every socket of the host: what is for everybody, what is for the private network, and no datagrams at all."""
    everybody = {(EVERYWHERE, port) for port in published(node)}
    assert outside(node.seen["listeners"]) == everybody | {(deployment.private_address, port) for port in private(node)}
    assert outside(node.seen["datagrams"]) == set()


def test_from_outside_only_the_published_ports_answer(node: Node) -> None:
    every = published(node) | private(node) | CLOSED
    every |= {row.port for rows in expected.CONTAINERS.values() for row in rows if row.port}
    answering = set()
    for port in every:
        with socket.socket() as probe:
            probe.settimeout(3)
            if probe.connect_ex((address(node.name), port)) == 0:
                answering.add(port)
    assert answering == published(node)


def test_what_tasks_must_not_reach_is_really_there(worker: Node, forbidden: dict[str, list[str]]) -> None:
    """Guards the tests below: a service that is not there would pass them all. A host does reach its own containers."""
    addresses = [target for target in forbidden[worker.name] if re.match(r"[0-9.]+:", target)]
    assert addresses
    assert worker.connects(addresses) == dict.fromkeys(addresses, True)


def test_a_run_reaches_what_it_needs_and_nothing_else(
    run: Run, forbidden: dict[str, list[str]], allowed: list[str]
) -> None:
    reach = run.output["reach"]
    assert {target for target in allowed if reach[target] == "open"} == set(allowed)
    assert {target for target in forbidden[run.worker] if reach[target] == "open"} == set()


def test_on_every_worker_tasks_reach_what_they_need_and_nothing_else(
    worker: Node, forbidden: dict[str, list[str]], allowed: list[str]
) -> None:
    """The same from a container on the runner network of each worker, whichever of them executed the run above."""
    assert worker.reached_by_tasks([*allowed, *forbidden[worker.name]]) == set(allowed)


def test_the_supervisor_has_a_way_out_of_its_own(worker: Node) -> None:
    """By the network of its tasks it would be bound by what they may reach."""
    supervisor = worker.container("trigger-supervisor-supervisor-1")
    route = worker.output("nsenter -t %s -n ip route show default", str(supervisor["State"]["Pid"]))
    assert f"via {supervisor['NetworkSettings']['Networks']['trigger-egress']['Gateway']} " in f"{route} "


def test_data_services_have_no_way_out(control: Node) -> None:
    """From their network nothing outside is reached, not even the webapp where its own host publishes it."""
    image = control.container("trigger-webapp-trigger-redis-1")["Config"]["Image"]
    own = control.output("hostname -I").split()[0]

    def connects(network: str, host: str, port: int) -> bool:
        script = f'exec 3<>"/dev/tcp/{host}/{port}"'
        command = "docker run --rm --network %s --entrypoint timeout %s 10 bash -c %s"
        return bool(control.run(command, network, image, script).rc == 0)

    assert connects("trigger-data", "trigger-postgres", 5432), "the looking itself does not work"
    port = next(port for port in (8030, 443) if port in published(control))
    assert connects("trigger-front", own, port), "the looking itself does not work"
    assert not connects("trigger-data", own, port)


def test_only_the_webapp_and_its_database_reach_electric(control: Node) -> None:
    """Seen from inside the network of every container on its host, and from that of one on Docker's own network."""
    electric = control.container(ELECTRIC)
    places = [f"{row['IPAddress']}:3000" for row in electric["NetworkSettings"]["Networks"].values()]
    reach = {
        name: set(control.connects(places, inside=name).values()) for name in sorted({*control.expected} - {ELECTRIC})
    }
    assert {name for name, found in reach.items() if True in found} == BESIDE_ELECTRIC
    assert reach["trigger-webapp-webapp-1"] == {True}
    image = control.container("trigger-webapp-trigger-redis-1")["Config"]["Image"]
    stranger = control.output("docker run --detach --rm --network bridge --entrypoint sleep %s 900", image)
    try:
        assert set(control.connects(places, inside=stranger).values()) == {False}
    finally:
        control.output("docker rm --force %s", stranger)


def test_names_resolve_everywhere(worker: Node, deployment: Deployment) -> None:
    """Fully qualified names resolve on the host and in its containers."""
    name = deployment.control.name
    assert "." in name
    assert worker.output("getent hosts %s", name)
    image = worker.container("trigger-supervisor-docker-socket-proxy-1")["Config"]["Image"]
    inside = worker.output("docker run --rm --network trigger-runner --entrypoint getent %s hosts %s", image, name)
    assert name in inside


def test_the_webapp_answers_on_every_address_that_is_handed_out(worker: Node, deployment: Deployment) -> None:
    environment = deployment.control.read(f"{expected.DIRECTORY}/webapp/webapp.env")
    api = json.loads(re.search(r"^API_ORIGIN=(.*)$", environment, re.MULTILINE)[1])  # type: ignore[index]
    assert worker.http(f"{api}/healthcheck") == (200, "OK")
