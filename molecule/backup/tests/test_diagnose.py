# SPDX-License-Identifier: MIT
"""What helps to find a fault is collected from every host, and holds no secret."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from verification.deployment import Deployment, Play
from verification.secrets import Secrets, leaks


@pytest.fixture(scope="module")
def collected(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> tuple[Play, Path]:
    scratch = tmp_path_factory.mktemp("diagnose")
    values = {"diagnose_directory": str(scratch / "told")}
    return deployment.play(scratch=scratch, values=values, playbook="selfhosted.trigger_dev.diagnose"), scratch


def test_there_is_one_text_for_each_host(collected: tuple[Play, Path], deployment: Deployment) -> None:
    play, scratch = collected
    assert play.code == 0, play.ending()
    with tarfile.open(scratch / "told.tar.gz") as archive:
        names = {name.removeprefix("told/") for name in archive.getnames()} - {"told"}
    status = {"status", "status/table.txt", "status/report.json", "status/report.html"}
    assert names == status | {f"{node.name}.txt" for node in deployment.nodes}
    assert (scratch / "told.tar.gz").stat().st_mode & 0o777 == 0o600


def test_it_tells_states_logs_and_files(collected: tuple[Play, Path], deployment: Deployment) -> None:
    _, scratch = collected
    text = (scratch / "told" / f"{deployment.control.name}.txt").read_text()
    parts = {part.split("\n", 1)[0]: part for part in text.split("\n===== ")[1:]}
    assert "task_runs_to_clickhouse_v1" in parts["engine/replication-slots.txt"]
    assert "server ready" in parts["logs/trigger-webapp-webapp-1.txt"]
    assert "services:" in parts["files/webapp/compose.yml"]
    assert "of which the call itself took some" in parts["host/clock.txt"]


def test_it_has_the_status_of_all_hosts(collected: tuple[Play, Path], deployment: Deployment) -> None:
    """As the playbook status prints it: the same rows."""
    _, scratch = collected
    document = json.loads((scratch / "told/status/report.json").read_text())
    found = {(host["name"], check["what"]) for host in document["hosts"] for check in host["checks"]}
    lines = (scratch / "told/status/table.txt").read_text().splitlines()
    for host, what in found:
        assert any(line.startswith(host) and what in line for line in lines), what
    assert {host for host, _what in found} == {node.name for node in deployment.nodes}
    assert (deployment.control.name, "webapp") in found
    assert {(worker.name, f"heartbeat of {worker.name}") for worker in deployment.workers} <= found
    assert not any("collection of the status" in line for line in lines)
    own = deployment.play(
        scratch=scratch,
        values={"status_report_file": str(scratch / "report.html")},
        playbook="selfhosted.trigger_dev.status",
    )
    compared = json.loads((scratch / "report.json").read_text())
    assert {(host["name"], check["what"]) for host in compared["hosts"] for check in host["checks"]} == found, own.text


def test_it_holds_no_secret(collected: tuple[Play, Path], secrets: Secrets) -> None:
    play, scratch = collected
    for path in (path for path in (scratch / "told").rglob("*") if path.is_file()):
        assert leaks(path.read_text(), secrets) == set(), path.name
    assert leaks(play.output, secrets) == set()
