# SPDX-License-Identifier: MIT
"""The data services are external: what is used, what is not deployed, what is refused before a change."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from verification import expected
from verification.deployment import Deployment, Play, differences
from verification.nodes import Node, eventually
from verification.secrets import Secrets, leaks

from testbed.cluster import Cluster
from testbed.hello import Hello

WEBAPP = "trigger-webapp-webapp-1"
CONTROL = {
    WEBAPP,
    "trigger-webapp-trigger-clickhouse-1",
    "trigger-webapp-electric-1",
    "trigger-supervisor-supervisor-1",
    "trigger-supervisor-docker-socket-proxy-1",
}
VOLUMES = {"trigger_clickhouse_data", "trigger_clickhouse_logs"}
SLOTS = ["electric_slot_default", "task_runs_to_clickhouse_v1"]
POSTGRES = "postgresql://{}@services.external:{}/trigger_dev?sslmode={}"


@pytest.fixture(scope="session")
def services(deployment: Deployment) -> Node:
    """The host of the services."""
    (node,) = (node for node in deployment.nodes if not node.groups)
    return node


@pytest.fixture(scope="session")
def hello(deployment: Deployment) -> Hello:
    """The developer's side."""
    return Hello(Cluster(deployment.control.name, "services.external"))


def sql(services: Node, query: str) -> list[str]:
    """Ask the database of the services as its owner."""
    command = "docker exec -u postgres external-postgres-1 psql -d trigger_dev -AtF '|' -c %s"
    return services.output(command, query).splitlines()


def test_what_is_somebody_elses_is_not_deployed(control: Node) -> None:
    assert set(control.seen["containers"]) == CONTROL
    assert set(control.seen["volumes"]) == VOLUMES
    files = set(control.seen["files"])
    unused = ("trigger-postgres.env", "trigger-redis.env", "trigger-minio.env", "trigger-seaweedfs.env", "redis.conf")
    assert not [path for path in files if path.endswith(unused)]


def test_only_the_webapp_reaches_electric(control: Node) -> None:
    """It has a network of its own to the database, and is on none with anybody but the webapp."""
    networks = control.container("trigger-webapp-electric-1")["NetworkSettings"]["Networks"]
    assert set(networks) == {"trigger-electric", "trigger-realtime"}
    places = {name: f"{row['IPAddress']}:3000" for name, row in networks.items()}
    reach = {
        name: {network for network, place in places.items() if control.connects([place], inside=name)[place]}
        for name in CONTROL - {"trigger-webapp-electric-1"}
    }
    assert {name: found for name, found in reach.items() if found} == {WEBAPP: {"trigger-realtime"}}


def test_a_run_goes_through(hello: Hello) -> None:
    assert hello.run().status == "COMPLETED"


def test_the_database_is_theirs(services: Node) -> None:
    query = "SELECT slot_name FROM pg_replication_slots WHERE active ORDER BY slot_name"
    assert eventually(lambda: sql(services, query) == SLOTS)
    assert int(sql(services, 'SELECT count(*) FROM "TaskRun"')[0]) >= 1
    connections = """
        SELECT DISTINCT usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
        WHERE datname = 'trigger_dev' AND usename != 'postgres'
    """
    assert sql(services, connections) == ["trigger|t"]


def test_the_redis_is_theirs(control: Node) -> None:
    """The only port of theirs speaks TLS, and a run has just gone through it."""
    environment = control.read(f"{expected.DIRECTORY}/webapp/webapp.env")
    assert re.search(r'^REDIS_HOST="?services.external', environment, re.MULTILINE)
    assert "REDIS_TLS_DISABLED" not in environment
    assert control.connects(["services.external:6380", "services.external:6379"]) == {
        "services.external:6380": True,
        "services.external:6379": False,
    }


def test_the_bucket_is_theirs(services: Node) -> None:
    found = services.output("docker exec external-minio-1 find /data/packets -name meta.json").split()
    names = [Path(path).parent.name for path in found]
    assert "self-test" in names, "the webapp puts one when it starts"
    assert "selfhosted-trigger-dev-probe" not in names, "what was tried is removed again"


def test_the_registry_is_theirs(services: Node) -> None:
    repositories = "/var/lib/registry/docker/registry/v2/repositories/trigger"
    found = services.output("docker exec external-registry-1 ls %s", repositories).split()
    assert "probe" in found
    assert len(found) >= 2, "the image of the task is beside it"


def test_their_secrets_are_nowhere_else(control: Node, secrets: Secrets) -> None:
    given = {"postgres_password", "redis_password", "object_store_access_key", "object_store_secret_key"}
    theirs = {name: value for name, value in secrets.items() if name in given | {"registry_password"}}
    assert leaks(control.read(f"{expected.DIRECTORY}/webapp/webapp.env"), theirs) == given, "the looking finds them"
    for path in control.seen["files"]:
        if not path.endswith((".env", "secrets.json")) and control.seen["files"][path][0] == "file":
            assert leaks(control.read(f"{expected.DIRECTORY}/{path}"), theirs) == set(), path
    assert leaks("\n".join(control.seen["command_lines"]), theirs) == set()
    assert leaks(control.output("journalctl --quiet --no-pager"), theirs) == set()
    for name in CONTROL:
        inspected = json.loads(json.dumps(control.container(name)))
        del inspected["Config"]["Env"]
        assert leaks(json.dumps(inspected), theirs) == set(), name
        assert leaks(control.logs(name), theirs) <= expected.PRINTED_BY_THE_PROGRAM.get(name, set()), name


