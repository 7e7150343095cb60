# SPDX-License-Identifier: MIT
"""The developer and the developer's machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node

from testbed.developer import Developer
from testbed.hello import Hello


@pytest.fixture(scope="session")
def machine(deployment: Deployment) -> Node:
    """The developer's machine."""
    (node,) = (node for node in deployment.nodes if not node.groups)
    return node


@pytest.fixture(scope="session")
def developer(hello: Hello) -> Developer:
    """The developer, whose image carries no CA."""
    assert isinstance(hello, Developer)
    return hello


@pytest.fixture(scope="session")
def trusting(developer: Developer) -> Developer:
    """The developer, whose image carries the CA."""
    return replace(developer, trusting=True)


def now(deployment: Deployment, developer: Developer) -> Developer:
    """The same developer, who knows the CA that the deployment has now."""
    assert developer.cluster.door
    door = replace(developer.cluster.door, authority=deployment.control.read(expected.AUTHORITY_FILE))
    return replace(developer, cluster=replace(developer.cluster, door=door))
