# SPDX-License-Identifier: MIT
"""Postgres 15, with which this scenario begins, becomes 17, and then 18. It runs after the upgrade of Trigger.dev."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from verification.deployment import POSTGRES, Deployment, Play
from verification.nodes import Node

from testbed.cluster import Run
from testbed.hello import Hello

pytestmark = pytest.mark.soak

WEBAPP = "trigger-webapp-webapp-1"
OLD, NEW = "docker.io/library/postgres:15", "docker.io/library/postgres:17.6-bookworm"
# It keeps its data in another place.
NEWEST = "docker.io/library/postgres:18"
KEPT = "trigger_postgres_old_data"
TABLES = ("User", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerGroupToken", "TaskRun")


def rows(deployment: Deployment) -> dict[str, list[list[str]]]:
    """Give what users would miss."""
    return {name: deployment.sql(f'SELECT * FROM "{name}" ORDER BY id') for name in TABLES}


def major(deployment: Deployment) -> str:
    return deployment.sql("SHOW server_version")[0][0].partition(".")[0]


@dataclass
class Story:
    """What happened."""

    majors: list[str]
    refused: dict[str, Play]
    dry: Play
    before: dict[str, list[list[str]]]
    upgraded: Play
    after: dict[str, list[list[str]]]
    slots: dict[str, str]
    volumes: str
    fresh: Run
    listed: set[str]
    accepted: Play
    volumes_after: str
    newest: Play
    carried: dict[str, list[list[str]]]
    last: Run
    again: Play


@pytest.fixture(scope="module")
def story(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live through it once; the tests look at what came of it."""
    scratch, control = tmp_path_factory.mktemp("postgres"), deployment.control
    version = control.output("docker inspect --format '{{.Config.Image}}' %s", WEBAPP).rpartition(":")[2]
    # As the tests before this one have left them.
    store = "minio" if "trigger-minio" in control.output("docker ps --format '{{.Names}}'") else "seaweedfs"

    def play(*options: str, name: str = "postgres_upgrade", **values: Any) -> Play:
        chosen = {"trigger_version": version, "webapp_object_store": store, "webapp_postgres_image": NEW, **values}
        return deployment.play(*options, values=chosen, scratch=scratch, playbook=f"selfhosted.trigger_dev.{name}")

    hello.run()
    majors = [major(deployment)]
    refused = {
        "site": play(name="site"),
        "same": play(webapp_postgres_image=OLD),
        "none": play(webapp_postgres_image="docker.io/library/postgres:13"),
    }
    dry = play("--check")
    majors.append(major(deployment))
    control.output("docker stop %s", WEBAPP)  # so that nothing changes meanwhile
    before = rows(deployment)
    control.output("docker start %s", WEBAPP)
    upgraded = play()
    majors.append(major(deployment))
    after = rows(deployment)
    slots = dict(deployment.sql("SELECT slot_name, active FROM pg_replication_slots"))
    volumes = control.output("docker volume ls -q")
    fresh = hello.run()
    listed = {run["id"] for run in hello.cluster.ask("GET", "/api/v1/runs", bearer=hello.key()).json()["data"]}
    accepted = play(backup_postgres_upgrade_accept_enabled=True)
    volumes_after = control.output("docker volume ls -q")
    newest = play(webapp_postgres_image=NEWEST)
    majors.append(major(deployment))
    carried = rows(deployment)
    last = hello.run()
    again = play(webapp_postgres_image=NEWEST, name="site")
    return Story(
        majors, refused, dry, before, upgraded, after, slots, volumes, fresh, listed, accepted, volumes_after,
        newest, carried, last, again,
    )  # fmt: skip


def test_it_begins_with_the_old_major(story: Story) -> None:
    assert story.majors[:2] == ["15", "15"]


REFUSALS = {
    "site": ["holds data of Postgres 15", "playbook postgres_upgrade"],
    "same": ["of Postgres 15 already", "webapp_postgres_image"],
    "none": ["this role runs Postgres", "webapp_postgres_image"],
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_work_is_refused(story: Story, name: str) -> None:
    assert story.refused[name].code != 0
    assert [word for word in REFUSALS[name] if word not in story.refused[name].message] == []


def test_a_dry_run_predicts_the_upgrade(story: Story) -> None:
    assert story.dry.code == 0, story.dry.ending()
    assert "Would upgrade Postgres" in story.dry.text or any("Update the data" in each for each in story.dry.changes)


def test_every_row_is_carried_over(story: Story, deployment: Deployment) -> None:
    story.upgraded.went_through(deployment)
    assert story.majors[2] == "17"
    assert story.after["TaskRun"]
    assert {name: len(found) for name, found in story.after.items()} == {
        name: len(found) for name, found in story.before.items()
    }
    assert {name: found for name, found in story.after.items() if name != "PersonalAccessToken"} == {
        name: found for name, found in story.before.items() if name != "PersonalAccessToken"
    }


def test_replication_goes_on(story: Story, control: Node) -> None:
    assert {name: story.slots.get(name) for name in ("task_runs_to_clickhouse_v1", "electric_slot_default")} == {
        "task_runs_to_clickhouse_v1": "t",
        "electric_slot_default": "t",
    }
    assert story.fresh.status == "COMPLETED"
    assert story.fresh.id in story.listed


def test_the_old_data_is_kept_until_it_is_accepted(story: Story, deployment: Deployment) -> None:
    assert KEPT in story.volumes.split()
    story.accepted.went_through(deployment)
    assert KEPT not in story.volumes_after.split()
    assert POSTGRES in deployment.control.output("docker ps --format '{{.Names}}'").split()


def test_the_next_major_keeps_its_data_elsewhere(story: Story, deployment: Deployment) -> None:
    story.newest.went_through(deployment)
    assert story.majors[3] == "18"
    assert {row[0] for row in story.after["TaskRun"]} < {row[0] for row in story.carried["TaskRun"]}
    assert story.last.status == "COMPLETED"
    story.again.went_through(deployment)
    assert story.again.changes == []
