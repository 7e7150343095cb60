# SPDX-License-Identifier: MIT
"""The lock of an installation, taken by real runs of ansible-playbook on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.action.run_lock import Holder, alive, parse_answer, started

from testbed.common import ROOT
from tests.plays import run_plays

SOMEBODY = Holder("another-machine", 4711, "1", "anna", "laptop", "2026-11-28 10:00:00 UTC", "site")


def plays(lock: Path, *tasks: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """A run that takes the lock and goes on."""
    take = {
        "name": "Take the lock",
        "selfhosted.trigger_dev.run_lock": {"path": str(lock), "keep_seconds": 1, **options},
    }
    return [
        {"name": "Run", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [take, *tasks]}
    ]


def hold(lock: Path, holder: Holder, age: float = 0) -> None:
    """Leave a lock as a run has written it that was heard of some seconds ago."""
    lock.write_text(f"{holder.key}\n{json.dumps(asdict(holder))}\n")
    os.utime(lock, (time.time() - age, time.time() - age))


def eventually_free(lock: Path, seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if lock.read_text() == "":
            return True
        time.sleep(0.2)
    return False


@contextmanager
def running(folder: Path, lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has the lock and goes on until it is ended."""
    folder.mkdir()
    wait = {"name": "Go on", "ansible.builtin.wait_for": {"path": str(folder / "end"), "timeout": 900, "sleep": 1}}
    (folder / "play.json").write_text(json.dumps(plays(lock, wait)))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("ansible-playbook"), "play.json"],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        end = time.monotonic() + 180
        while not (lock.exists() and lock.read_text()):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.1)
        yield process
    finally:
        (folder / "end").touch()
        process.kill()
        process.wait()


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    lock, second = tmp_path / "lock", tmp_path / "second"
    second.mkdir()
    with running(tmp_path / "first", lock) as first:
        refused = run_plays(second, plays(lock))
        assert refused.returncode != 0, refused.stdout
        assert f"(process {first.pid}) has run play.json since" in refused.stdout
        assert "Two runs at once" in refused.stdout
        # It is kept: without that it would be as old as the run.
        stamp, end = lock.stat().st_mtime, time.monotonic() + 60
        while lock.stat().st_mtime == stamp:
            assert time.monotonic() < end
            time.sleep(0.2)
        first.kill()
        first.wait()
        assert eventually_free(lock)
    taken = run_plays(second, plays(lock))
    assert taken.returncode == 0, taken.stdout
    assert "changed=0" in taken.stdout
    assert eventually_free(lock)


@pytest.mark.parametrize("task", [{"ansible.builtin.fail": {"msg": "broken"}}, {"ansible.builtin.command": "true"}])
def test_a_run_lets_go_however_it_ends(tmp_path: Path, task: dict[str, Any]) -> None:
    done = run_plays(tmp_path, plays(tmp_path / "lock", {"name": "End", **task}))
    assert (done.returncode != 0) == ("ansible.builtin.fail" in task)
    assert eventually_free(tmp_path / "lock")


def test_a_run_that_has_the_lock_may_take_it_again(tmp_path: Path) -> None:
    again = plays(tmp_path / "lock")[0]["tasks"][0]
    done = run_plays(tmp_path, plays(tmp_path / "lock", again))
    assert done.returncode == 0, done.stdout
    assert eventually_free(tmp_path / "lock")


def test_a_dry_run_takes_none(tmp_path: Path) -> None:
    assert run_plays(tmp_path, plays(tmp_path / "lock"), "--check").returncode == 0
    assert not (tmp_path / "lock").exists()


def test_the_lock_of_another_machine_holds_while_it_is_heard_of(tmp_path: Path) -> None:
    hold(tmp_path / "lock", SOMEBODY, age=5)
    done = run_plays(tmp_path, plays(tmp_path / "lock"))
    assert done.returncode != 0
    words = r"anna@laptop \(process 4711\) has run site since 2026-11-28 10:00:00 UTC.* \d+ s ago.* 120 s after"
    assert re.search(words, done.stdout), done.stdout


@pytest.mark.parametrize("case", ["not heard of for long", "ended on this machine"])
def test_a_stale_lock_is_taken_and_that_is_said(tmp_path: Path, case: str) -> None:
    if case == "not heard of for long":
        hold(tmp_path / "lock", SOMEBODY, age=121)
    else:
        ended = subprocess.run(["sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True, check=True).stdout
        machine = Path("/etc/machine-id").read_text().strip()
        hold(tmp_path / "lock", replace(SOMEBODY, machine=machine, process=int(ended)))
    done = run_plays(tmp_path, plays(tmp_path / "lock"), "-v")
    assert done.returncode == 0, done.stdout
    assert "Taken from a run that has died: anna@laptop" in done.stdout
    assert eventually_free(tmp_path / "lock")


def test_a_lock_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    done = run_plays(tmp_path, plays(tmp_path / "no folder" / "lock"))
    assert done.returncode != 0
    assert "no folder/lock cannot be locked" in done.stdout


@pytest.mark.parametrize("required", [True, False])
def test_a_host_out_of_reach_ends_the_run_only_where_the_lock_is_required(tmp_path: Path, required: bool) -> None:
    far = plays(tmp_path / "lock", required=required)
    far[0] |= {"hosts": "all", "connection": "ansible.builtin.ssh"}
    far[0]["vars"] = {"ansible_ssh_common_args": "-o ProxyCommand=false"}
    done = run_plays(tmp_path, far, "-i", "192.0.2.1,")
    assert (done.returncode == 0) == (not required), done.stdout
    if not required:
        assert "not locked against other runs" in done.stdout + done.stderr


def test_processes_are_told_apart() -> None:
    assert alive(os.getpid(), started(os.getpid()))
    assert not alive(os.getpid(), "1"), "the number was given to another process"
    assert alive(1, "")
    with subprocess.Popen(["true"]) as child:
        deadline = time.monotonic() + 60
        while started(child.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not alive(child.pid, "12345"), "a zombie"


def test_a_lock_of_unknown_content_is_told_all_the_same() -> None:
    assert parse_answer("held 5\nnonsense") == ("held", 5, None)
