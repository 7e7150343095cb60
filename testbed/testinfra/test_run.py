# SPDX-License-Identifier: MIT
"""The hello run: queued at the webapp, executed on a worker from an image in the registry, seen in ClickHouse."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from verification.deployment import Deployment
from verification.nodes import Node, eventually
from verification.secrets import Secrets, leaks

from testbed.cluster import Run
from testbed.hello import Hello

CLICKHOUSE = "trigger-webapp-trigger-clickhouse-1"

# Task containers that run, as the engine has them, each with what the kernel says of its first process.
LIVING = """
import json, subprocess
def out(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
names = out('docker', 'ps', '--quiet', '--filter', 'name=^runner-').split()
found = json.loads(out('docker', 'inspect', *names)) if names else []
print(json.dumps([[row, open(f"/proc/{row['State']['Pid']}/status").read()] for row in found]))
"""


@pytest.fixture(scope="module")
def living(deployment: Deployment, hello: Hello) -> tuple[dict[str, Any], str]:
    """A task container while its run goes on."""

    def look() -> list[Any]:
        return [row for worker in deployment.workers for row in worker.python(LIVING)]

    key = hello.key()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(hello.trigger, key, {"sleep": 12})
        found = eventually(look)
        assert run.result().status == "COMPLETED"
    assert found
    # That of the run before may be on its way out.
    (container, process), *_ = found
    return container, process


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


def test_nothing_of_a_task_container_stays(living: tuple[dict[str, Any], str]) -> None:
    """The runner prints the production key into its log, a file that goes with the container."""
    settings = living[0]["HostConfig"]
    assert settings["AutoRemove"] is True
    assert settings["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert not living[0]["Mounts"]


def test_a_task_container_has_no_secret_of_the_installation_and_gets_no_rights(
    living: tuple[dict[str, Any], str], secrets: Secrets
) -> None:
    container, process = living
    assert leaks(json.dumps(container), secrets) == set()
    assert re.search(r"^NoNewPrivs:\s+1$", process, re.MULTILINE)
    # The strict proxy puts these in, for the supervisor asks for neither.
    assert container["HostConfig"]["PidsLimit"] == 4096
    assert container["HostConfig"]["MemorySwap"] == container["HostConfig"]["Memory"] > 0


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
    assert eventually(lambda: rows() == wanted)
