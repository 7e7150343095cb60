# SPDX-License-Identifier: MIT
"""Each worker, as the webapp's database and its own settings know it."""

from __future__ import annotations

import json
import re

from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node, eventually
from verification.secrets import Secrets, leaks

AGES = """
    SELECT w.name, g.name, extract(epoch FROM (now() AT TIME ZONE 'UTC') - w."lastHeartbeatAt")
    FROM "WorkerInstance" w JOIN "WorkerInstanceGroup" g ON g.id = w."workerGroupId"
"""


def environment(worker: Node) -> dict[str, str]:
    """Give what Compose hands to the supervisor, as the running container has it."""
    pairs = worker.container("trigger-supervisor-supervisor-1")["Config"]["Env"]
    return dict(pair.split("=", 1) for pair in pairs)


def test_every_worker_has_a_fresh_heartbeat_under_its_own_name(deployment: Deployment) -> None:
    def ages() -> dict[str, float]:
        rows = deployment.sql(AGES)
        assert {group for _, group, _ in rows} == {"bootstrap"}
        return {name: float(age or "inf") for name, _, age in rows}

    def all_fresh() -> bool:
        found.update(ages())
        return max(found.values()) <= expected.HEARTBEAT_SECONDS

    found: dict[str, float] = {}
    eventually(all_fresh)
    assert set(found) == {worker.name for worker in deployment.workers}, "an instance too many or too few"
    assert {name for name, age in found.items() if not -1 < age <= expected.HEARTBEAT_SECONDS} == set()


def test_every_worker_has_the_token_and_the_secret_of_the_installation(worker: Node, secrets: Secrets) -> None:
    written = worker.read(f"{expected.DIRECTORY}/supervisor/supervisor.env")
    in_file = re.findall(expected.TOKEN_FORM, written) == [secrets["worker_token"]]
    assert in_file
    values = environment(worker)
    same = values["TRIGGER_WORKER_TOKEN"] == secrets["worker_token"]
    assert same, "the container runs with another token than the one in its file"
    same = values["MANAGED_WORKER_SECRET"] == secrets["managed_worker_secret"]
    assert same


def test_the_token_is_shown_to_root_alone(worker: Node, secrets: Secrets) -> None:
    """The engine shows the environment of a container to its users, and the kernel that of a process to its owner."""
    shown = {"worker_token", "managed_worker_secret", "registry_pull_password"}
    process = worker.output("docker inspect --format '{{.State.Pid}}' trigger-supervisor-supervisor-1")
    for look in (
        ["docker", "inspect", "trigger-supervisor-supervisor-1"],
        ["cat", f"/proc/{process}/environ"],
        ["cat", f"{expected.DIRECTORY}/supervisor/supervisor.env"],
    ):
        words = " ".join(["%s"] * len(look))
        assert shown <= leaks(worker.output(words, *look), secrets), f"{look}: guards the line below"
        asked = worker.run(f"runuser -u nobody -- {words}", *look)
        assert asked.rc != 0, look
        assert "permission denied" in asked.stderr.lower(), look
        assert leaks(asked.stdout + asked.stderr, secrets) == set(), look


def test_every_worker_takes_runs_under_its_own_name(worker: Node) -> None:
    values = environment(worker)
    assert values["TRIGGER_WORKER_INSTANCE_NAME"] == worker.name
    assert values["TRIGGER_DEQUEUE_ENABLED"] == "true", "the worker was never enabled"


def test_task_containers_remove_themselves(worker: Node) -> None:
    assert environment(worker)["DOCKER_AUTOREMOVE_EXITED_CONTAINERS"] == "true"
    exited = "docker ps --all --quiet --filter name=runner- --filter status=exited"
    assert eventually(lambda: worker.output(exited) == "")


def test_the_registry_is_reached_and_asks_for_a_login(worker: Node, deployment: Deployment) -> None:
    assert worker.http(f"{deployment.registry_origin}/v2/")[0] == 401


def test_the_probe_left_its_image_and_no_container(worker: Node, deployment: Deployment) -> None:
    digests = json.loads(
        worker.output(
            f"docker image inspect --format '{{{{json .RepoDigests}}}}' {deployment.registry}/trigger/probe:1"
        )
    )
    # A digest is there only for what was pulled or pushed.
    assert [digest for digest in digests if digest.startswith(f"{deployment.registry}/trigger/probe@sha256:")]
    assert worker.output("docker ps --all --quiet --filter name=trigger-probe") == ""
