# SPDX-License-Identifier: MIT
"""An installation of upstream's Compose files is taken over with its data, and can be started again.

Everything is compared that users would miss: rows by digest, large outputs byte by byte, and layers of images.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from old import PAD, TABLES, UPSTREAM, adopt, blobs, digests_of, mount, rows_of
from verification.deployment import Deployment, Play
from verification.nodes import Node, eventually
from verification.outage import Outages, outages
from verification.runs import clickhouse, packet, trigger
from verification.secrets import Secrets, leaks

from testbed.cluster import Cluster, Run
from testbed.hello import Hello, State

pytestmark = pytest.mark.soak

LEFT = ("adopt.json", "adopt_plan.json", "lock", "repository.json", "trigger-backup", "trigger_backup")
SUPERVISOR = "trigger-supervisor-1"
UNDO = "/opt/trigger/backup/trigger-backup adopt-undo"
OF_CLICKHOUSE = (
    "SELECT run_id, status, created_at FROM trigger_dev.task_runs_v2 FINAL WHERE friendly_id IN ({}) ORDER BY 1"
)
AN_HOUR_AGO = """UPDATE "WorkerInstance" SET "lastHeartbeatAt" = "lastHeartbeatAt" - interval '1 hour'"""


@dataclass
class Story:
    """What happened, from the old installation to the new one."""

    key: str = field(repr=False)
    token: str = field(repr=False)
    large: Run
    output: str
    queued: list[str]
    before: dict[str, tuple[int, str]]
    analytics: str
    images: set[str]
    references: list[list[str]]
    worker_token: str = field(repr=False)
    secrets: Secrets = field(repr=False)
    running: set[str]
    shown: Play
    written: Play
    settings: dict[str, Any]
    tried: Play
    running_after_try: set[str]
    away: Outages
    adopted: Play
    after: dict[str, tuple[int, str]]
    images_after: set[str]
    completed: list[Run]
    fresh: Run
    again: Play


@pytest.fixture(scope="module")
def story(deployment: Deployment, control: Node, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live through it once; the tests look at what came of it."""
    scratch = tmp_path_factory.mktemp("story")

    def old_clickhouse(query: str) -> str:
        return clickhouse(control, query, "trigger-clickhouse-1")

    files = scratch / "all"
    with UPSTREAM.hello(control) as old:
        large = old.run({"pad": PAD})
        key, cluster = old.key(), old.cluster
        output = packet(deployment, cluster, key, large.id)
        state = State(**json.loads((old.folder / "state.json").read_text()))
        # Runs that wait for a worker. Nobody has heard of the stopped one for long.
        control.output("docker stop %s", SUPERVISOR)
        queued = [trigger(cluster, key), trigger(cluster, key)]
        UPSTREAM.sql(control, AN_HOUR_AGO)
    listed = ", ".join(f"'{run}'" for run in (large.id, *queued))
    eventually(lambda: old_clickhouse(OF_CLICKHOUSE.format(listed)).count("\n") == 2)
    analytics = old_clickhouse(OF_CLICKHOUSE.format(f"'{large.id}'"))
    before = digests_of({name: UPSTREAM.sql(control, rows_of(name, large.id)) for name in TABLES})
    references = UPSTREAM.sql(control, 'SELECT "imageReference" FROM "WorkerDeployment"')
    images = blobs(control, mount(control, UPSTREAM.registry, "/var/lib/registry"))
    worker_token = control.output("docker exec trigger-webapp-1 cat /home/node/shared/worker_token")
    secrets = UPSTREAM.secrets(control).and_also(worker_token=worker_token)
    running = UPSTREAM.running(control)

    shown = adopt(deployment, "adopt_settings", scratch, files, "--check", "--diff", adopt_path=UPSTREAM.path)
    assert not files.exists()
    written = adopt(deployment, "adopt_settings", scratch, files, "--diff", adopt_path=UPSTREAM.path)
    settings = yaml.safe_load((files / "adopted.yml").read_text())
    tried = adopt(deployment, "adopt", scratch, files, "--check", "--diff")
    after_try = UPSTREAM.running(control)
    with outages(cluster.webapp) as away:
        adopted = adopt(deployment, "adopt", scratch, files, "--diff")
    adopted.went_through(deployment)
    after = digests_of({name: deployment.sql(rows_of(name, large.id)) for name in TABLES})
    images_after = blobs(control, mount(control, "trigger-registry-trigger-registry-1", "/var/lib/registry"))
    new = Hello(Cluster(control.name))
    completed = [new.cluster.await_run(run, key) for run in queued]
    fresh = new.trigger(key, {})
    again = adopt(deployment, "adopt", scratch, files)
    return Story(
        key, state.token, large, output, queued, before, analytics, images, references, worker_token, secrets, running,
        shown, written, settings, tried, after_try, away, adopted, after, images_after, completed, fresh, again,
    )  # fmt: skip


def test_settings_are_translated(story: Story) -> None:
    assert story.written.code == 0, story.written.ending()
    assert story.settings["trigger_origin"] == "http://localhost:8030"
    assert story.settings["trigger_api_origin"] == "http://control.adopt:8030"
    assert story.settings["trigger_version"] == "v4.2.0"
    assert story.settings["webapp_github_client_id"] == "of-the-app"
    assert "NODE_MAX_OLD_SPACE_SIZE" in story.written.text
    assert "SESSION_SECRET has a published value" in story.written.text


