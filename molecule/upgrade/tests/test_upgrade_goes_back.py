# SPDX-License-Identifier: MIT
"""An upgrade that fails is taken back by itself, if that is wanted; tests/refusals has what begins a rollback."""

from __future__ import annotations

from pathlib import Path

import pytest
from verification.deployment import Deployment

from testbed.hello import Hello

pytestmark = pytest.mark.soak

OLD, NEW = "v4.2.0", "v4.5.12"
IMAGE = "ghcr.io/triggerdotdev/trigger.dev"
WEBAPP, REDIS = "trigger-webapp-webapp-1", "trigger-webapp-trigger-redis-1"
KEPT = ("User", "Organization", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerGroupToken", "TaskRun")


def rows(deployment: Deployment) -> dict[str, list[list[str]]]:
    return {table: deployment.sql(f'SELECT id FROM "{table}" ORDER BY id') for table in KEPT}


def test_an_upgrade_that_fails_goes_back_by_itself(deployment: Deployment, hello: Hello, tmp_path: Path) -> None:
    control = deployment.control
    assert hello.run().status == "COMPLETED"
    before = rows(deployment)
    # The options of the upgrade are those of the rollback, so the image is what does not work: it is another program.
    control.output("docker tag $(docker inspect --format '{{.Image}}' %s) %s", REDIS, f"{IMAGE}:{NEW}")
    values = {"trigger_version": NEW, "upgrade_rollback_enabled": True, "webapp_start_timeout_seconds": 60}
    try:
        done = deployment.play(values=values, scratch=tmp_path, playbook="selfhosted.trigger_dev.upgrade")
    finally:
        control.output("docker rmi %s", f"{IMAGE}:{NEW}")
    assert done.code != 0
    assert f"The playbook rollback begins, and brings back {OLD}" in done.text, done.ending()
    assert f"{OLD} runs again" in done.text, done.ending()
    assert control.output("docker inspect --format '{{.Config.Image}}' %s", WEBAPP) == f"{IMAGE}:{OLD}"
    assert rows(deployment) == before
    assert hello.run().status == "COMPLETED"
    # The lock was that of the upgrade, and is free again; so is the way back.
    again = deployment.play(scratch=tmp_path, playbook="selfhosted.trigger_dev.rollback")
    assert again.code != 0
    assert "no upgrade that could be undone" in again.message
