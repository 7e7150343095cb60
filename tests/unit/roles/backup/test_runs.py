# SPDX-License-Identifier: MIT
"""A backup of the timer waits for a run of a playbook, and not for the one that has asked for it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from trigger_backup import runs

from testbed.common import ROOT

ROLE = ROOT / "roles/backup"
HELD = "machine:12:345\n" + json.dumps({"playbook": "site.yml", "user": "operator"}) + "\n"


@pytest.mark.parametrize(
    ("content", "age", "name"),
    [
        (HELD, 1, "site.yml"),
        (HELD, 300, ""),
        ("", 1, ""),
        ("machine:12:345\nnot json\n", 1, "a playbook"),
        ("machine:12:345\n", 1, "a playbook"),
        ("machine:12:345\n[]\n", 1, "a playbook"),
    ],
)
def test_a_lock_is_read_as_the_action_writes_it(tmp_path: Path, content: str, age: int, name: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(content)
    os.utime(lock, (time.time() - age, time.time() - age))
    assert runs.running(lock) == name


def test_without_a_lock_nothing_is_waited_for(tmp_path: Path) -> None:
    runs.wait_for_run(tmp_path / "none", tmp_path, "create", pytest.fail)


def test_it_waits_until_the_run_has_ended_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text(HELD)
    said: list[str] = []
    looks: list[float] = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            lock.write_text("")

    monkeypatch.setattr(time, "sleep", look)
    runs.wait_for_run(lock, tmp_path, "create", said.append)
    assert len(looks) == 3
    assert said == ["Waiting for the end of site.yml, which changes the installation"]


def test_the_run_that_asks_for_it_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text(HELD)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits"))
    (tmp_path / "asked.create").touch()
    runs.wait_for_run(lock, tmp_path, "create", pytest.fail)
    # It asks for one.
    assert not (tmp_path / "asked.create").exists()


def test_a_backup_that_waits_already_goes_on_when_a_run_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text(HELD)
    monkeypatch.setattr(time, "sleep", lambda _: (tmp_path / "asked.create").touch())
    runs.wait_for_run(lock, tmp_path, "create", lambda _: None)
    assert lock.read_text() == HELD


@pytest.mark.parametrize("command", ["point", "verify"])
def test_what_waits_takes_no_mark_of_another_command(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the backup would wait for the playbook, and the playbook for the backup."""
    lock = tmp_path / "lock"
    lock.write_text(HELD)
    looks: list[bool] = []

    def look(_seconds: float) -> None:
        (tmp_path / "asked.create").touch()
        looks.append(True)
        if len(looks) == 3:
            lock.write_text("")

    monkeypatch.setattr(time, "sleep", look)
    runs.wait_for_run(lock, tmp_path, command, lambda _: None)
    assert len(looks) == 3
    assert (tmp_path / "asked.create").exists()


SYSTEMCTL = """#!/bin/sh
[ -e {asked} ] && echo "$@"
calls=$(cat {folder}/calls 2>/dev/null)
echo "x$calls" > {folder}/calls
{taken} || rm {asked}
exit {code}
"""
# The first call joins what works already: that has not taken the file, and is no answer.
JOINS = '[ -z "$calls" ]'


@pytest.mark.parametrize(("command", "unit"), [("create", "trigger-backup"), ("verify", "trigger-backup-verify")])
@pytest.mark.parametrize(
    ("left", "code", "times", "wanted"),
    [
        ("false", "0", 1, 0),
        ("false", "1", 1, 1),
        (JOINS, "0", 2, 0),
        (JOINS, "$((! ${#calls}))", 2, 0),
        (JOINS, "${#calls}", 2, 1),
        ("true", "5", 2, 5),
    ],
    ids=["starts", "fails", "joins", "joins what fails", "joins and then fails", "cannot start"],
)
def test_the_role_starts_a_command_of_its_own(
    tmp_path: Path, command: str, unit: str, left: str, code: str, times: int, wanted: int
) -> None:
    """A backup that runs already has a state from before the playbook, and is not the one that it relies on."""
    found = yaml.safe_load((ROLE / "vars/main/main.yml").read_text())
    assert f"__backup_start_now + ['{command}', '{unit}.service']" in (ROLE / f"tasks/{command}.yml").read_text()
    asked = tmp_path / f"{runs.ASKED}{command}"
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(asked=asked, folder=tmp_path, taken=left, code=code))
    (tmp_path / "systemctl").chmod(0o755)
    values = {"{{ __backup_start_script }}": found["__backup_start_script"]}
    values["{{ __backup_directory }}/asked"] = f"{tmp_path}/asked"
    given = [values.get(word, word) for word in found["__backup_start_now"]]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([*given, command, f"{unit}.service"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (wanted, f"start {unit}.service\n" * times)
    assert not asked.exists()
