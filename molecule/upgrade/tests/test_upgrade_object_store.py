# SPDX-License-Identifier: MIT
"""Large payloads move to the other bundled object store, and are the same there. It runs after the upgrade."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from verification.deployment import Deployment, Play
from verification.nodes import Node
from verification.outage import Outages, outages
from verification.runs import packet

from testbed.cluster import Run
from testbed.hello import Hello

pytestmark = pytest.mark.soak

WEBAPP = "trigger-webapp-webapp-1"
# Above what a run keeps in the database.
PAD = 700_000
OTHER = {"minio": "seaweedfs", "seaweedfs": "minio"}


def volume(store: str) -> str:
    return f"trigger_{store}_data"


def stores(control: Node) -> set[str]:
    """Give the stores that run."""
    names = control.output("docker ps --format '{{.Names}}'").split()
    return {store for store in OTHER if f"trigger-webapp-trigger-{store}-1" in names}


@dataclass
class Story:
    """What happened."""

    old: str
    new: str
    dry: Play
    moved: Play
    away: Outages
    running: set[str]
    volumes: list[str]
    before: str
    after: str
    again: Play
    fresh: Run
    fresh_output: str
    accepted: Play
    volumes_after: list[str]
    refused: Play


@pytest.fixture(scope="module")
def story(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live through it once; the tests look at what came of it."""
    scratch, control = tmp_path_factory.mktemp("move"), deployment.control
    (old,) = stores(control)
    new = OTHER[old]
    # That of the tests before this one.
    version = control.output("docker inspect --format '{{.Config.Image}}' %s", WEBAPP).rpartition(":")[2]

    def play(*options: str, **values: Any) -> Play:
        chosen = {"trigger_version": version, "webapp_object_store": new, **values}
        name = "selfhosted.trigger_dev.object_store_move"
        return deployment.play(*options, values=chosen, scratch=scratch, playbook=name)

    large = hello.run({"pad": PAD}).id
    before = packet(deployment, hello.cluster, hello.key(), large)
    dry = play("--check")
    with outages(hello.cluster.webapp) as away:
        moved = play()
    after = packet(deployment, hello.cluster, hello.key(), large)
    running, volumes = stores(control), control.output("docker volume ls -q").split()
    chosen = {"trigger_version": version, "webapp_object_store": new}
    again = deployment.play(values=chosen, scratch=scratch)
    fresh = hello.run({"pad": PAD})
    fresh_output = packet(deployment, hello.cluster, hello.key(), fresh.id)
    accepted = play(backup_object_store_move_accept_enabled=True)
    volumes_after = control.output("docker volume ls -q").split()
    return Story(
        old, new, dry, moved, away, running, volumes, before, after, again, fresh, fresh_output, accepted,
        volumes_after, play(),
    )  # fmt: skip


def test_a_dry_run_changes_nothing(story: Story) -> None:
    assert story.dry.code == 0, story.dry.ending()
    assert f"Would copy the objects of {story.old} to {story.new}" in story.dry.text


def test_large_outputs_are_in_the_new_store(story: Story, deployment: Deployment) -> None:
    story.moved.went_through(deployment)
    assert "compared by size and MD5" in story.moved.text
    assert story.running == {story.new}
    assert story.after == story.before
    assert len(json.loads(story.after)["pad"]) == PAD


def test_the_webapp_is_away_once(story: Story) -> None:
    """From the last difference to the end of its deployment."""
    assert len(story.away.seconds) == 1, story.away


def test_the_old_volume_is_kept_until_it_is_accepted(story: Story, deployment: Deployment) -> None:
    assert {volume(story.old), volume(story.new)} <= set(story.volumes)
    story.accepted.went_through(deployment)
    assert volume(story.old) not in story.volumes_after
    assert volume(story.new) in story.volumes_after


def test_a_second_deployment_changes_nothing(story: Story, deployment: Deployment) -> None:
    story.again.went_through(deployment)
    assert story.again.changes == []


def test_new_outputs_go_there(story: Story) -> None:
    assert story.fresh.status == "COMPLETED"
    assert len(json.loads(story.fresh_output)["pad"]) == PAD


def test_nothing_to_move_is_refused(story: Story) -> None:
    assert story.refused.code != 0
    assert "there is nothing to move" in story.refused.message
    assert "webapp_object_store" in story.refused.message
