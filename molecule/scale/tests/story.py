# SPDX-License-Identifier: MIT
"""The deployment of the story: four hosts that become workers and cease to be, and runs on them all the time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from traffic import Traffic
from verification.deployment import Deployment, Play
from verification.nodes import Node

from testbed.hello import Hello

CONTROL, FIRST, SECOND, THIRD, FOURTH = "control.scale", *(f"worker{number}.scale" for number in (1, 2, 3, 4))
SUPERVISOR, PROXY = "trigger-supervisor-supervisor-1", "trigger-supervisor-docker-socket-proxy-1"
PLAYBOOKS = "selfhosted.trigger_dev."


def inventory(path: Path, *names: str, **variables: Any) -> None:
    """Write an inventory, beside that of the scenario, in which these hosts are the workers."""
    hosts: dict[str, Any] = {name: variables.get(name.partition(".")[0], {}) for name in names}
    path.write_text(json.dumps({"trigger_workers": {"hosts": hosts}}))


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory, beside that of the scenario, in which all four are workers."""
    path = tmp_path_factory.mktemp("inventory") / "hosts.json"
    inventory(path, FIRST, SECOND, THIRD, FOURTH)
    return path


class Story:
    """The deployment with its four workers, and the runs on it."""

    def __init__(self, deployment: Deployment, grown: Path, scratch: Path) -> None:
        self.deployment, self.grown, self.scratch = deployment, grown, scratch
        # What the operator has set in the course of the story.
        self.settings: dict[str, Any] = {}

    def node(self, name: str) -> Node:
        """Give a host by name."""
        (found,) = (node for node in self.deployment.nodes if node.name == name)
        return found

    def play(self, *options: str, playbook: str = "site", **values: Any) -> Play:
        """Run a playbook with the inventory of four workers."""
        return self.deployment.play(
            "-i",
            str(self.grown),
            *options,
            values=self.settings | values,
            scratch=self.scratch,
            playbook=PLAYBOOKS + playbook,
        )

    def since(self, name: str) -> str:
        """Tell which supervisor container runs on a host, and since when."""
        return self.node(name).output("docker inspect --format '{{.Id}} {{.State.StartedAt}}' %s", SUPERVISOR)

    def healthy(self, name: str, container: str) -> bool:
        """Tell whether a container on a host is healthy now."""
        return self.node(name).output("docker inspect --format '{{.State.Health.Status}}' %s", container) == "healthy"

    def ages(self) -> dict[str, float]:
        """Give the age of each worker's heartbeat."""
        rows = self.deployment.sql(
            """SELECT name, extract(epoch FROM (now() AT TIME ZONE 'UTC') - "lastHeartbeatAt") FROM "WorkerInstance" """
        )
        return {name: float(age or "inf") for name, age in rows}


@pytest.fixture(scope="session")
def story(deployment: Deployment, grown: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Begin the story."""
    return Story(deployment, grown, tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="session")
def traffic(story: Story, hello: Hello) -> Iterator[Traffic]:
    """Runs from before the first step to after the last."""
    key = hello.key()
    assert hello.trigger(key, {}).status == "COMPLETED"
    found = Traffic(hello.cluster, key)
    found.start()
    try:
        yield found
    finally:
        found.stop()
