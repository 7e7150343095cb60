# SPDX-License-Identifier: MIT
"""The last day: hosts are as they were before, first with all data kept, then without.

The last file of the scenario: it leaves nothing of the installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from verification import expected
from verification.deployment import Deployment, Play

from testbed import node
from testbed.common import docker
from testbed.hello import Hello

FRESH = "fresh.backup"
# What the engine, systemd and restic keep for themselves, and what a host is told anew at each start.
OTHERS = "/etc/docker/key.json /etc/hosts /etc/hostname /etc/resolv.conf /etc/machine-id /etc/.updated /etc/mtab"
LIST = f"""
find /etc /opt /usr/local /root -xdev '(' -type f -o -type l ')' | sort | while read -r file; do
  case " {OTHERS} " in *" $file "*) continue ;; esac
  case $file in */__pycache__/*|/root/.ansible/*|/root/.cache/*|/root/.docker/*) continue ;; esac
  echo "$file $(stat -c '%a %u %g' "$file") $(md5sum < "$file" 2>/dev/null | cut -c1-32)"
done
"""
OBJECTS = (
    "docker ps -a --format '{{.Names}}'; docker network ls --format '{{.Name}}'; "
    "docker volume ls --format '{{.Name}}'; docker image ls --format '{{.Repository}}'; "
    "iptables -S | grep -i runner; systemctl list-unit-files 'trigger-*' --no-legend; true"
)


@dataclass
class Story:
    """What was there at each step, on each host, and on one on which nothing was ever deployed."""

    plays: dict[str, Play]
    kept: str
    runs: list[list[str]]
    runs_after: list[list[str]]
    files: dict[str, set[str]]
    objects: dict[str, str]


@pytest.fixture(scope="module")
def fresh() -> Iterator[str]:
    """A host on which nothing was ever deployed."""
    node.start(FRESH, node.platform("backup"), "backup", "--network=trigger-backup")
    yield FRESH
    docker("rm", "--force", "--volumes", FRESH)


def inside(host: str, script: str) -> str:
    return docker("exec", host, "sh", "-c", script)


@pytest.fixture(scope="module")
def story(deployment: Deployment, hello: Hello, fresh: str, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Remove it, deploy it again with the data that was kept, and remove that too."""
    scratch = tmp_path_factory.mktemp("uninstall")
    confirmed = {"uninstall_data_enabled": True, "uninstall_confirm": deployment.origin}

    def play(name: str, *options: str, **values: Any) -> Play:
        return deployment.play(*options, values=values, scratch=scratch, playbook=f"selfhosted.trigger_dev.{name}")

    assert hello.run().status == "COMPLETED"
    query = """SELECT "friendlyId", "createdAt" FROM "TaskRun" ORDER BY 1"""
    runs = deployment.sql(query)
    plays = {
        "unconfirmed": play("uninstall", uninstall_data_enabled=True, uninstall_confirm="http://other.example.com"),
        "check": play("uninstall", "--check"),
        "kept": play("uninstall"),
    }
    kept = deployment.control.output("docker volume ls -q; ls /opt/trigger")
    plays["again"] = play("uninstall")
    plays["site"] = play("site")
    plays["site"].went_through(deployment)
    runs_after = [row for row in deployment.sql(query) if row in runs]
    assert hello.run().status == "COMPLETED"
    plays["check-all"] = play("uninstall", "--check", **confirmed)
    plays["all"] = play("uninstall", **confirmed)
    plays["all-again"] = play("uninstall", **confirmed)
    hosts = [*(each.name for each in deployment.nodes), fresh]
    files = {host: set(inside(host, LIST).splitlines()) for host in hosts}
    return Story(plays, kept, runs, runs_after, files, {host: inside(host, OBJECTS) for host in hosts})


def test_data_is_removed_only_if_it_is_confirmed(story: Story) -> None:
    refused = story.plays["unconfirmed"]
    assert len(refused.errors) == 1
    assert "uninstall_confirm" in refused.message
    assert refused.changes == []


def test_data_is_kept_and_deployed_again(story: Story) -> None:
    assert "trigger_postgres_data" in story.kept
    assert Path(expected.SECRETS_FILE).name in story.kept
    assert story.runs_after == story.runs
    assert story.runs


@pytest.mark.parametrize(("name", "check"), [("kept", "check"), ("all", "check-all")])
def test_it_goes_through_as_check_mode_has_said(story: Story, deployment: Deployment, name: str, check: str) -> None:
    story.plays[name].went_through(deployment)
    assert story.plays[check].code == 0, story.plays[check].ending()
    assert story.plays[check].changes == story.plays[name].changes
    assert story.plays[name].changes


@pytest.mark.parametrize("name", ["again", "all-again"])
def test_a_second_time_changes_nothing(story: Story, name: str) -> None:
    assert story.plays[name].code == 0, story.plays[name].ending()
    assert story.plays[name].changes == []


def test_hosts_are_as_they_were_before(story: Story, deployment: Deployment) -> None:
    """But for restic, and the engine's own files."""
    for each in deployment.nodes:
        differing = {line.split()[0] for line in story.files[each.name] ^ story.files[FRESH]}
        assert sorted(path for path in differing if "restic" not in path) == []
        assert story.objects[each.name] == story.objects[FRESH]
