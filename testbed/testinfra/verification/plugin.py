# SPDX-License-Identifier: MIT
"""Fixtures of the verification, and the order of its tests: looking first, then repeating, changing, breaking."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from testinfra.host import get_host
from testinfra.utils.ansible_runner import AnsibleRunner

from testbed.cluster import Cluster, Door, Run, address
from testbed.developer import Developer
from testbed.hello import Hello

from . import expected
from .deployment import Deployment
from .nodes import Node
from .secrets import Secrets

MARKERS = {
    # Right behind the first run: after a change, a second run that still has something to do would not be noticed.
    "repeats": "deploys once more what is deployed, which changes nothing",
    "changes": "changes the deployment, and leaves it working",
    "breaks": "breaks the deployment, and mends it",
}
GROUPS = {"node": "all", "worker": expected.WORKERS_GROUP}


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests; within each kind the order stays."""
    ranks = list(MARKERS)
    items.sort(
        key=lambda item: max(
            (ranks.index(mark.name) + 1 for mark in item.iter_markers() if mark.name in ranks), default=0
        )
    )


@cache
def _deployment(inventory: str) -> Deployment:
    runner = AnsibleRunner(inventory)
    groups = {group: frozenset(runner.get_hosts(group)) for group in (expected.CONTROL_GROUP, expected.WORKERS_GROUP)}
    (control,) = groups[expected.CONTROL_GROUP]
    settings = runner.get_variables(control)
    origin = str(settings["trigger_origin"])
    if origin.startswith("https://"):
        groups[expected.GATEWAY] = groups[expected.CONTROL_GROUP]
        if settings.get("gateway_tls") == "internal":
            groups[expected.AUTHORITY] = groups[expected.CONTROL_GROUP] | groups[expected.WORKERS_GROUP]
    return Deployment(
        tuple(
            Node(
                name,
                frozenset(group for group, names in groups.items() if name in names),
                get_host(f"ansible://{name}", ansible_inventory=inventory),
            )
            for name in runner.get_hosts("all")
        ),
        inventory,
        origin,
        str(settings.get("trigger_private_address", "")),
    )


def _of(config: pytest.Config) -> Deployment:
    inventory = config.getoption("ansible_inventory")
    if not inventory:
        raise pytest.UsageError("the inventory of the scenario is missing (--ansible-inventory)")
    return _deployment(str(inventory))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `node` on every host, and one that asks for `worker` on every worker."""
    for fixture, group in GROUPS.items():
        if fixture in metafunc.fixturenames:
            # Hosts that the playbook deploys nothing on are the affair of their scenario.
            nodes = [
                node for node in _of(metafunc.config).nodes if (node.groups if group == "all" else group in node.groups)
            ]
            metafunc.parametrize(fixture, nodes, ids=[node.name for node in nodes])


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """The deployment of the scenario."""
    return _of(request.config)


@pytest.fixture(scope="session")
def control(deployment: Deployment) -> Node:
    """The control host."""
    return deployment.control


@pytest.fixture(scope="session")
def secrets(deployment: Deployment) -> Secrets:
    """The secrets of the deployment, as they were before any test changed them."""
    return deployment.secrets()


@pytest.fixture(scope="session")
def hello(deployment: Deployment) -> Hello:
    """The developer's side: deploys the hello task and triggers runs of it."""
    name = deployment.control.name
    if not deployment.gateway:
        return Hello(Cluster(name))
    door = Door(deployment.origin, address(name), deployment.control.read(expected.AUTHORITY_FILE))
    (machine,) = (node for node in deployment.nodes if not node.groups)
    return Developer(Cluster(name, door=door), machine=machine.name, registry=deployment.registry)


def doors_for_tasks(deployment: Deployment) -> list[str]:
    """Give the addresses (host:port) of the control host that task containers are told to call."""
    control = deployment.control
    if deployment.private_address:
        return [f"{deployment.private_address}:{port}" for row in control.expected.values() for port in row.private]
    return [
        f"{control.name}:{port}"
        for row in control.expected.values()
        if row.for_tasks
        for port in row.published.values()
    ]


def _forbidden(deployment: Deployment, worker: Node) -> list[str]:
    control = [row for row in expected.CONTAINERS[expected.CONTROL_GROUP] if row.port]
    proxies = [row for row in expected.CONTAINERS[expected.WORKERS_GROUP] if row.holds_socket]
    found = {f"{name}:{row.port}" for row in [*control, *proxies] for name in (row.service, row.name)}
    # Addresses of containers mean something on their own host only: elsewhere they lead to somebody else, or nowhere.
    here = {row.name for row in [*control, *proxies]} & set(worker.expected)
    for name in here:
        row = worker.expected[name]
        found |= {f"{worker.address(name, network)}:{row.port}" for network in row.networks}
    # Whatever listens on any host; on the worker itself also at its addresses on the networks of its containers.
    found |= {door for node in deployment.nodes for door in node.listening(of_bridges=node == worker)}
    ports = {door.rpartition(":")[2] for door in doors_for_tasks(deployment)}
    return sorted(found - {f"{place}:{port}" for place in deployment.control.addresses() for port in ports})


@pytest.fixture(scope="session")
def forbidden(deployment: Deployment) -> dict[str, list[str]]:
    """Worker -> addresses (host:port) that no task on it may reach: service names, container names, IP addresses."""
    return {worker.name: _forbidden(deployment, worker) for worker in deployment.workers}


@pytest.fixture(scope="session")
def allowed(deployment: Deployment) -> list[str]:
    """Addresses (host:port) that every task has to reach; they also prove that the looking works."""
    return ["supervisor:8020", *sorted(doors_for_tasks(deployment))]


@pytest.fixture(scope="session")
def run(hello: Hello, forbidden: dict[str, list[str]], allowed: list[str]) -> Run:
    """A run of the hello task that looked around while it was executed."""
    payload: dict[str, Any] = {"reach": [*allowed, *sorted(set().union(*forbidden.values()))]}
    return hello.run(payload)