# The keys of the bucket are asked for before anything is tried.
OTHER_PASSWORD = {
    "postgres_password": "of-nobody",
    # Without one the run ends before it asks any service.
    "registry_password": "registry-of-nobody",
    "object_store_access_key": "access-of-nobody",
    "object_store_secret_key": "secret-of-nobody",
}

# What is wrong -> values, and words of the message.
REFUSALS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "wal-level": (
        {"webapp_postgres_url": POSTGRES.format("trigger", 5433, "disable")},
        ["wal_level is replica, must be logical", "ALTER SYSTEM SET wal_level"],
    ),
    "rights": (
        {"webapp_postgres_url": POSTGRES.format("weak", 5432, "require")},
        ["weak lacks REPLICATION", "ALTER ROLE", "weak lacks CREATE", "GRANT CREATE ON SCHEMA", "weak does not own"],
    ),
    "password": (
        {"trigger_secrets": OTHER_PASSWORD},
        ["services.external:5432 refuses the login of trigger", "trigger_secrets.postgres_password"],
    ),
    "password-in-the-address": (
        {"webapp_postgres_url": "postgresql://trigger:of-nobody@services.external/trigger_dev"},
        ["webapp_postgres_url must be", "without a password"],
    ),
    "authority": (
        {"webapp_ca_file": ""},
        ["services.external:5432", "certificate is not accepted", "webapp_ca_file"],
    ),
    "database": (
        {"webapp_postgres_url": "postgresql://trigger@services.external/nobody?sslmode=require"},
        ["nobody", "does not exist", "webapp_postgres_url"],
    ),
    "nobody-there": (
        {"webapp_redis_port": 6379},
        ["services.external:6379", "connection is refused", "webapp_redis_port"],
    ),
    "redis-user": (
        {"webapp_redis_username": "nobody"},
        ["services.external:6380 refuses: WRONGPASS", "trigger_secrets.redis_password"],
    ),
    "not-redis": ({"webapp_redis_port": 5000}, ["services.external:5000", "TLS", "webapp_redis_tls_enabled"]),
    "everything-at-once": (
        {
            "webapp_postgres_url": POSTGRES.format("trigger", 5433, "disable"),
            # Somebody is there, but knows no buckets.
            "trigger_object_store_origin": "http://services.external:5000",
        },
        ["wal_level is replica", "an object cannot be put into the bucket packets"],
    ),
    "name": (
        {"webapp_clickhouse_url": "http://trigger@nobody.external:8123", "webapp_store_change_enabled": True},
        ["ClickHouse at nobody.external:8123: its name does not resolve", "webapp_clickhouse_url"],
    ),
}


@pytest.fixture(scope="module")
def refusals(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Play], list[str]]:
    """All runs that must be refused, several at once because none may change anything; and what has changed."""
    folders = {name: tmp_path_factory.mktemp(name) for name in REFUSALS}
    before = deployment.state()
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda name: deployment.play(values=REFUSALS[name][0], scratch=folders[name]), REFUSALS)
        plays = dict(zip(REFUSALS, found, strict=True))
    return plays, differences(before, deployment.state())


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.breaks
def test_a_service_that_cannot_be_used_is_refused(
    refusals: tuple[dict[str, Play], list[str]], secrets: Secrets, name: str
) -> None:
    play = refusals[0][name]
    assert play.code != 0, "the run went through"
    assert play.changes == []
    assert len(play.errors) == 1, play.ending()
    assert [word for word in REFUSALS[name][1] if word not in play.message] == [], play.ending()
    assert "Traceback" not in play.output
    assert "of-nobody" not in play.output
    assert leaks(play.output, secrets) == set()


@pytest.mark.breaks
def test_refusals_have_changed_nothing(refusals: tuple[dict[str, Play], list[str]]) -> None:
    assert refusals[1] == []


def test_a_registry_that_was_in_use_is_removed_and_keeps_its_files(
    deployment: Deployment, control: Node, tmp_path: Path
) -> None:
    """As where registry_enabled becomes false, or the registry gets a host of its own."""
    folder = "/opt/trigger/registry"
    service = {"image": control.container(WEBAPP)["Config"]["Image"], "entrypoint": ["sleep", "600"]}
    project = {"name": "trigger-registry", "services": {"trigger-registry": service}}
    control.output(f"mkdir -p {folder}/auth && echo kept > {folder}/auth/htpasswd")
    control.output(
        f"echo %s > {folder}/compose.yml && docker compose -f {folder}/compose.yml up -d", json.dumps(project)
    )
    done = deployment.play(scratch=tmp_path, values={})
    assert done.code == 0, done.ending()
    assert [change.rpartition(" : ")[2] for change in done.changes] == [
        "Stop and remove its containers",
        "Remove its Compose file",
    ]
    assert control.output("docker ps --all --quiet --filter label=com.docker.compose.project=trigger-registry") == ""
    assert control.output(f"cat {folder}/auth/htpasswd; ls {folder}").split() == ["kept", "auth"]
    control.output(f"rm -r {folder}")
