# SPDX-License-Identifier: MIT
"""An installation is brought back to a time between two backups: without what was done later.

Runs on hosts that have a backup, after test_backup.py.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from verification.deployment import Deployment, Play
from verification.nodes import Node, eventually
from verification.runs import clickhouse, packet, trigger

from testbed.cluster import Run
from testbed.common import docker
from testbed.hello import Hello

pytestmark = pytest.mark.soak

WORKER, SUPERVISOR = "worker1.backup", "trigger-supervisor-supervisor-1"
PLAYBOOKS = "selfhosted.trigger_dev."
# Above what a run keeps in the database.
PAD = 700_000
HOME = "/opt/trigger/backup"
PROGRAM = f"{HOME}/trigger-backup"
RECEIVER = "trigger-backup-receive"
# The timer stays out of the way: the tests make points when they need them.
POINTS = {"backup_pitr_enabled": True, "backup_pitr_interval_minutes": 720}
TABLES = ("TaskRun", "TaskRunExecutionSnapshot", "Project", "RuntimeEnvironment")


def written(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def supervisor(verb: str) -> None:
    docker("exec", WORKER, "docker", verb, SUPERVISOR)


def save_point(control: Node) -> dict[str, Any]:
    """Save one, and give what the program keeps of it."""
    assert control.run("systemctl start trigger-backup-point").rc == 0, control.run(
        "journalctl -u trigger-backup-point -n 20 -o cat"
    ).stdout
    found: dict[str, Any] = json.loads(control.read(f"{HOME}/status.json"))["point"]
    return found


def counts(deployment: Deployment) -> dict[str, int]:
    return {table: int(deployment.sql(f'SELECT count(*) FROM "{table}"')[0][0]) for table in TABLES}


@dataclass
class Story:
    first: dict[str, Any]
    point: dict[str, Any]
    # Until the restore there was only one copy of the database, though the receiver was killed.
    copies: int
    inside: Run
    output: str
    queued: str
    later: Run
    before: dict[str, int]
    refused: dict[str, str]
    listed: str
    restored: Play
    after: dict[str, int]
    known: list[list[str]]
    output_after: str
    completed: Run
    fresh: Run
    again: dict[str, Any]


def refusal(control: Node, text: str) -> str:
    """Ask for the state of a time that there is none of."""
    done = control.run(f"{PROGRAM} restore latest --replace --time {text}")
    assert done.rc == 1
    return str(done.stderr).strip()


@pytest.fixture(scope="module")
def story(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live through it once; the tests look at what came of it."""
    scratch = tmp_path_factory.mktemp("story")
    cluster, control = hello.cluster, deployment.control
    key = hello.key()
    values: dict[str, Any] = dict(POINTS)
    enabled = deployment.play(values=values, scratch=scratch, playbook=PLAYBOOKS + "backup")
    enabled.went_through(deployment)
    began = time.time()
    first = save_point(control)

    inside = hello.run({"pad": PAD})
    output = packet(deployment, cluster, key, inside.id)
    control.run(f"systemctl kill --signal=KILL {RECEIVER}")
    supervisor("stop")
    queued = trigger(cluster, key)
    # A point that is killed leaves nothing that the next one stumbles over.
    control.run("systemctl start --no-block trigger-backup-point")
    assert eventually(lambda: control.run("systemctl is-active trigger-backup-point").stdout.strip() == "activating")
    control.run("systemctl kill --signal=KILL trigger-backup-point")
    assert eventually(lambda: control.run("systemctl is-active trigger-backup-point").stdout.strip() == "failed")
    before = counts(deployment)
    point = save_point(control)
    log = control.run("journalctl -u trigger-backup-point -o cat --since @%s", str(int(began))).stdout
    moment = written(time.time() + 1)

    supervisor("start")
    time.sleep(2)
    later = hello.run()
    cluster.await_run(queued, key)
    refused = {
        "future": refusal(control, written(time.time() + 7200)),
        "early": refusal(control, "2020-01-31T12:00:00Z"),
        "none": refusal(control, "2026-02-30T12:00:00Z"),
    }
    listed = control.run(f"{PROGRAM} list").stdout
    supervisor("stop")
    values.update(backup_restore_time=moment, backup_restore_replace_enabled=True)
    restored = deployment.play(values=values, scratch=scratch, playbook=PLAYBOOKS + "backup_restore")
    restored.went_through(deployment)
    known = deployment.sql('SELECT "friendlyId" FROM "TaskRun"')
    after = counts(deployment)
    supervisor("start")
    completed = cluster.await_run(queued, key)
    output_after = packet(deployment, cluster, key, inside.id)
    fresh = hello.run()
    again = save_point(control)
    return Story(
        first, point, log.count("Copying the database"), inside, output, queued, later, before, refused, listed,
        restored, after, known, output_after, completed, fresh, again,
    )  # fmt: skip


