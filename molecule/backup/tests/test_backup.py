# SPDX-License-Identifier: MIT
"""Backups are made under load, tried, and bring back an installation whose control host is gone, onto an empty one.

Everything is compared that users would miss: runs, users, projects, keys, large outputs byte by byte, and images.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from verification import expected
from verification.deployment import Deployment, Play
from verification.nodes import Node, eventually
from verification.outage import Outages, outages
from verification.runs import clickhouse, packet, trigger
from verification.secrets import Secrets, leaks

from testbed import node
from testbed.cluster import Run
from testbed.common import docker
from testbed.hello import Hello, State

CONTROL, WORKER = "control.backup", "worker1.backup"
GROUPS = {WORKER: "bootstrap", "worker1-eu.backup": "eu"}
SUPERVISOR, WEBAPP = "trigger-supervisor-supervisor-1", "trigger-webapp-webapp-1"
REPOSITORY = "/var/backups/trigger"
STATUS = "/opt/trigger/backup/status.json"
PLAYBOOKS = "selfhosted.trigger_dev."
KEPT = ("User", "Organization", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerGroupToken", "TaskRun")
# Above what a run keeps in the database.
PAD = 700_000
KILL_WHILE_STOPPED = """
for i in $(seq 1800); do
  if [ "$(docker inspect --format '{{.State.Running}}' %s)" = false ]; then
    exec systemctl kill --signal=KILL trigger-backup.service
  fi
  sleep 0.1
done
exit 1
""".strip()
TOO_EARLY = {"none-yet": "backup_verify", "no-repository-yet": "backup_list"}


def play(deployment: Deployment, name: str, scratch: Path, *options: str, **values: Any) -> Play:
    return deployment.play(*options, values=values, scratch=scratch, playbook=PLAYBOOKS + name)


def rows(deployment: Deployment, runs: set[str] | None = None) -> dict[str, list[list[str]]]:
    """Every row that users would miss; of runs those that are named."""
    found = {}
    for table in KEPT:
        key = '"friendlyId"' if table == "TaskRun" else "id"
        listed = deployment.sql(f'SELECT {key}, "createdAt" FROM "{table}" ORDER BY 1')
        found[table] = [row for row in listed if table != "TaskRun" or runs is None or row[0] in runs]
    return found


def digests(control: Node) -> set[str]:
    """Every manifest that the registry links to."""
    folder = control.output("docker volume inspect --format '{{.Mountpoint}}' trigger_registry_data").strip()
    return set(control.output(f"find {folder} -path '*_manifests*' -name link -exec cat {{}} + -printf '\\n'").split())


def supervisor(verb: str) -> None:
    docker("exec", WORKER, "docker", verb, SUPERVISOR)


@dataclass
class Story:
    """What happened, from the first backup to the installation that came back."""

    first: Play
    away: Outages
    bridging: Run
    second: Play
    listed: Play
    tried: Play
    large: Run
    output: str
    queued: list[str]
    before: dict[str, list[list[str]]]
    images: set[str]
    secrets: Secrets = field(repr=False)
    status: dict[str, Any]
    refused: dict[str, Play]
    restored: Play
    # Right after the restore, and what became of the queued runs.
    after: dict[str, list[list[str]]]
    images_after: set[str]
    completed: list[Run]
    fresh: Run
    again: Play


def damage(control: Node) -> Callable[[], None]:
    """Cut the largest pack of the repository in half; gives what repairs it."""
    find = f"find {REPOSITORY}/data -type f -printf '%s %p\\n' | sort -rn | head -1 | cut -d' ' -f2"
    pack = control.output(find).strip()
    control.output("cp -a %s /root/pack && truncate -s 1000 %s", pack, pack)

    def repair() -> None:
        control.output("cp -a /root/pack %s", pack)

    return repair


def replace_control(copy: Path) -> None:
    """Destroy the control host, and start an empty one of the same name that has the repository."""
    with open(copy, "wb") as file:
        subprocess.run(
            ["docker", "exec", CONTROL, "tar", "-C", "/", "-c", REPOSITORY.lstrip("/")], stdout=file, check=True
        )
    docker("rm", "--force", "--volumes", CONTROL)
    row = node.platform("backup")
    ports = [f"--publish={port}" for port in row["published_ports"]]
    node.start(CONTROL, row, "backup", "--network=trigger-backup", *ports)
    with open(copy, "rb") as file:
        subprocess.run(["docker", "exec", "-i", CONTROL, "tar", "-C", "/", "-x"], stdin=file, check=True)


@pytest.fixture(scope="module")
def story(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live through it once; the tests look at what came of it."""
    scratch = tmp_path_factory.mktemp("story")
    cluster, control = hello.cluster, deployment.control
    large = hello.run({"pad": PAD})
    key = hello.key()
    output = packet(deployment, cluster, key, large.id)

    refused = {name: play(deployment, playbook, scratch) for name, playbook in TOO_EARLY.items()}
    # Under load: a run goes on across the backup.
    long = trigger(cluster, key, sleep=30)
    assert eventually(lambda: cluster.ask("GET", f"/api/v3/runs/{long}", bearer=key).json()["status"] == "EXECUTING")
    with outages(cluster.webapp) as away:
        first = play(deployment, "backup", scratch)
    bridging = cluster.await_run(long, key)

    # Runs that wait for a worker at the moment of the backup.
    supervisor("stop")
    queued = [trigger(cluster, key), trigger(cluster, key)]
    second = play(deployment, "backup", scratch)
    listed = play(deployment, "backup_list", scratch)
    tried = play(deployment, "backup_verify", scratch)
    status = json.loads(control.read(STATUS))
    before, images, secrets = rows(deployment), digests(control), deployment.secrets()
    backup_key = json.loads(control.read(expected.SECRETS_FILE))["backup_key"]

    repair = damage(control)
    refused["damaged"] = play(deployment, "backup_verify", scratch)
    repair()
    refused["installed"] = play(deployment, "backup_restore", scratch)

    replace_control(scratch / "repository.tar")
    own = {"trigger_secrets": {"backup_key": "x" * 32}}
    refused["keyless"] = play(deployment, "backup_restore", scratch)
    refused["wrong-key"] = play(deployment, "backup_restore", scratch, **own)
    own["trigger_secrets"]["backup_key"] = backup_key
    # As a restore that was killed leaves it.
    unfinished = '{"snapshot": "x", "done": ["fetch", "stop"]}'
    control.output("echo %s > /opt/trigger/backup/restore.json", unfinished)
    refused["unfinished"] = deployment.play(values=own, scratch=scratch)
    control.output("rm /opt/trigger/backup/restore.json")
    refused["nowhere"] = play(deployment, "backup_restore", scratch, backup_repository="/var/backups/other", **own)
    restored = play(deployment, "backup_restore", scratch, **own)
    restored.went_through(deployment)
    after, images_after = rows(deployment, {row[0] for row in before["TaskRun"]}), digests(control)
    completed = [cluster.await_run(run, key) for run in queued]
    fresh = hello.run()
    again = deployment.play(scratch=scratch, values={})
    return Story(
        first, away, bridging, second, listed, tried, large, output, queued, before, images, secrets, status, refused,
        restored, after, images_after, completed, fresh, again,
    )  # fmt: skip


