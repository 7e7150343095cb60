# SPDX-License-Identifier: MIT
"""An upgrade is killed at ten moments, one after the other; the next run goes on, and nothing is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from verification.deployment import Deployment

from testbed.hello import Hello

pytestmark = pytest.mark.soak

TIMES = 10
OLD, NEW = "v4.2.0", "v4.5.12"
WEBAPP = "trigger-webapp-webapp-1"
RECORD = "/opt/trigger/backup/upgrade.json"
KEPT = ("User", "Organization", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerGroupToken", "TaskRun")
# The moments are the same in each run, so that a failure can be repeated.
MOMENTS = random.Random(18)


def rows(deployment: Deployment) -> dict[str, list[str]]:
    return {
        table: [identity for (identity,) in deployment.sql(f'SELECT id FROM "{table}" ORDER BY id')] for table in KEPT
    }


def test_an_upgrade_that_is_killed_goes_on(deployment: Deployment, hello: Hello, tmp_path: Path) -> None:
    assert hello.run().status == "COMPLETED"
    before = rows(deployment)
    values = {"trigger_version": NEW}
    playbook = "selfhosted.trigger_dev.upgrade"
    snapshots = set()
    for number in range(TIMES):
        # Later and later: some are to find the new version deployed, also on a slow machine.
        seconds = MOMENTS.uniform(15, 60 + 30 * number)
        done = deployment.play(values=values, scratch=tmp_path, playbook=playbook, killed_after=seconds)
        print(f"killed after {seconds:.0f} s: {'at work' if done.code < 0 else 'it was over'}")
        if deployment.control.run(f"test -e {RECORD}").rc == 0:
            record = json.loads(deployment.control.read(RECORD))
            assert record["from"] == OLD
            # As long as the old version runs, each run makes a newer one.
            if NEW in deployment.control.run("docker inspect --format '{{.Config.Image}}' %s", WEBAPP).stdout:
                snapshots.add(record["snapshot"])
    deployment.play(values=values, scratch=tmp_path, playbook=playbook).went_through(deployment)
    assert rows(deployment) == before
    # What the way back is was made before the new version ran, and stays the one.
    record = json.loads(deployment.control.read(RECORD))
    assert (record["from"], record["to"], record["state"]) == (OLD, NEW, "complete")
    assert snapshots == {record["snapshot"]}
    assert hello.run().status == "COMPLETED"
    again = deployment.play(values=values, scratch=tmp_path)
    again.went_through(deployment)
    assert again.changes == []
