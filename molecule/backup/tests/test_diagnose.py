# SPDX-License-Identifier: MIT
"""What helps to find a fault is collected from every host, and holds no secret."""

from __future__ import annotations

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
        names = {Path(name).name for name in archive.getnames()} - {"told"}
    assert names == {f"{node.name}.txt" for node in deployment.nodes}
    assert (scratch / "told.tar.gz").stat().st_mode & 0o777 == 0o600


def test_it_tells_states_logs_and_files(collected: tuple[Play, Path], deployment: Deployment) -> None:
    _, scratch = collected
    text = (scratch / "told" / f"{deployment.control.name}.txt").read_text()
    parts = {part.split("\n", 1)[0]: part for part in text.split("\n===== ")[1:]}
    assert "task_runs_to_clickhouse_v1" in parts["engine/replication-slots.txt"]
    assert "server ready" in parts["logs/trigger-webapp-webapp-1.txt"]
    assert "services:" in parts["files/webapp/compose.yml"]


def test_it_holds_no_secret(collected: tuple[Play, Path], secrets: Secrets) -> None:
    play, scratch = collected
    for path in (scratch / "told").iterdir():
        assert leaks(path.read_text(), secrets) == set(), path.name
    assert leaks(play.output, secrets) == set()