def test_a_dry_run_tells_and_changes_nothing(story: Story, deployment: Deployment) -> None:
    assert story.shown.code == 0, story.shown.ending()
    assert "Would write" in story.shown.text
    story.tried.went_through(deployment)
    assert "Would stop the old installation" in story.tried.text
    assert story.running_after_try == story.running


def test_every_row_is_there(story: Story) -> None:
    assert story.after == story.before
    assert all(number for number, _ in story.before.values())


def test_images_are_there_and_named_by_the_new_registry(story: Story, deployment: Deployment) -> None:
    assert story.images
    assert story.images <= story.images_after
    assert all(row[0].startswith("localhost:5000/trigger/") for row in story.references)
    now = deployment.sql('SELECT "imageReference" FROM "WorkerDeployment"')
    assert {row[0].partition("/")[2] for row in story.references} == {row[0].partition("/")[2] for row in now}
    assert {row[0].partition("/")[0] for row in now} == {"control.adopt:5000"}


def test_large_outputs_are_there(story: Story, deployment: Deployment, hello: Hello) -> None:
    assert len(json.loads(story.output)["pad"]) == PAD
    assert packet(deployment, hello.cluster, story.key, story.large.id) == story.output


def test_queued_runs_complete_and_new_ones_too(story: Story) -> None:
    assert [run.status for run in story.completed] == ["COMPLETED"] * 2
    assert story.fresh.status == "COMPLETED"
    assert story.fresh.worker == "control.adopt"


def test_developers_keep_their_access(story: Story, hello: Hello) -> None:
    assert hello.cluster.ask("GET", "/api/v2/whoami", bearer=story.token).status == 200


def test_analytics_are_there_and_follow(story: Story, control: Node) -> None:
    assert clickhouse(control, OF_CLICKHOUSE.format(f"'{story.large.id}'")).strip() == story.analytics.strip()
    query = OF_CLICKHOUSE.format(", ".join(f"'{run}'" for run in (*story.queued, story.fresh.id)))
    assert eventually(lambda: clickhouse(control, query).count("COMPLETED_SUCCESSFULLY") == 3)


def test_the_worker_token_is_kept_and_published_secrets_are_not(story: Story, deployment: Deployment) -> None:
    now = deployment.secrets()
    assert now["worker_token"] == story.worker_token
    assert now["encryption_key"] == story.secrets["ENCRYPTION_KEY"]
    assert now["session_secret"] != story.secrets["SESSION_SECRET"]
    assert now["managed_worker_secret"] != story.secrets["MANAGED_WORKER_SECRET"]
    roles = deployment.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin")
    assert roles == [["postgres"]]


def test_it_says_how_long_the_webapp_was_away(story: Story) -> None:
    told = re.search(r"The webapp was down for (\d+) seconds", story.adopted.text)
    assert told
    # What is told goes on until registry and gateway are there, too.
    assert story.away.longest - 5 <= int(told[1]) <= story.away.longest + 90, story.away
    assert re.search(r"postgres: \d+ rows of \d+ tables", story.adopted.text)
    assert "adopt-undo --discard" in story.adopted.text


def test_no_secret_was_shown(story: Story, deployment: Deployment) -> None:
    secrets = {**story.secrets, **deployment.secrets()}
    plays = (story.shown, story.written, story.tried, story.adopted, story.again)
    assert [leaks(play.output, Secrets(secrets)) for play in plays] == [set()] * len(plays)


def test_nothing_of_the_way_is_left(story: Story, control: Node) -> None:
    assert story.adopted
    left = control.output("ls /opt/trigger/backup").split()
    assert sorted(left) == [
        "adopt.json",
        "adopt_plan.json",
        "lock",
        "repository.json",
        "trigger-backup",
        "trigger_backup",
    ]
    assert control.output("docker ps -aq --filter label=com.docker.compose.project=trigger-adopt") == ""


def test_a_second_run_changes_nothing(story: Story, deployment: Deployment) -> None:
    story.again.went_through(deployment)
    assert story.again.changes == []


def test_the_old_installation_stays_stopped_and_whole(story: Story, control: Node) -> None:
    assert story.adopted
    assert UPSTREAM.running(control) == set()
    policies = "docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' %s"
    assert control.output(policies, UPSTREAM.webapp) == "no"


def test_the_way_back(story: Story, control: Node) -> None:
    refused = control.run(UNDO)
    assert refused.rc == 1
    assert "--discard" in refused.stderr
    control.output(f"{UNDO} --discard")
    assert eventually(lambda: UPSTREAM.running(control) == story.running)
    policies = "docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' %s"
    assert control.output(policies, UPSTREAM.webapp) == "unless-stopped"
    with UPSTREAM.hello(control) as old:
        who = lambda: old.cluster.ask("GET", "/api/v2/whoami", bearer=story.token).status  # noqa: E731
        assert eventually(lambda: _answers(who) == 200)
        control.output("docker start %s", SUPERVISOR)
        assert old.trigger(story.key, {}).status == "COMPLETED"
    after = digests_of({name: UPSTREAM.sql(control, rows_of(name)) for name in ("User", "Project", "OrgMember")})
    assert after == {name: story.before[name] for name in after}


def _answers(question: Any) -> int:
    try:
        return int(question())
    except Exception:  # not yet
        return 0
