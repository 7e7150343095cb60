# SPDX-License-Identifier: MIT
"""An upgrade that fails is taken back in one command; one that works keeps everything, and loses no run.

The installation has MinIO, as those that are older than SeaweedFS is here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from verification import expected
from verification.deployment import Deployment, Play, differences
from verification.nodes import Node, eventually
from verification.outage import Outages, outages
from verification.secrets import Secrets, leaks

from testbed.cluster import Run, http
from testbed.hello import Hello, State

OLD, NEW = "v4.2.0", "v4.5.12"
WEBAPP, SUPERVISOR = "trigger-webapp-webapp-1", "trigger-supervisor-supervisor-1"
MINIO = "trigger-webapp-trigger-minio-1"
# What upstream's migrations of the new version bring the databases to.
MIGRATIONS, GOOSE = 110, 40
KEPT = ("User", "Organization", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerGroupToken")


@dataclass(frozen=True)
class Look:
    """What can be seen of a deployment."""

    images: dict[str, str]
    rows: dict[str, list[list[str]]]
    runs: set[str]
    token: str
    secrets: str
    workers: dict[str, str]
    migrations: int


def look(deployment: Deployment) -> Look:
    """Look at the programs that run and at what they have stored."""
    control = deployment.control
    listing = control.output("docker ps --format '{{.Names}} {{.Image}}'").splitlines()
    versions = """SELECT name, metadata ->> 'workerVersion' FROM "WorkerInstance" """
    return Look(
        images={name: image for name, _, image in (line.partition(" ") for line in listing)},
        rows={table: deployment.sql(f'SELECT id, "createdAt" FROM "{table}" ORDER BY id') for table in KEPT},
        runs={identity for (identity,) in deployment.sql("""SELECT "friendlyId" FROM "TaskRun" """)},
        token=control.read(expected.TOKEN_FILE),
        secrets=control.read(expected.SECRETS_FILE),
        workers=dict(deployment.sql(versions)),
        migrations=migrations(deployment),
    )


@dataclass(frozen=True)
class Move:
    """One move, from first to last."""

    before: Look
    old_run: Run
    # With a webapp that is never healthy: what was printed, the number of migrations after it, and what came back.
    failed: Play
    half_way: int
    rolled_back: Play
    back: Look
    back_run: Run
    # An upgrade, and the playbook site after it.
    plays: tuple[Play, Play]
    after: Look
    new_run: Run
    outages: Outages


def state(hello: Hello) -> State:
    """What the developer has kept since the first deployment."""
    return State(**json.loads((hello.folder / "state.json").read_text()))


def migrations(deployment: Deployment) -> int:
    return int(deployment.sql('SELECT count(*) FROM "_prisma_migrations"')[0][0])


@pytest.fixture(scope="module")
def move(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Move:
    """Use the old version, upgrade in vain, go back, and upgrade."""
    folder = tmp_path_factory.mktemp("move")

    def play(name: str, **values: Any) -> Play:
        return deployment.play(values=values, scratch=folder, playbook=f"selfhosted.trigger_dev.{name}")

    old_run = hello.run()
    before = look(deployment)
    # It listens where nobody asks, and migrates the databases before.
    deaf = {"webapp_extra_env": {"webapp": {"REMIX_APP_PORT": "3999"}}, "webapp_start_timeout_seconds": 60}
    failed = play("upgrade", trigger_version=NEW, **deaf)
    half_way = migrations(deployment)
    rolled_back = play("rollback")
    back, back_run = look(deployment), hello.run()

    with outages(hello.cluster.webapp) as away:
        first = play("upgrade", trigger_version=NEW)
    first.went_through(deployment)
    second = play("site", trigger_version=NEW)
    plays, after, new_run = (first, second), look(deployment), hello.run()
    return Move(before, old_run, failed, half_way, rolled_back, back, back_run, plays, after, new_run, away)


def test_the_old_version_worked(move: Move) -> None:
    assert {move.before.images[name].rpartition(":")[2] for name in (WEBAPP, SUPERVISOR)} == {OLD}
    assert set(move.before.workers.values()) == {OLD.removeprefix("v")}
    assert move.before.migrations == 1
    assert move.old_run.status == "COMPLETED"


def test_an_upgrade_that_fails_says_how_to_go_on_and_back(move: Move) -> None:
    assert set(move.failed.failed.values()) == {1}, move.failed.ending()
    told = " ".join(move.failed.output.rpartition("NOT DONE")[2].split())
    assert f"run the playbook rollback, which brings back {OLD} with its data of" in told
    assert move.half_way == MIGRATIONS


def test_a_failed_upgrade_is_taken_back(move: Move, deployment: Deployment) -> None:
    """All data is that of before, and nothing of the newer version is left."""
    move.rolled_back.went_through(deployment)
    assert {move.back.images[name].rpartition(":")[2] for name in (WEBAPP, SUPERVISOR)} == {OLD}
    for name in ("rows", "migrations", "token", "secrets", "runs"):
        assert getattr(move.back, name) == getattr(move.before, name), name
    assert move.back_run.status == "COMPLETED"
    assert "replaced" not in deployment.control.output("docker volume ls -q; ls /opt/trigger/backup")


def test_the_new_version_runs(move: Move, control: Node) -> None:
    assert {move.after.images[name].rpartition(":")[2] for name in (WEBAPP, SUPERVISOR)} == {NEW}
    assert set(move.after.workers.values()) == {NEW.removeprefix("v")}
    assert move.after.migrations == MIGRATIONS
    assert f"database to version: {GOOSE}" in control.output("docker logs %s 2>&1", WEBAPP)


def test_it_takes_the_api_away_for_a_stop_and_a_start(move: Move) -> None:
    """Twice: for the backup, and for a start with migrations (19 s, measured with the genuine program).

    A stop that waits for the connections of workers would take more than 60 s.
    """
    assert len(move.outages.seconds) == 2, move.outages
    assert move.outages.longest < 55, move.outages


def test_nothing_else_was_replaced(move: Move) -> None:
    moved = {name for name, image in move.after.images.items() if move.before.images[name] != image}
    assert moved == {WEBAPP, SUPERVISOR}


def test_workers_proved_that_they_unpack_zstd(move: Move, control: Node, deployment: Deployment) -> None:
    """The CLI pushes task images so from 4.5 on."""
    url = f"{deployment.registry_origin}/v2/trigger/probe/manifests/1-zstd"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    status, answer = control.http(url, headers=accept, user="trigger", password_of="registry_password")
    assert status == 200
    kinds = [layer["mediaType"].rpartition("+")[2] for layer in json.loads(answer)["layers"]]
    assert kinds == ["gzip"] * (len(kinds) - 1) + ["zstd"]
    assert len(kinds) > 1
    pulled = control.output(
        "docker image inspect --format '{{json .RepoDigests}}' %s", f"{deployment.registry}/trigger/probe:1-zstd"
    )
    assert f"{deployment.registry}/trigger/probe@sha256:" in pulled


def test_data_is_kept(move: Move) -> None:
    assert move.after.rows == move.before.rows
    assert all(move.before.rows.values())
    assert move.old_run.id in move.before.runs
    assert move.before.runs <= move.after.runs


def test_tokens_and_secrets_are_kept(move: Move, hello: Hello) -> None:
    assert move.after.token == move.before.token
    assert move.after.secrets == move.before.secrets
    assert set(move.after.workers) == set(move.before.workers)
    url = f"{hello.cluster.webapp}/api/v2/whoami"
    assert http("GET", url, bearer=state(hello).token).status == 200


def test_minio_is_kept_and_said_so(move: Move) -> None:
    assert MINIO in move.before.images
    assert "trigger-webapp-trigger-seaweedfs-1" not in move.after.images
    for play in move.plays:
        assert "keeps its object store MinIO" in play.output
        assert "The playbook object_store_move moves them" in play.text


def test_the_webapp_has_a_key_for_its_bucket_alone(move: Move, control: Node) -> None:
    assert MINIO in move.after.images

    def client(command: str) -> int:
        return int(control.run(f"docker exec %s mc {command}", MINIO).rc)

    assert client("mb local/other") == 0
    assert {name: client(f"ls {name}") == 0 for name in ("webapp/packets", "webapp/other", "local/other")} == {
        "webapp/packets": True,
        "webapp/other": False,
        "local/other": True,
    }
    assert client("admin user add webapp somebody some-password") != 0
    environment = control.output("docker exec %s env", WEBAPP)
    root = control.output("docker exec %s sh -c %s", MINIO, 'echo "$MINIO_ROOT_PASSWORD"')
    assert root not in environment
    assert "OBJECT_STORE_SECRET_ACCESS_KEY=" in environment


def test_a_run_of_the_task_that_was_deployed_before_completes(move: Move) -> None:
    assert move.new_run.status == "COMPLETED"
    assert move.new_run.id not in move.after.runs


def test_the_list_of_runs_has_those_of_before(move: Move, hello: Hello) -> None:
    listed = http("GET", f"{hello.cluster.webapp}/api/v1/runs", bearer=hello.key()).json()["data"]
    assert {move.old_run.id, move.new_run.id} <= {run["id"] for run in listed}


def test_a_second_run_changes_nothing(move: Move, deployment: Deployment) -> None:
    move.plays[1].went_through(deployment)
    assert move.plays[1].changes == []


def test_no_secret_was_shown(move: Move, secrets: Secrets) -> None:
    plays = [move.failed, move.rolled_back, *move.plays]
    assert [leaks(play.output, secrets) for play in plays] == [set()] * len(plays)


def test_the_new_version_ends_by_itself_when_it_is_stopped(move: Move, control: Node) -> None:
    """While workers are connected; killed it would end with 137."""
    assert move.after.workers
    healthy = "docker inspect --format '{{.State.Health.Status}}' %s"
    control.output("docker stop %s", WEBAPP)
    try:
        assert control.output("docker inspect --format '{{.State.ExitCode}}' %s", WEBAPP) == "0"
    finally:
        control.output("docker start %s", WEBAPP)
        assert eventually(lambda: control.output(healthy, WEBAPP) == "healthy")


REFUSALS = {
    "back": ({"trigger_version": OLD}, [NEW, OLD, "no down migrations", "backup", "trigger_downgrade_enabled"]),
    "old-clickhouse": (
        {"trigger_version": NEW, "webapp_clickhouse_image": "docker.io/clickhouse/clickhouse-server:25.5.2"},
        ["webapp_clickhouse_image", "25.8", "25.5.2"],
    ),
    "image-of-another-version": (
        {"trigger_version": NEW, "webapp_image": "ghcr.io/triggerdotdev/trigger.dev:v4.4.0"},
        ["webapp_image", "v4.4.0", "trigger_version"],
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    move: Move, deployment: Deployment, tmp_path: Path, name: str
) -> None:
    assert move.new_run
    values, words = REFUSALS[name]
    before = deployment.state()
    play = deployment.play(values=values, scratch=tmp_path)
    assert play.code != 0, "the run went through"
    assert (play.changes, len(play.errors)) == ([], 1), play.ending()
    assert [word for word in words if word not in play.message] == [], play.ending()
    assert differences(before, deployment.state()) == []
