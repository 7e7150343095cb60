# SPDX-License-Identifier: MIT
"""The services of the control host, asked themselves."""

from __future__ import annotations

import hashlib
import json

import yaml
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node, eventually
from verification.secrets import Secrets

from testbed.common import ROOT

REDIS = "trigger-webapp-trigger-redis-1"
OBJECT_STORE = "trigger-webapp-trigger-seaweedfs-1"
CLICKHOUSE = "trigger-webapp-trigger-clickhouse-1"
SLOTS = {"task_runs_to_clickhouse_v1", "electric_slot_default"}


def setting(deployment: Deployment, name: str) -> str:
    """Give a setting of Postgres as the running server has it."""
    return deployment.sql(f"SELECT setting FROM pg_settings WHERE name = '{name}'")[0][0]


def test_postgres_replicates_logically(deployment: Deployment) -> None:
    assert setting(deployment, "wal_level") == "logical"
    assert int(setting(deployment, "max_replication_slots")) >= len(SLOTS)


def test_postgres_gives_up_a_slot_before_it_fills_the_disk(deployment: Deployment) -> None:
    defaults = yaml.safe_load((ROOT / "roles/webapp/defaults/main.yml").read_text())
    assert int(setting(deployment, "max_slot_wal_keep_size")) == defaults["webapp_postgres_max_slot_wal_keep_mib"]


def test_both_replication_slots_are_in_use(deployment: Deployment) -> None:
    query = "SELECT slot_name, active, wal_status FROM pg_replication_slots WHERE slot_type = 'logical'"
    wanted = sorted([slot, "t", "reserved"] for slot in SLOTS)
    assert eventually(lambda: sorted(deployment.sql(query)) == wanted)


def test_postgres_asks_for_a_password_over_the_network(control: Node) -> None:
    image = control.container("trigger-webapp-trigger-postgres-1")["Config"]["Image"]
    asked = control.run(
        "docker run --rm --network trigger-data --entrypoint psql %s"
        " --no-password -h trigger-postgres -U postgres -d main -c 'SELECT 1'",
        image,
    )
    assert asked.rc != 0
    assert "no password supplied" in asked.stderr


def test_redis_wants_its_password(control: Node) -> None:
    assert "NOAUTH" in control.output("docker exec %s env -u REDISCLI_AUTH redis-cli ping 2>&1", REDIS)
    wrong = control.output("docker exec -e REDISCLI_AUTH=wrong %s redis-cli ping 2>&1", REDIS)
    assert "PONG" not in wrong
    assert control.output("docker exec %s redis-cli ping", REDIS) == "PONG"


def test_redis_forgets_nothing(control: Node) -> None:
    def config(name: str) -> str:
        return control.output("docker exec %s redis-cli config get %s", REDIS, name).splitlines()[1]

    assert config("appendonly") == "yes"
    assert config("maxmemory-policy") == "noeviction"
    assert config("dir") == "/data"
    assert control.run("docker exec %s sh -c 'ls -d /data/appendonly*'", REDIS).rc == 0


def test_clickhouse_wants_its_password(control: Node) -> None:
    url = f"http://{control.address(CLICKHOUSE, 'trigger-data')}:8123/?query=SELECT%201"
    user = {"X-ClickHouse-User": "trigger"}
    assert control.http(url, headers=user | {"X-ClickHouse-Key": "wrong"})[0] in (401, 403)
    assert control.http(url, headers=user)[0] in (401, 403)
    assert control.http(url)[0] in (401, 403), "the user `default` needs no password"
    status, answer = control.http(url, headers=user, secret_headers={"X-ClickHouse-Key": "clickhouse_password"})
    assert (status, answer.strip()) == (200, "1")


def test_the_bucket_for_large_payloads_is_there(control: Node) -> None:
    buckets = control.output("docker exec %s sh -c 'echo s3.bucket.list | weed shell'", OBJECT_STORE)
    assert [line.split()[0] for line in buckets.splitlines() if "size:" in line] == ["packets"]


def test_the_object_store_wants_a_login(control: Node) -> None:
    assert control.http(f"http://{control.address(OBJECT_STORE, 'trigger-front')}:9000/packets/")[0] == 403


def test_the_object_store_has_nothing_but_its_api_on_the_network(control: Node) -> None:
    """Its other parts ask nobody for a password. The port above its own would hand out keys."""
    address = control.address(OBJECT_STORE, "trigger-front")
    ports = (9000, 8888, 18888, 9333, 19333, 8080, 18080, 7333, 8181, 9101, 8111)
    places = [f"{address}:{port}" for port in ports]
    assert [place for place, open_ in control.connects(places).items() if open_] == [f"{address}:9000"]
    asked = control.run(
        "docker exec %s curl --silent --max-time 10 --http2-prior-knowledge --request POST"
        " --header 'content-type: application/grpc' http://127.0.0.1:19000/iam_pb.SeaweedS3IamCache/GetPolicy",
        OBJECT_STORE,
    )
    assert asked.rc not in (0, 7), "it answers without a certificate, or is not where it was"


def test_the_token_is_the_one_that_the_database_knows(deployment: Deployment, secrets: Secrets) -> None:
    rows = deployment.sql(
        'SELECT g.name, t."tokenHash" FROM "WorkerInstanceGroup" g JOIN "WorkerGroupToken" t ON t.id = g."tokenId"'
    )
    hashed = hashlib.sha256(secrets["worker_token"].encode()).hexdigest()
    assert rows == [["bootstrap", hashed]]


def test_the_registry_lets_in_its_users_and_nobody_else(control: Node, deployment: Deployment) -> None:
    url = f"{deployment.registry_origin}/v2/"
    assert control.http(url)[0] == 401
    assert control.http(url, user="trigger", password="wrong")[0] == 401
    assert control.http(url, user="somebody", password_of="registry_password")[0] == 401
    assert control.http(url, user="trigger", password_of="registry_password")[0] == 200
    assert control.http(url, user="trigger-pull", password_of="registry_pull_password")[0] == 200
    assert control.http(url, user="trigger-pull", password_of="registry_password")[0] == 401


def test_images_can_be_deleted_from_the_registry(control: Node, deployment: Deployment) -> None:
    """With deletion off the registry refuses the method (405); on, it looks for the image (404)."""
    url = f"{deployment.registry_origin}/v2/trigger/probe/manifests/sha256:{'0' * 64}"
    assert control.http(url, "DELETE", user="trigger", password_of="registry_password")[0] == 404


def test_the_probe_image_is_in_the_registry(control: Node, deployment: Deployment) -> None:
    url = f"{deployment.registry_origin}/v2/trigger/probe/tags/list"
    status, answer = control.http(url, user="trigger", password_of="registry_password")
    assert (status, json.loads(answer)["tags"]) == (200, ["1"])


def test_services_keep_their_data_in_their_volumes(control: Node) -> None:
    mounted = {
        name: {mount["Name"] for mount in control.container(name)["Mounts"] if mount["Type"] == "volume"}
        for name in control.expected
    }
    assert set().union(*mounted.values()) == expected.VOLUMES[expected.CONTROL_GROUP]
