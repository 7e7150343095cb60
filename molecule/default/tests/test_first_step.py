# SPDX-License-Identifier: MIT
"""The dry run of README's fourth step, on the example inventory: with the gateway, on hosts that hold nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from verification.deployment import Deployment

from testbed import node
from testbed.common import ROOT, docker

HOST = "bare.default"
NAMES = ("trigger.example.com", "registry.trigger.example.com", "objects.trigger.example.com")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example as it is delivered; only the way to its hosts, and that of its names, is another one."""
    docker("rm", "--force", "--volumes", HOST)
    node.start(HOST, node.platform("default"), "default", *(f"--add-host={name}:127.0.0.1" for name in NAMES))
    copied = tmp_path_factory.mktemp("example") / "inventory"
    shutil.copytree(ROOT / "inventories/prod", copied)
    way = {"ansible_connection": "community.docker.docker", "ansible_host": HOST}
    (copied / "group_vars/trigger_control.yml").write_text(yaml.safe_dump(way))
    (copied / "group_vars/trigger_workers.yml").write_text(yaml.safe_dump(way))
    yield copied
    docker("rm", "--force", "--volumes", HOST)


def test_the_example_passes_a_dry_run_on_hosts_without_docker(inventory: Path) -> None:
    done = Deployment((), str(inventory), "").play("--check", "--diff", playbook=str(ROOT / "site.yml"))
    assert done.code == 0, done.ending()
    assert set(done.failed.values()) == {0}
    assert set(done.changed) == {"control.example.com", "worker1.example.com", "worker2.example.com"}
    assert "Would start the project trigger-gateway" in done.text, done.ending()
    assert docker("exec", HOST, "sh", "-c", "ls -A /opt; command -v docker || echo none") == "none\n"