def test_a_point_is_small_and_stops_nothing(story: Story) -> None:
    """The first one has the copy of the database."""
    assert story.point["pause_seconds"] == 0
    assert story.point["bytes_added"] < story.first["bytes"] / 2
    assert story.copies == 1


def test_the_state_of_that_time_is_back(story: Story) -> None:
    assert [story.queued] in story.known
    assert [story.inside.id] in story.known
    assert story.output_after == story.output
    assert len(json.loads(story.output)["pad"]) == PAD
    # Nothing runs between the point and the count but what the webapp does by itself with the waiting run.
    assert story.after["Project"] == story.before["Project"]
    assert story.after["TaskRun"] == story.before["TaskRun"]


def test_what_came_later_is_gone(story: Story) -> None:
    assert [story.later.id] not in story.known


def test_the_waiting_run_and_a_new_one_complete(story: Story) -> None:
    assert [story.completed.status, story.fresh.status] == ["COMPLETED"] * 2


def test_clickhouse_is_level_with_postgres(story: Story, control: Node) -> None:
    """It comes from the backup before; the runs of the point, and their later changes, are sent to it."""
    runs = (story.inside.id, story.queued, story.fresh.id, story.later.id)
    query = (
        "SELECT friendly_id, status FROM trigger_dev.task_runs_v2 FINAL WHERE friendly_id IN ({}) FORMAT TSV".format(
            ", ".join(f"'{run}'" for run in runs)
        )
    )
    wanted = dict.fromkeys(runs[:3], "COMPLETED_SUCCESSFULLY")

    def found() -> dict[str, str]:
        return dict(line.split("\t") for line in clickhouse(control, query).splitlines())

    assert eventually(lambda: found() == wanted), found()


def test_each_store_is_told_with_its_time(story: Story) -> None:
    assert f"The point {story.point['snapshot']} is restored" in story.restored.text
    assert "files, images, objects, postgres, redis" in story.restored.text
    assert "clickhouse. The webapp sends the runs that have changed since" in story.restored.text


REFUSALS = {
    "future": "is in the future",
    "early": "Nothing of this installation was saved before",
    "none": "Write it as",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_time_that_cannot_be_meant_is_refused(story: Story, name: str) -> None:
    assert REFUSALS[name] in story.refused[name]
    assert "backup_restore_time" in story.refused[name]


def test_points_are_listed_in_a_line(story: Story) -> None:
    rows = json.loads(story.listed.splitlines()[-1])
    assert [row for row in rows if "points " in row["text"] and "(backup_restore_time)" in row["text"]]


def test_points_go_on_after_the_restore(story: Story, control: Node) -> None:
    """The restored database has another history, so there is a new copy."""
    assert story.again["time"] > story.point["time"]
    assert "00000002" in control.run(f"ls {HOME}/log").stdout
    assert control.run(f"systemctl is-active {RECEIVER}").stdout.strip() == "active"
