# SPDX-License-Identifier: MIT
"""Tasks reach what they are told to call, whatever happens to the rules that keep them from everything else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from verification.deployment import Deployment
from verification.nodes import Node, eventually

from testbed.common import docker

PROGRAM = "/opt/trigger/firewall/runner_firewall.py"
METADATA = "169.254.169.254"
# Rules of an operator's. They are not ours, so they stay.
FOREIGN = ("INPUT -s 192.0.2.1/32 -j DROP", "DOCKER-USER -s 192.0.2.2/32 -j DROP")


@pytest.fixture(scope="module")
def metadata(deployment: Deployment) -> Iterator[str]:
    """A cloud's metadata service: the control host answers at its address, for everybody on the hosts' network."""
    control = deployment.control
    control.output("ip address add %s/32 dev eth0", METADATA)
    control.output("systemd-run --unit trigger-test-metadata python3 -m http.server --bind %s 80", METADATA)
    yield f"{METADATA}:80"
    control.output("systemctl stop trigger-test-metadata && ip address delete %s/32 dev eth0", METADATA)


@pytest.fixture
def reached(allowed: list[str], forbidden: dict[str, list[str]], metadata: str) -> Callable[[Node], set[str]]:
    """Look from a worker's network of task containers at whatever listens in the lab; the host itself reaches it."""

    def look(worker: Node) -> set[str]:
        worker.output("ip route replace %s/32 dev eth0", METADATA)
        assert eventually(lambda: worker.connects([metadata])[metadata]), "nobody answers there"
        return worker.reached_by_tasks([*allowed, *forbidden[worker.name], metadata])

    return look


def ready(worker: Node) -> bool:
    """Tell whether the supervisor serves, after the engine was away."""
    health = worker.run("docker inspect --format '{{.State.Health.Status}}' trigger-supervisor-supervisor-1")
    return bool(health.rc == 0 and health.stdout.strip() == "healthy")


def in_force(worker: Node) -> bool:
    """Tell whether the rules are all there and in front, as the timer has them within a minute."""
    return not json.loads(worker.output("python3 %s load --dry-run", PROGRAM))["changed"]


def test_tasks_reach_nothing_else(worker: Node, reached: Callable[[Node], set[str]], allowed: list[str]) -> None:
    assert reached(worker) == set(allowed)


@pytest.mark.changes
def test_it_is_the_firewall_that_keeps_them(
    deployment: Deployment, reached: Callable[[Node], set[str]], allowed: list[str], metadata: str
) -> None:
    """Without it tasks do reach the hosts and the metadata; and rules that somebody throws away come back."""
    for worker in deployment.workers:
        # What the timer has begun is over when a start of it is.
        stop = "systemctl stop trigger-runner-firewall.timer && systemctl start trigger-runner-firewall.service"
        worker.output(f"{stop} && python3 %s remove", PROGRAM)
        assert "TRIGGER" not in worker.output("iptables -S && ip6tables -S")
        assert reached(worker) > {*allowed, metadata}
        # The unit loads them at once, and then once more within a minute.
        worker.output("systemctl start trigger-runner-firewall.timer trigger-runner-firewall.service")
        worker.output("python3 %s remove", PROGRAM)
    assert eventually(lambda: all(map(in_force, deployment.workers)))
    for worker in deployment.workers:
        assert reached(worker) == set(allowed)


@pytest.mark.changes
def test_it_outlasts_the_engine_another_play_and_a_reboot(
    deployment: Deployment, reached: Callable[[Node], set[str]], allowed: list[str]
) -> None:
    def look() -> dict[str, set[str]]:
        assert eventually(lambda: all(map(ready, deployment.workers)))
        return {worker.name: reached(worker) for worker in deployment.workers}

    wanted = {worker.name: set(allowed) for worker in deployment.workers}
    for worker in deployment.workers:
        for rule in FOREIGN:
            worker.output(f"iptables -I {rule}")
        worker.output("systemctl restart docker")
    assert look() == wanted
    assert eventually(lambda: all(map(in_force, deployment.workers)))

    play = deployment.play()
    play.went_through(deployment)
    assert not play.changes
    assert look() == wanted
    for worker in deployment.workers:
        assert set(FOREIGN) <= {rule.removeprefix("-A ") for rule in worker.output("iptables -S").splitlines()}

    docker("restart", *(worker.name for worker in deployment.workers))
    assert eventually(lambda: all(worker.run("true").rc == 0 for worker in deployment.workers))
    assert look() == wanted
