# SPDX-License-Identifier: MIT
"""What only one host alone can show: it is control host and worker at once, and the two parts stay apart."""

from __future__ import annotations

from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node

from testbed.cluster import Run


def test_one_host_has_both_parts(deployment: Deployment) -> None:
    (node,) = deployment.nodes
    assert node.groups == {expected.CONTROL_GROUP, expected.WORKERS_GROUP}
    assert deployment.workers == [deployment.control]


def test_the_run_was_executed_here(deployment: Deployment, run: Run) -> None:
    assert run.worker == deployment.control.name


def test_the_parts_share_no_network(control: Node) -> None:
    """On one engine a single shared network would put user code beside the database."""
    rows = {group: expected.CONTAINERS[group] for group in control.groups}
    networks = {group: set().union(*(row.networks for row in found)) for group, found in rows.items()}
    assert not networks[expected.CONTROL_GROUP] & networks[expected.WORKERS_GROUP]
    for group, found in rows.items():
        for row in found:
            attached = set(control.container(row.name)["NetworkSettings"]["Networks"])
            assert attached <= networks[group], row.name
