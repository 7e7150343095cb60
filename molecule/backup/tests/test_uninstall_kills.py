# SPDX-License-Identifier: MIT
"""The removal of an installation is killed at ten moments; the next run ends it, and the data is there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from verification.deployment import Deployment

from testbed.hello import Hello

pytestmark = pytest.mark.soak

ROUNDS, KILLS = 2, 5
# The moments are the same in each run, so that a failure can be repeated.
MOMENTS = random.Random(19)
PLAYBOOKS = "selfhosted.trigger_dev."


def test_a_removal_that_is_killed_goes_on(deployment: Deployment, hello: Hello, tmp_path: Path) -> None:
    query = """SELECT "friendlyId", "createdAt" FROM "TaskRun" ORDER BY 1"""
    hits = 0
    for _ in range(ROUNDS):
        assert hello.run().status == "COMPLETED"
        runs = deployment.sql(query)
        for _ in range(KILLS):
            seconds = MOMENTS.uniform(4, 25)
            done = deployment.play(playbook=f"{PLAYBOOKS}uninstall", killed_after=seconds)
            hits += done.code < 0
            print(f"killed after {seconds:.0f} s: {'at work' if done.code < 0 else 'it was over'}")
        deployment.play(playbook=f"{PLAYBOOKS}uninstall").went_through(deployment)
        again = deployment.play(playbook=f"{PLAYBOOKS}uninstall")
        again.went_through(deployment)
        assert again.changes == []
        for node in deployment.nodes:
            assert node.output("docker ps -aq; ls /etc/systemd/system | grep ^trigger- || true") == ""
        deployment.play(scratch=tmp_path).went_through(deployment)
        assert [row for row in deployment.sql(query) if row in runs] == runs
    assert hits >= ROUNDS * KILLS / 2
    assert hello.run().status == "COMPLETED"
