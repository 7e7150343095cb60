# SPDX-License-Identifier: MIT
"""In which order a project comes about, and what a dry run asks Compose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import run_plays, variable_files


def test_an_archive_that_cannot_be_loaded_leaves_the_compose_file(root: Path) -> None:
    tasks = yaml.safe_load((root / "roles/compose_project/tasks/prepare.yml").read_text())
    included = [task.get("ansible.builtin.include_tasks") for task in tasks]
    assert included.index("files.yml") < included.index("images.yml") < included.index("compose_file.yml")
    for name in ("files.yml", "images.yml"):
        assert "compose.yml" not in (root / "roles/compose_project/tasks" / name).read_text()


@pytest.mark.parametrize("options", [[], ["--check"]], ids=["run", "dry-run"])
def test_a_dry_run_does_not_judge_files_that_the_run_would_replace(tmp_path: Path, options: list[str]) -> None:
    cases = {(folder, file): folder or file for folder in (False, True) for file in (False, True)}
    tasks: list[dict[str, Any]] = [
        {
            "name": f"Folder changed: {folder}, file changed: {file}",
            "ansible.builtin.assert": {"that": f"__compose_project_pending_dry_run == {bool(options) and pending}"},
            "vars": {
                "__compose_project_folder": {"changed": folder, "fresh": False},
                "__compose_project_file": {"changed": file},
            },
        }
        for (folder, file), pending in cases.items()
    ]
    play = {
        "name": "Ask in every case",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": variable_files("trigger", "compose_project"),
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": tasks,
    }
    done = run_plays(tmp_path, [play], "-i", "localhost,", *options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    up = (Path(__file__).parents[2] / "roles/compose_project/tasks/up.yml").read_text()
    assert "when: not __compose_project_pending_dry_run" in up


def test_a_dry_run_repairs_nothing(root: Path) -> None:
    told, repair = yaml.safe_load((root / "roles/compose_project/tasks/repair.yml").read_text())
    assert told["when"] == "ansible_check_mode"
    assert repair["when"] == "not ansible_check_mode"
    assert len(repair["block"]) == 4
