# SPDX-License-Identifier: MIT
"""The hello run: queued at the webapp, executed on a worker from an image in the registry, seen in ClickHouse."""

from __future__ import annotations

import json
from urllib.parse import quote

from testbed.cluster import Run
from verification.deployment import Deployment
from verification.nodes import Node, eventually

CLICKHOUSE = "trigger-webapp-trigger-clickhouse-1"


def executor(deployment: Deployment, run: Run) -> Node:
    """Give the worker that executed the run."""
    (worker,) = (worker for worker in deployment.workers if worker.name == run.worker)
    return worker


def test_the_run_completed_on_a_worker(deployment: Deployment, run: Run) -> None:
    assert run.status == "COMPLETED"
    assert run.worker in {worker.name for worker in deployment.workers}
    assert run.output["runner"].startswith("runner-")


def test_the_task_reached_supervisor_api_and_telemetry(run: Run) -> None:
    assert {name: run.output[name] for name in ("api", "supervisor", "otel")} == {
        "api": 200,
        "supervisor": 200,
        "otel": 200,
    }


def test_the_database_knows_the_run(deployment: Deployment, run: Run) -> None:
    query = f"""SELECT status, "attemptNumber" FROM "TaskRun" WHERE "friendlyId" = '{run.id}'"""
    assert deployment.sql(query) == [["COMPLETED_SUCCESSFULLY", "1"]]


def test_the_image_came_from_the_registry(deployment: Deployment, run: Run) -> None:
    listed = (
        executor(deployment, run)
        .output("docker image ls --digests --format '{{.Repository}} {{.Digest}}'")
        .splitlines()
    )
    pulled = [line.split() for line in listed if line.startswith(f"{deployment.registry}/trigger/proj_")]
    assert pulled
    assert all(digest.startswith("sha256:") for _, digest in pulled)


def test_the_container_of_the_run_is_gone(deployment: Deployment, run: Run) -> None:
    worker = executor(deployment, run)
    assert eventually(lambda: worker.output("docker ps --all --quiet --filter name=runner-") == "")


def test_the_run_arrives_in_clickhouse(control: Node, run: Run) -> None:
    """Through logical replication; without it the list of runs stays empty although tasks run."""
    address = control.address(CLICKHOUSE, "trigger-data")
    query = quote(
        f"SELECT status FROM trigger_dev.task_runs_v2 FINAL WHERE friendly_id = '{run.id}' FORMAT JSONCompact"
    )

    def rows() -> list[list[str]]:
        status, answer = control.http(
            f"http://{address}:8123/?query={query}",
            headers={"X-ClickHouse-User": "trigger"},
            secret_headers={"X-ClickHouse-Key": "clickhouse_password"},
        )
        assert status == 200, answer
        found: list[list[str]] = json.loads(answer)["data"]
        return found

    wanted = [["COMPLETED_SUCCESSFULLY"]]
    eventually(lambda: rows() == wanted)
    assert rows() == wanted
