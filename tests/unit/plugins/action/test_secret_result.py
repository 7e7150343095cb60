# SPDX-License-Identifier: MIT
"""Modules that return secrets, in real runs: a secret is never shown, an error always."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.plays import run_plays

MODULE = "selfhosted.trigger_dev.secret_file_info"
SECRET = "hunter2hunter2"


def run(folder: Path, *tasks: dict[str, Any]) -> str:
    """Give all that a user sees who wants to see everything."""
    (folder / "secrets.json").write_text(json.dumps({"password": SECRET}))
    play = {
        "name": "Read",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": list(tasks),
    }
    done = run_plays(folder, [play], "-vvv", "--diff", ANSIBLE_NOCOLOR="1", ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    return done.stdout + done.stderr


def test_the_next_task_has_the_secret_and_nobody_sees_it(tmp_path: Path) -> None:
    read = {"name": "Read", MODULE: {"path": str(tmp_path / "secrets.json")}, "register": "read"}
    said = "{{ read.secret_file.secrets.password | length }} characters"
    shown = run(tmp_path, read, {"name": "Say", "ansible.builtin.debug": {"msg": said}})
    assert f"{len(SECRET)} characters" in shown
    assert SECRET not in shown


@pytest.mark.parametrize("loop", [None, ["secrets.json", "none.json"]], ids=["a task", "a loop"])
def test_an_error_is_shown_once(tmp_path: Path, loop: list[str] | None) -> None:
    read = {"name": "Read", MODULE: {"path": f"{tmp_path}/{'{{ item }}' if loop else 'none.json'}"}}
    shown = run(tmp_path, read | ({"loop": loop} if loop else {}))
    # As [ERROR], and in the result.
    assert shown.count("does not exist. Run the play of the control host first") == 2, shown
    assert SECRET not in shown


def test_an_error_holds_no_argument(tmp_path: Path) -> None:
    """Values of the inventory come as arguments."""
    (tmp_path / "folder").mkdir()
    given = {"path": str(tmp_path / "folder"), "values": {"a": SECRET}}
    shown = run(tmp_path, {"name": "Write", "selfhosted.trigger_dev.secret_file": given})
    assert "FAILED!" in shown
    assert SECRET not in shown
    assert '"invocation"' not in shown
