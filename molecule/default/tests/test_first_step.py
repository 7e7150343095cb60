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

# The hosts of the example, by their place in it: the checks would find out that one container stands for several.
HOSTS = ("bare0.default", "bare1.default", "bare2.default")
NAMES = ("trigger.example.com", "registry.trigger.example.com", "objects.trigger.example.com")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example as it is delivered; only the way to its hosts, and that of its names, is another one."""
    docker("rm", "--force", "--volumes", *HOSTS)
    for host in HOSTS:
        node.start(host, node.platform("default"), "default", *(f"--add-host={name}:127.0.0.1" for name in NAMES))
    copied = tmp_path_factory.mktemp("example") / "inventory"
    shutil.copytree(ROOT / "inventories/prod", copied)
    host = "bare{{ groups.all.index(inventory_hostname) }}.default"
    way = {"ansible_connection": "community.docker.docker", "ansible_host": host}
    (copied / "group_vars/trigger_control.yml").write_text(yaml.safe_dump(way))
    (copied / "group_vars/trigger_workers.yml").write_text(yaml.safe_dump(way))
    yield copied
    docker("rm", "--force", "--volumes", *HOSTS)


def test_the_example_passes_a_dry_run_on_hosts_without_docker(inventory: Path) -> None:
    done = Deployment((), str(inventory), "").play("--check", "--diff", playbook=str(ROOT / "site.yml"))
    assert done.code == 0, done.ending()
    assert set(done.failed.values()) == {0}
    assert set(done.changed) == {"control.example.com", "worker1.example.com", "worker2.example.com"}
    assert "Would start the project trigger-gateway" in done.text, done.ending()
    for host in HOSTS:
        assert docker("exec", host, "sh", "-c", "ls -A /opt; command -v docker || echo none") == "none\n"
