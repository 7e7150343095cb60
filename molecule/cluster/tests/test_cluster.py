# SPDX-License-Identifier: MIT
"""What only several hosts can show: an operator's engine, every worker at work, one worker alone."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from verification import expected
from verification.deployment import Deployment, differences
from verification.nodes import Node

from testbed.cluster import Run
from testbed.hello import Hello


@pytest.fixture(scope="session")
def operated(deployment: Deployment) -> Node:
    """The worker whose engine an operator has set up (testbed/prepare.yml)."""
    (node,) = (node for node in deployment.nodes if node.name == "worker1.cluster")
    return node


def test_hosts_have_one_part_each(deployment: Deployment) -> None:
    assert len(deployment.workers) == 2
    assert all(len(node.groups) == 1 for node in deployment.nodes)


def test_the_engine_of_the_operator_is_left_alone(operated: Node) -> None:
    assert operated.seen["info"]["ServerVersion"].startswith("20.10.")
    installs = operated.run("grep -hc ' install docker' /var/log/dpkg.log").stdout.strip()
    history = operated.run("grep -h 'Commandline: .*docker' /var/log/apt/history.log").stdout
    assert "ansible" not in history, f"{installs}: {history}"


def test_the_settings_of_the_operator_stay(operated: Node, deployment: Deployment) -> None:
    settings = json.loads(operated.read("/etc/docker/daemon.json"))
    assert settings["labels"] == ["owner=operator"]
    assert settings["max-concurrent-uploads"] == 3
    # With a list of registries, engines from 29.10 on trust those of their own host only if they are in it.
    loopback = {"127.0.0.0/8", "::1/128"}
    assert set(settings["insecure-registries"]) == {"operator.example:5000", deployment.registry, *loopback}
    assert "owner=operator" in operated.seen["info"]["Labels"]
    assert "operator.example:5000" in operated.seen["info"]["RegistryConfig"]["IndexConfigs"]


def test_the_role_installed_an_engine_where_there_was_none(deployment: Deployment) -> None:
    versions = {node.name: node.seen["info"]["ServerVersion"] for node in deployment.nodes}
    assert versions["worker2.cluster"].startswith("26.")
    assert versions["control.cluster"].startswith("20.10.")


def test_every_worker_executes_runs(deployment: Deployment, hello: Hello, run: Run) -> None:
    """Which worker takes a run is chance, but none takes more at once than its supervisor has consumers (10)."""
    key = hello.key()
    executed = {run.worker}
    for _ in range(6):
        with ThreadPoolExecutor(12) as pool:
            done = list(pool.map(lambda _: hello.trigger(key, {}), range(12)))
        assert {each.status for each in done} == {"COMPLETED"}
        executed |= {each.worker for each in done}
        if executed == {worker.name for worker in deployment.workers}:
            break
    assert executed == {worker.name for worker in deployment.workers}


def test_secrets_of_the_control_host_stay_there(deployment: Deployment) -> None:
    for worker in deployment.workers:
        assert not worker.host.file(expected.SECRETS_FILE).exists
        assert not worker.host.file(expected.TOKEN_FILE).exists


@pytest.mark.changes
def test_a_fault_of_the_control_host_ends_the_run_before_any_host_changes(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Without this the workers would be deployed against a control host that cannot be."""
    before = deployment.state()
    values = {"webapp_extra_env": {"no-such-service": {"A": "b"}}}
    play = deployment.play(values=values, scratch=tmp_path)
    assert play.code != 0
    assert play.errors == [deployment.control.name], play.ending()
    assert play.changes == []
    assert "Deploy the workers" not in play.output
    assert "Install Docker Engine" not in play.output
    assert differences(before, deployment.state()) == []


@pytest.mark.changes
def test_one_worker_can_be_deployed_alone(deployment: Deployment, operated: Node, tmp_path: Path) -> None:
    """A new line in the inventory and --limit: the other hosts are asked for token and secrets, and left alone."""
    before = deployment.state()
    worker = operated
    worker.output("docker compose --project-directory %s down", f"{expected.DIRECTORY}/supervisor")
    worker.output("rm -r %s", f"{expected.DIRECTORY}/supervisor")
    # What the operator has set otherwise stays, and whoever wanted it hears of that.
    unheeded = {"docker_engine_extra_config": {"max-concurrent-uploads": 9}}
    play = deployment.play("--limit", worker.name, values=unheeded, scratch=tmp_path)
    assert play.code == 0, play.ending()
    assert "and are kept: max-concurrent-uploads" in play.text
    assert play.changed[worker.name] > 0
    assert not any(count for name, count in play.changed.items() if name != worker.name)
    changed = differences(before, deployment.state())
    assert [name for name in changed if not name.startswith(f"{worker.name}: ")] == []
    states = worker.output(
        "docker inspect --format '{{.State.Health.Status}}' trigger-supervisor-supervisor-1"
        " trigger-supervisor-docker-socket-proxy-1"
    )
    assert states.split() == ["healthy", "healthy"]
