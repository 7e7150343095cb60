# SPDX-License-Identifier: MIT
"""The engine of each host: the operator's where there was one, else the distribution's; configured without a loss."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from verification.deployment import Deployment
from verification.nodes import Node


@pytest.fixture(params=["docker.io", "docker-compose"])
def package(request: pytest.FixtureRequest) -> str:
    """Each package of the engine."""
    name: str = request.param
    return name


def before(node: Node, package: str) -> str:
    """Version of a package in the image that the host was made of; empty where it was not installed."""
    image = subprocess.run(
        ["docker", "inspect", "--format", "{{.Config.Image}}", node.name], capture_output=True, text=True, check=True
    ).stdout.strip()
    query = ["dpkg-query", "--show", "--showformat", "${Version}", package]
    asked = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "--entrypoint", query[0], image, *query[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()


def test_an_engine_that_was_there_is_kept_as_it_was(node: Node, package: str) -> None:
    now = node.output("dpkg-query --show --showformat '${Version}' %s", package)
    was = before(node, package)
    if was:
        assert now == was
    else:
        # Installed by the role: from the distribution, on a Debian that has a Compose of its own.
        policy = node.output("apt-cache policy %s", package)
        assert f"Installed: {now}" in policy
        sources = node.run("cat /etc/apt/sources.list.d/docker.sources")
        assert sources.rc != 0, "Docker's own repository was added on a distribution that has the packages"


def test_engine_and_compose_are_new_enough(node: Node) -> None:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text)[:3]]

    assert numbers(node.seen["info"]["ServerVersion"]) >= [20, 10, 0]
    assert numbers(node.output("docker compose version --short")) >= [2, 20, 0]


def test_the_engine_starts_at_boot(node: Node) -> None:
    assert node.output("systemctl is-enabled docker") == "enabled"
    assert node.output("systemctl is-active docker") == "active"


def test_containers_survive_a_restart_of_the_engine(node: Node) -> None:
    assert node.seen["info"]["LiveRestoreEnabled"] is True


def test_logs_of_task_containers_are_rotated(worker: Node) -> None:
    """A task container asks for no limits of its own, so what counts is what the engine gives to such a container."""
    image = worker.container("trigger-supervisor-docker-socket-proxy-1")["Config"]["Image"]
    identity = worker.output("docker create --network none %s", image)
    try:
        settings = json.loads(worker.output("docker inspect --format '{{json .HostConfig.LogConfig}}' %s", identity))
    finally:
        worker.output("docker rm %s", identity)
    assert settings == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def test_no_process_of_a_container_gets_new_rights(node: Node) -> None:
    """A task container asks for no option of security, so what counts is what the kernel says of such a container."""
    image = node.container(sorted(node.expected)[0])["Config"]["Image"]
    status = node.output("docker run --rm --network none --entrypoint cat %s /proc/self/status", image)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE), status


def test_the_engine_is_roots_alone(node: Node) -> None:
    """Whoever may talk to it reads every secret that a container has in its environment, and is root on the host."""
    # The group is the package's; the proxy is in it by number, and nobody else.
    assert node.output("stat --dereference --format '%U %G %a' /var/run/docker.sock") == "root docker 660"
    _, _, group, members = node.output("getent group docker").split(":")
    assert members == ""
    assert [line for line in node.output("getent passwd").splitlines() if line.split(":")[3] == group] == []


def test_the_engine_accepts_the_registry(node: Node, deployment: Deployment) -> None:
    indexes = node.seen["info"]["RegistryConfig"]["IndexConfigs"]
    # One that speaks https is not listed at all.
    listed = indexes.get(deployment.registry, {"Secure": True})
    assert listed["Secure"] is deployment.gateway


def test_the_configuration_in_effect_is_the_one_in_the_file(node: Node, deployment: Deployment) -> None:
    settings = json.loads(node.read("/etc/docker/daemon.json"))
    assert settings["live-restore"] is True
    assert settings["no-new-privileges"] is True
    insecure = settings.get("insecure-registries", [])
    assert (deployment.registry in insecure) is not deployment.gateway
    # With such a list, engines from 29.10 on trust registries of their own host only if they are in it.
    assert set(insecure) >= {"127.0.0.0/8", "::1/128"} or "insecure-registries" not in settings
    known = set(node.seen["info"]["RegistryConfig"]["InsecureRegistryCIDRs"])
    assert {name for name in insecure if "/" in name} <= known
    assert settings["log-opts"] == {"max-size": "10m", "max-file": "3"}
