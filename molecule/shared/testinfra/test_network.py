# SPDX-License-Identifier: MIT
"""What listens where, and who reaches it: from outside, and from where tasks run."""

from __future__ import annotations

import json
import re
import shlex
import socket

from testbed.cluster import Run, address
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node

# What a mistake would publish beside what containers listen on: MinIO's console, metrics, the engine itself.
CLOSED = {2375, 2376, 3000, 5432, 6379, 8020, 8123, 9001, 9090}


def published(node: Node) -> set[int]:
    """Give the ports of the host that have to be open."""
    return {port for row in node.expected.values() for port in row.published.values()}


def private(node: Node) -> set[int]:
    """Give the ports that are open on its private address alone."""
    return set().union(*(row.private for row in node.expected.values()))


def test_nothing_else_listens(node: Node) -> None:
    outside = {
        int(port)
        for address, _, port in (listener.rpartition(":") for listener in node.seen["listeners"])
        if not re.match(r"(\[::1\]|127\.)", address.partition("%")[0])
    }
    assert outside - {expected.SSH_PORT} == published(node) | private(node)


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
    image = worker.container("trigger-supervisor-docker-socket-proxy-1")["Config"]["Image"]
    probe = 'for t; do nc -z -w 2 "${t%:*}" "${t##*:}" >/dev/null 2>&1 && echo "$t" & done; wait'
    targets = " ".join(shlex.quote(target) for target in [*allowed, *forbidden[worker.name]])
    reached = worker.output(
        f"docker run --rm --network trigger-runner --entrypoint sh %s -c %s sh {targets}", image, probe
    )
    assert set(reached.split()) == set(allowed)


def test_data_services_have_no_way_out(control: Node) -> None:
    """From their network nothing outside is reached, not even the webapp where its own host publishes it."""
    image = control.container("trigger-webapp-trigger-redis-1")["Config"]["Image"]
    own = control.output("hostname -I").split()[0]

    def connects(network: str, host: str, port: int) -> bool:
        script = f'exec 3<>"/dev/tcp/{host}/{port}"'
        command = "docker run --rm --network %s --entrypoint timeout %s 3 bash -c %s"
        return bool(control.run(command, network, image, script).rc == 0)

    assert connects("trigger-data", "trigger-postgres", 5432), "the looking itself does not work"
    port = next(port for port in (8030, 443) if port in published(control))
    assert connects("trigger-front", own, port), "the looking itself does not work"
    assert not connects("trigger-data", own, port)


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