def test_a_backup_is_made_under_load(story: Story, deployment: Deployment) -> None:
    story.first.went_through(deployment)
    assert "The webapp was stopped for" in story.first.text
    assert story.bridging.status == "COMPLETED"


def test_the_webapp_is_away_once_and_not_for_the_copying(story: Story) -> None:
    """A stop of 5 s and a start; on a machine that carries other scenarios both take longer."""
    assert len(story.away.seconds) == 1
    assert story.away.longest < 60, story.away


def test_it_says_what_to_keep_elsewhere(story: Story) -> None:
    assert "Copy backup_key of /opt/trigger/secrets.json to your vault" in story.first.text
    assert f"The repository {REPOSITORY} is a folder of this host" in story.first.text


def test_a_second_backup_stores_what_is_new(story: Story) -> None:
    good = story.status["good"]
    assert 0 < good["bytes_added"] < good["bytes"] / 4, good


def test_backups_are_listed(story: Story, deployment: Deployment) -> None:
    assert story.listed.code == 0, story.listed.ending()
    assert story.listed.output.count("http://localhost:8030") == 2
    assert story.listed.changes == []


def test_a_backup_is_tried_and_leaves_nothing(story: Story) -> None:
    assert story.tried.code == 0, story.tried.ending()
    assert "was restored in separate containers at" in story.tried.text
    assert story.status["verified"]["snapshot"] == story.status["good"]["snapshot"]


