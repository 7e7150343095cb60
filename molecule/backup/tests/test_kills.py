# SPDX-License-Identifier: MIT
"""Backups and restores are killed at many moments: nothing is lost, and the next one goes on. `make soak-backup`.

The figures of ten backups under load are printed: docs/backup.md has them.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from verification.deployment import Deployment
from verification.nodes import Node, eventually

from testbed.hello import Hello

pytestmark = pytest.mark.soak

TIMES = 10
HOME = "/opt/trigger/backup"
PROGRAM = f"{HOME}/trigger-backup"
WEBAPP = "trigger-webapp-webapp-1"
KEPT = ("User", "Organization", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerGroupToken", "TaskRun")
# The moments are the same in each run, so that a failure can be repeated.
MOMENTS = random.Random(17)


def rows(deployment: Deployment) -> dict[str, list[list[str]]]:
    return {table: deployment.sql(f'SELECT * FROM "{table}" ORDER BY id') for table in KEPT}


def status(control: Node) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(control.read(f"{HOME}/status.json"))
    return found


def running(control: Node) -> bool:
    return control.output("docker inspect --format '{{.State.Running}}' %s", WEBAPP) == "true"


def unit(control: Node, name: str, *words: str) -> None:
    """Start the program as a unit of its own, which goes on without us."""
    control.output(f"systemd-run --unit={name} --collect --quiet {PROGRAM} {' '.join(words)}")


def active(control: Node, name: str) -> bool:
    return control.output("systemctl is-active %s || true", name) in ("active", "activating", "deactivating")


def kill(control: Node, name: str, seconds: float) -> bool:
    """Kill a unit after some time with everything that it has started. Tells whether it was still at work."""
    time.sleep(seconds)
    was_active = active(control, name)
    control.run("systemctl kill --signal=KILL %s", name)
    assert eventually(lambda: not active(control, name))
    control.run("systemctl reset-failed %s", name)
    return was_active


@pytest.fixture(scope="module")
def backed_up(deployment: Deployment, hello: Hello) -> dict[str, Any]:
    """An installation with runs, an image, and a large output, which was backed up ten times under load."""
    assert hello.run({"pad": 700_000}).status == "COMPLETED"
    play = deployment.play(playbook="selfhosted.trigger_dev.backup")
    assert play.code == 0, play.ending()
    good = []
    for _ in range(TIMES):
        hello.run()
        deployment.control.output("systemctl start trigger-backup.service")
        good.append(status(deployment.control)["good"])
    pauses = [each["pause_seconds"] for each in good]
    figures = {
        "pause_median_seconds": statistics.median(pauses),
        "pause_worst_seconds": max(pauses),
        "backup_median_seconds": statistics.median(each["seconds"] for each in good),
        "bytes": good[-1]["bytes"],
        "bytes_added_median": statistics.median(each["bytes_added"] for each in good),
    }
    print(f"\nfigures: {json.dumps(figures)}")
    return {"seconds": figures["backup_median_seconds"], **figures}


def test_the_pause_is_short_enough_for_runs(backed_up: dict[str, Any]) -> None:
    """Workers and runs bridge 34 s (measured with the genuine programs)."""
    assert backed_up["pause_worst_seconds"] < 34


def test_kills_of_a_backup(backed_up: dict[str, Any], deployment: Deployment) -> None:
    control, name, hits = deployment.control, "trigger-backup.service", 0
    for number in range(TIMES):
        control.output("systemctl start --no-block %s", name)
        seconds = MOMENTS.uniform(0.2, backed_up["seconds"])
        hit = kill(control, name, seconds)
        hits += hit
        print(f"backup killed after {seconds:.1f} s: {'at work' if hit else 'it was over'}")
        assert eventually(lambda: running(control)), f"the webapp stays stopped after kill {number}"
        assert eventually(lambda: control.run(f"test -e {HOME}/webapp_is_stopped").rc != 0)
    assert hits >= TIMES / 2
    began = time.time()
    control.output("systemctl start %s", name)
    assert status(control)["good"]["time"] >= began - 1
    done = json.loads(control.output(f"{PROGRAM} verify").splitlines()[-1])
    assert done


def test_kills_of_a_restore(backed_up: dict[str, Any], deployment: Deployment, hello: Hello, tmp_path: Path) -> None:
    """Each one goes on where the last one was ended; every third is taken back first."""
    assert backed_up
    control = deployment.control
    before = rows(deployment)
    control.output("systemctl start trigger-backup.service")
    hits, undone = 0, 0
    for number in range(TIMES):
        unit(control, "soak-restore", "restore", "latest", "--replace")
        seconds = MOMENTS.uniform(0.2, 45)
        hit = kill(control, "soak-restore", seconds)
        hits += hit
        print(f"restore killed after {seconds:.1f} s: {'at work' if hit else 'it was over'}")
        if number % 3 == 2:
            control.output(f"{PROGRAM} undo --discard")
            undone += 1
    assert hits >= TIMES / 2
    assert undone
    values = {"backup_restore_replace_enabled": True}
    play = deployment.play(playbook="selfhosted.trigger_dev.backup_restore", values=values, scratch=tmp_path)
    assert play.code == 0, play.ending()
    after = rows(deployment)
    for table in KEPT:
        assert [row[0] for row in after[table]] == [row[0] for row in before[table]], table
    assert hello.run().status == "COMPLETED"
