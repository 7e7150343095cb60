# SPDX-License-Identifier: MIT
"""A backup of the timer waits for a run of a playbook, and not for the one that has asked for it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from trigger_backup import runs

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
    runs.wait_for_run(tmp_path / "none", tmp_path, pytest.fail)


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
    runs.wait_for_run(lock, tmp_path, said.append)
    assert len(looks) == 3
    assert said == ["Waiting for the end of site.yml, which changes the installation"]


def test_the_run_that_asks_for_it_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text(HELD)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits"))
    (tmp_path / runs.ASKED).touch()
    runs.wait_for_run(lock, tmp_path, pytest.fail)
    # It asks for one.
    assert not (tmp_path / runs.ASKED).exists()


def test_a_backup_that_waits_already_goes_on_when_a_run_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text(HELD)
    monkeypatch.setattr(time, "sleep", lambda _: (tmp_path / runs.ASKED).touch())
    runs.wait_for_run(lock, tmp_path, lambda _: None)
    assert lock.read_text() == HELD
