# SPDX-License-Identifier: MIT
"""An installation of the community stack is taken over, though the program is killed on its way. `make soak`."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from old import COMMUNITY, PAD, UPSTREAM, adopt, blobs, digests_of, mount, rows_of
from verification.deployment import Deployment, Play
from verification.nodes import Node
from verification.runs import trigger
from verification.secrets import Secrets, leaks

from testbed.cluster import Cluster, Run
from testbed.hello import State

pytestmark = pytest.mark.soak

JOURNAL = "/opt/trigger/backup/adopt.json"
MINIO = "MC_HOST_local=http://admin:very-safe-password@127.0.0.1:9000"
# Rows that a run changes are those of another test.
KEPT = ("User", "Organization", "OrgMember", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerDeployment")


@dataclass
class Story:
    """What happened, from the old installation to the new one."""

    token: str = field(repr=False)
    before: dict[str, tuple[int, str]]
    images: set[str]
    secrets: Secrets = field(repr=False)
    settings: dict[str, Any]
    killed: Play
    adopted: Play
    after: dict[str, tuple[int, str]]
    images_after: set[str]
    completed: list[Run]
    again: Play


def start(control: Node) -> None:
    """Be the operator of the community stack instead."""
    control.output("docker compose --project-name %s down --volumes", UPSTREAM.project)
    control.output("docker compose --project-directory %s up --detach --wait", COMMUNITY.path)
    control.output("docker exec -e %s %s mc mb local/packets", MINIO, COMMUNITY.objects)


def kill(control: Node, step: str) -> threading.Thread:
    """Kill the program as soon as it has taken a step."""

    def wait() -> None:
        deadline = time.monotonic() + 600
        while control.run("grep -q %s %s", f'"{step}"', JOURNAL).rc != 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        control.run("kill -9 $(pgrep -f 'trigger_backup --directory')")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def story(deployment: Deployment, control: Node, tmp_path_factory: pytest.TempPathFactory) -> Story:
    scratch = tmp_path_factory.mktemp("community")
    files: Path = scratch / "all"
    start(control)
    with COMMUNITY.hello(control) as old:
        key, cluster = old.key(), old.cluster
        state = State(**json.loads((old.folder / "state.json").read_text()))
        queued = [trigger(cluster, key), trigger(cluster, key, pad=PAD)]
    before = digests_of({name: COMMUNITY.sql(control, rows_of(name)) for name in KEPT})
    images = blobs(control, mount(control, COMMUNITY.registry, "/var/lib/registry"))
    secrets = COMMUNITY.secrets(control)
    written = adopt(deployment, "adopt_settings", scratch, files, adopt_path=COMMUNITY.path)
    assert written.code == 0, written.ending()
    settings = yaml.safe_load((files / "adopted.yml").read_text())
    killer = kill(control, "copy")
    killed = adopt(deployment, "adopt", scratch, files)
    killer.join()
    stopped = COMMUNITY.running(control)
    assert COMMUNITY.webapp not in stopped
    adopted = adopt(deployment, "adopt", scratch, files)
    adopted.went_through(deployment)
    after = digests_of({name: deployment.sql(rows_of(name)) for name in KEPT})
    images_after = blobs(control, mount(control, "trigger-registry-trigger-registry-1", "/var/lib/registry"))
    completed = [Cluster(control.name).await_run(run, key) for run in queued]
    again = adopt(deployment, "adopt", scratch, files)
    return Story(state.token, before, images, secrets, settings, killed, adopted, after, images_after, completed, again)


def test_settings_are_translated(story: Story) -> None:
    wanted = {
        "trigger_time_zone": "Europe/Vienna",
        "webapp_postgres_connection_limit": 15,
        "webapp_redis_memory_mib": 1024,
        "trigger_api_origin": "http://control.adopt:8030",
    }
    assert {name: story.settings.get(name) for name in wanted} == wanted
    assert "webapp_memory_mib" not in story.settings


def test_what_was_killed_goes_on(story: Story) -> None:
    assert story.killed.code != 0
    assert "postgres: " in story.adopted.text


def test_everything_is_there(story: Story) -> None:
    assert story.after == story.before
    assert story.images
    assert story.images <= story.images_after


def test_queued_runs_complete_on_a_worker_with_a_new_token(story: Story) -> None:
    assert [run.status for run in story.completed] == ["COMPLETED"] * 2
    assert {run.worker for run in story.completed} == {"control.adopt"}


def test_developers_keep_their_access(story: Story, control: Node) -> None:
    assert Cluster(control.name).ask("GET", "/api/v2/whoami", bearer=story.token).status == 200


def test_a_second_run_changes_nothing(story: Story, deployment: Deployment) -> None:
    story.again.went_through(deployment)
    assert story.again.changes == []


def test_no_secret_was_shown(story: Story, deployment: Deployment) -> None:
    secrets = Secrets({**story.secrets, **deployment.secrets()})
    assert [leaks(play.output, secrets) for play in (story.killed, story.adopted, story.again)] == [set()] * 3