REFUSALS = {
    "unfinished": ["has a restore that is not complete", "playbook backup_restore"],
    "none-yet": ["has made no backup yet", "playbook backup"],
    "no-repository-yet": ["There is no repository at /var/backups/trigger", "playbook backup"],
    "damaged": ["The test of the latest backup failed", "pack"],
    "installed": ["/opt/trigger has an installation", "backup_restore_replace_enabled"],
    "keyless": ["trigger_secrets.backup_key"],
    "wrong-key": ["The key does not open the repository", "trigger_secrets.backup_key"],
    "nowhere": ["There is no repository at /var/backups/other", "backup_repository"],
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_work_is_refused(story: Story, name: str) -> None:
    refused = story.refused[name]
    assert refused.code != 0, "the run went through"
    assert len(refused.errors) == 1, refused.ending()
    assert [word for word in REFUSALS[name] if word not in refused.message] == [], refused.message


def test_everything_is_back(story: Story) -> None:
    assert story.after == story.before
    assert all(story.before.values())
    assert story.images_after == story.images
    assert story.images


def test_secrets_and_tokens_are_back(story: Story, deployment: Deployment) -> None:
    assert deployment.secrets() == story.secrets


def test_large_outputs_are_back(story: Story, deployment: Deployment, hello: Hello) -> None:
    assert len(json.loads(story.output)["pad"]) == PAD
    assert packet(deployment, hello.cluster, hello.key(), story.large.id) == story.output


def test_queued_runs_complete(story: Story) -> None:
    assert [run.status for run in story.completed] == ["COMPLETED"] * 2


def test_the_worker_goes_on_with_its_token(story: Story) -> None:
    assert story.fresh.status == "COMPLETED"
    assert story.fresh.worker == WORKER


def test_workers_of_every_group_go_on_with_their_tokens(story: Story, deployment: Deployment) -> None:
    """Nothing was done on the worker: whatever is heard of it comes with the tokens of before."""
    assert story.fresh
    query = """
        SELECT w.name, g.name FROM "WorkerInstance" w JOIN "WorkerInstanceGroup" g ON g.id = w."workerGroupId"
        WHERE w."lastHeartbeatAt" > (now() AT TIME ZONE 'UTC') - interval '15 seconds'
    """

    found: dict[str, str] = {}

    def heard() -> dict[str, str]:
        """Gather them: not all send their heartbeats at the same time."""
        found.update((name, group) for name, group in deployment.sql(query))
        return found

    assert eventually(lambda: heard() == GROUPS), found


def test_developers_keep_their_access(story: Story, hello: Hello) -> None:
    assert story.fresh
    kept = State(**json.loads((hello.folder / "state.json").read_text()))
    assert hello.cluster.ask("GET", "/api/v2/whoami", bearer=kept.token).status == 200


def test_the_list_of_runs_has_those_of_before(story: Story, hello: Hello) -> None:
    listed = hello.cluster.ask("GET", "/api/v1/runs", bearer=hello.key()).json()["data"]
    assert {story.large.id, story.bridging.id, story.fresh.id, *story.queued} <= {run["id"] for run in listed}


def test_analytics_follow_later_changes(story: Story, deployment: Deployment) -> None:
    """Versions of rows come from the log position: a fresh server begins too low, and would lose every change."""
    assert story.completed
    query = "SELECT status FROM trigger_dev.task_runs_v2 FINAL WHERE friendly_id IN ({}) FORMAT TSV".format(
        ", ".join(f"'{run}'" for run in story.queued)
    )

    def statuses() -> list[str]:
        return clickhouse(deployment.control, query).split()

    assert eventually(lambda: statuses() == ["COMPLETED_SUCCESSFULLY"] * 2), statuses()


def test_nothing_of_the_restore_is_left(story: Story, control: Node) -> None:
    assert story.restored
    assert "replaced" not in control.output("docker volume ls -q; ls /opt/trigger/backup")
    assert "restore" not in control.output("ls /opt/trigger/backup").split()
    assert control.output("docker ps -aq --filter label=com.docker.compose.project=trigger-backup-restore") == ""


def test_a_second_deployment_changes_nothing(story: Story, deployment: Deployment) -> None:
    story.again.went_through(deployment)
    assert story.again.changes == []


def test_no_secret_was_shown(story: Story) -> None:
    plays = [story.first, story.second, story.listed, story.tried, story.restored, *story.refused.values()]
    assert [leaks(play.output, story.secrets) for play in plays] == [set()] * len(plays)


def test_a_killed_backup_leaves_no_webapp_stopped(
    story: Story, deployment: Deployment, control: Node, tmp_path: Path
) -> None:
    """On the new host, whose first backup is the last step of the drill."""
    assert story.again
    play(deployment, "backup", tmp_path).went_through(deployment)
    state = "docker inspect --format '{{.State.Running}}' %s"
    control.output("systemctl start --no-block trigger-backup.service")
    # On the host, because a question from here takes as long as the webapp may be stopped.
    control.output(KILL_WHILE_STOPPED, WEBAPP)
    assert eventually(lambda: control.output(state, WEBAPP) == "true")
    assert eventually(lambda: control.run("test -e /opt/trigger/backup/webapp_is_stopped").rc != 0)
    # Until then a start would only join the one that was killed.
    assert eventually(lambda: control.output("systemctl is-active trigger-backup.service || true") == "failed")
    began = time.time()
    started = control.run("systemctl start trigger-backup.service")
    log = f"journalctl --unit trigger-backup.service --since @{int(began)} --output cat"
    assert started.rc == 0, control.output(log)
    assert json.loads(control.read(STATUS))["good"]["time"] >= began - 1


def test_a_backup_of_the_timer_waits_for_the_end_of_a_run(story: Story, control: Node) -> None:
    """The lock is written as a run writes it; a play of its own would take longer than what is asked here."""
    assert story.again
    lock = "/run/trigger-run.lock"
    holder = json.dumps({"playbook": "site.yml"})
    control.output("printf '%%s\n%%s\n' machine:1:1 %s > %s", holder, lock)
    began = time.time()
    control.output("systemctl start --no-block trigger-backup.service")
    log = f"journalctl --unit trigger-backup.service --since @{int(began)} --output cat"
    assert eventually(lambda: "Waiting for the end of site.yml" in control.output(log)), control.output(log)
    assert json.loads(control.read(STATUS))["good"]["time"] < began
    control.output("truncate --size 0 %s", lock)
    done = eventually(lambda: json.loads(control.read(STATUS))["good"]["time"] > began, seconds=300)
    assert done, control.output(log)
