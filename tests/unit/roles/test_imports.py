# SPDX-License-Identifier: MIT
"""Every file that runs on hosts can be loaded by this Python, and a host with an older one is told so in a sentence."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._python import complaint

from tests.unit.roles.programs import ROLES, load

ROOT = ROLES.parent
PACKAGE = "ansible_collections.selfhosted.trigger_dev.plugins"
MODULES = sorted(f"{path.parent.name}.{path.stem}" for path in ROOT.glob("plugins/module*/*.py"))
PROGRAMS = sorted(str(path.relative_to(ROLES)) for path in ROLES.glob("*/files/*.py"))
# The first modules of ours that run on a host, and the import that must come before all others of ours.
FIRST = ["host_info", "registry_client"]
OLD = "import sys; sys.version_info = (3, 8, 18, 'final', 0)\n"


@pytest.mark.parametrize("name", MODULES)
def test_modules_can_be_loaded(name: str) -> None:
    importlib.import_module(f"{PACKAGE}.{name}")


@pytest.mark.parametrize("path", PROGRAMS)
def test_programs_can_be_loaded(path: str) -> None:
    load(path)


@pytest.mark.parametrize(("version", "fits"), [((3, 8, 18), False), ((3, 9, 0), True), ((3, 13, 1), True)])
def test_the_oldest_python(version: tuple[int, ...], fits: bool) -> None:
    told = complaint(version, "/usr/bin/python3")
    assert (told == "") is fits
    if not fits:
        assert "3.8.18 (/usr/bin/python3)" in told
        assert "3.9 is needed" in told
        assert "ansible_python_interpreter" in told


@pytest.mark.parametrize("module", FIRST)
def test_an_older_python_is_told_before_anything_else(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{OLD}import {PACKAGE}.modules.{module}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "collections"), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["failed"]
    assert "3.8.18" in answer["msg"]
    source = Path(ROOT, f"plugins/modules/{module}.py").read_text()
    ours = [line for line in source.splitlines() if line.startswith(f"from {PACKAGE}")]
    assert ours[0].startswith(f"from {PACKAGE}.module_utils import _python")
