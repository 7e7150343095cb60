# SPDX-License-Identifier: MIT
"""Secrets are replaced with runs going on: the old ones open nothing any more, the new ones do, and no run is lost.

All of them at once, each on its own, and kills at many moments.
"""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rotation import REPOSITORY, UNUSED, Life, Traffic, no_run_was_lost, stored, traffic
from verification.deployment import Deployment, Play
from verification.outage import Outages, outages
from verification.secrets import Secrets, leaks

from testbed.expected_secrets import SECRET_NAMES
from testbed.hello import Hello

pytestmark = pytest.mark.soak

NAMES = "secrets_rotate_names"
PLAYBOOKS = "selfhosted.trigger_dev."
# Workers and runs bridge this (measured with the genuine programs).
BRIDGED_SECONDS = 34
# The moments are the same in each run, so that a failure can be repeated.
MOMENTS = random.Random(23)


def play(deployment: Deployment, scratch: Path, *names: str, **options: Any) -> Play:
    values = {NAMES: list(names)}
    words = options.pop("words", ())
    return deployment.play(*words, values=values, scratch=scratch, playbook=f"{PLAYBOOKS}secrets_rotate", **options)


@pytest.fixture(scope="module")
def life(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Life:
    scratch = tmp_path_factory.mktemp("life")
    if deployment.control.run("test -e /opt/trigger/backup/status.json").rc != 0:
        assert deployment.play(playbook=f"{PLAYBOOKS}backup", scratch=scratch, values={}).code == 0
    hello.key()
    return Life(deployment, hello)


@dataclass
class Rotated:
    """What came of one rotation."""

    old: Secrets = field(repr=False)
    new: Secrets = field(repr=False)
    play: Play
    away: Outages
    found: Traffic
    status: Play


def rotate(life: Life, scratch: Path, *names: str) -> Rotated:
    life.keep()
    old = life.deployment.secrets()
    with traffic(life.hello) as found:
        with outages(life.hello.cluster.webapp) as away:
            done = play(life.deployment, scratch, *names)
        time.sleep(10)
    status = life.deployment.play(playbook=f"{PLAYBOOKS}status", scratch=scratch, values={})
    print(f"\n{', '.join(names)}: away {away.seconds} s")
    return Rotated(old, life.deployment.secrets(), done, away, found, status)


def holds(life: Life, rotated: Rotated, *names: str) -> None:
    assert rotated.play.code == 0, rotated.play.ending()
    life.replaced(*names)
    life.nothing_is_left()
    no_run_was_lost(life.deployment, rotated.found)
    assert rotated.status.code == 0, rotated.status.ending()
    assert leaks(rotated.play.output, rotated.old) == set()
    assert leaks(rotated.play.output, rotated.new) == set()


@pytest.fixture(scope="module")
def all_at_once(life: Life, tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    return rotate(life, tmp_path_factory.mktemp("all"), *SECRET_NAMES)


def test_all_secrets_are_replaced_at_once(life: Life, all_at_once: Rotated) -> None:
    holds(life, all_at_once, *SECRET_NAMES)


def test_the_webapp_is_away_twice(all_at_once: Rotated) -> None:
    """Once for the backup that holds the old key, and once for the new secrets. How long depends on the machine."""
    assert len(all_at_once.away.seconds) == 2, all_at_once.away


def test_operators_are_told_what_follows(all_at_once: Rotated) -> None:
    for words in ("All users are logged out", "Login links that were sent before are void", "Copy the new backup_key"):
        assert words in all_at_once.play.text


def test_the_backup_of_before_holds_the_old_key(life: Life, all_at_once: Rotated) -> None:
    """The repository opens by the new key, has backups of one installation, and the last one has the old secrets."""
    assert all_at_once
    program = "/opt/trigger/backup/trigger-backup"
    assert life.control.output(f"{program} list")
    script = (
        "import json; print(json.load(open('/opt/trigger/secrets.json'))['backup_key'])"
        # Of the last backup: the file beside the others of the installation.
    )
    dump = f"restic -r {REPOSITORY} --no-lock dump latest /opt/trigger/backup/stage/files/secrets.json"
    text = life.control.output(f"RESTIC_PASSWORD=$(python3 -c %s) {dump}", script)
    key = json.loads(text)["encryption_key"]
    right = key == all_at_once.old["encryption_key"]
    assert right, "the backup has another key than the one that was replaced"


def test_a_backup_after_it_is_one_of_the_same_installation(life: Life, all_at_once: Rotated) -> None:
    """It is told by its first encryption key; the repository of another one is refused."""
    assert all_at_once
    for unit in ("trigger-backup", "trigger-backup-verify"):
        log = f"journalctl -u {unit} -n 20 -o cat"
        assert life.control.run(f"systemctl start {unit}.service").rc == 0, life.control.run(log).stdout


def test_a_dry_run_says_what_would_change_and_changes_nothing(life: Life, tmp_path: Path) -> None:
    before = stored(life.control)
    done = play(life.deployment, tmp_path, "redis_password", "managed_worker_secret", words=("--check",))
    assert done.code == 0, done.ending()
    assert "Would replace: managed_worker_secret, redis_password" in done.text
    assert "webapp, trigger-redis, supervisors of all workers" in done.text
    changes = [change.rpartition(" : ")[2] for change in done.changes]
    assert changes == ["Print what is replaced", "Generate the new secrets"]
    same = stored(life.control) == before
    assert same
    life.nothing_is_left()


@pytest.mark.parametrize("name", [name for name in SECRET_NAMES if name not in UNUSED])
def test_each_secret_is_replaced_on_its_own(life: Life, name: str, tmp_path: Path) -> None:
    rotated = rotate(life, tmp_path, name)
    # Key and name of it are one login; the name alone may stay.
    holds(life, rotated, name)
    assert rotated.away.longest < BRIDGED_SECONDS, rotated.away


def test_a_worker_that_cannot_be_changed_ends_it_before_a_secret_is_replaced(life: Life, tmp_path: Path) -> None:
    """One of its files has changed, and its disk has become read-only."""
    before = stored(life.control)
    (worker,) = life.deployment.workers
    folder = "/opt/trigger/supervisor"
    worker.output(f"echo '# changed' >> {folder}/compose.yml")
    worker.output(f"mount --bind {folder} {folder}; mount -o remount,ro,bind {folder}")
    try:
        done = play(life.deployment, tmp_path, "managed_worker_secret")
    finally:
        worker.output(f"umount {folder}")
    assert done.code != 0
    assert "could not be updated, so the new secrets would not reach it" in done.message, done.ending()
    same = stored(life.control) == before
    assert same
    life.nothing_is_left()
    site = life.deployment.play(scratch=tmp_path, values={})
    assert site.code == 0, site.ending()
    assert life.hello.run().status == "COMPLETED"


@pytest.mark.parametrize("number", range(10))
def test_a_killed_rotation_is_completed_by_the_next(life: Life, number: int, tmp_path: Path) -> None:
    """The controller is killed, and with it every connection; what ran on the host may go on or not."""
    names = [name for name in SECRET_NAMES if name != "encryption_key" or number % 2]
    life.keep()
    seconds = MOMENTS.uniform(15, 150)
    with traffic(life.hello) as found:
        killed = play(life.deployment, tmp_path, *names, killed_after=seconds)
        reached = re.findall(r"TASK \[(.*)\]", killed.output)[-1:]
        left = life.control.output("ls -A /opt/trigger | grep secrets").split()
        print(f"\nkilled after {seconds:.0f} s: {reached}, {left}, {'running' if killed.code < 0 else 'it was over'}")
        done = play(life.deployment, tmp_path, *names)
    assert done.code == 0, done.ending()
    life.replaced(*names)
    life.nothing_is_left()
    status = life.deployment.play(playbook=f"{PLAYBOOKS}status", scratch=tmp_path, values={})
    assert status.code == 0, status.ending()
    # A webapp that was stopped at the kill stays away until the next run: runs of that time may be lost.
    assert found.triggered
    assert life.hello.run().status == "COMPLETED"
