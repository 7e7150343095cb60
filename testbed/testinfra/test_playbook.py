# SPDX-License-Identifier: MIT
"""The playbook on a deployed system: changes nothing twice, tells the truth in check mode, and never tells a secret."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from verification.deployment import Deployment, Play, differences
from verification.secrets import Secrets, leaks

from testbed.executions import executions

pytestmark = pytest.mark.repeats

# Modules that a run calls at most where it changes nothing, without a gateway. On the control host two more than it
# needs: the workers' heartbeats are asked for again where they were old.
CONTROL_CALLS, WORKER_CALLS = 13, 6


@dataclass(frozen=True)
class Again:
    """A second run and a dry run, and what is not as it was before them."""

    second: Play
    dry: Play
    changed: list[str]


@pytest.fixture(scope="module")
def again(deployment: Deployment) -> Again:
    """Both at once: neither may change anything, and each leaves a processor idle most of the time."""
    before = deployment.state()
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(deployment.play, "-vvv", "--diff")
        dry = pool.submit(deployment.play, "-vvv", "--check", "--diff")
        return Again(second.result(), dry.result(), differences(before, deployment.state()))


@pytest.mark.parametrize("kind", ["second", "dry"])
def test_a_run_that_finds_all_as_it_should_be_says_so(
    deployment: Deployment, secrets: Secrets, again: Again, kind: str
) -> None:
    play: Play = getattr(again, kind)
    play.went_through(deployment)
    assert play.changes == []
    assert set(play.changed.values()) == {0}
    assert leaks(play.output, secrets) == set()


def test_neither_has_changed_anything(again: Again) -> None:
    assert again.changed == []


def test_hosts_are_called_no_more_often_than_is_needed(deployment: Deployment, again: Again) -> None:
    """Each call costs the host a start of Python, and the controller a process."""
    if deployment.gateway:
        pytest.skip("the figures are of a deployment without a gateway")
    allowed = {node.name: CONTROL_CALLS if node == deployment.control else 0 for node in deployment.nodes}
    for worker in deployment.workers:
        allowed[worker.name] += WORKER_CALLS
    called = executions(again.second.output)
    assert called.keys() == {node.name for node in deployment.nodes if node.groups}
    assert {host: calls for host, calls in called.items() if calls > allowed[host]} == {}, called
