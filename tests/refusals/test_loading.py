# SPDX-License-Identifier: MIT
"""What tasks need of this collection is loaded once, by the process that those of all tasks fork from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.refusals.test_refusals import ANSIBLE, PLAYBOOKS, ROOT, inventory

PLUGINS = "ansible_collections.selfhosted.trigger_dev.plugins"
# What filters import, and takes longest.
SLOW = [f"{PLUGINS}.plugin_utils._setting_formats", f"{PLUGINS}.module_utils._status", "cryptography.x509"]


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every import of the run and of its forks."""
    folder = inventory(tmp_path_factory.mktemp("loading"), {})
    command = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [command, "-i", folder / "hosts.json", PLAYBOOKS / "preflight.yml"],
        cwd=ROOT,
        env=os.environ | ANSIBLE | {"PYTHONPROFILEIMPORTTIME": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]


@pytest.mark.parametrize("module", SLOW)
def test_it_is_imported_once_in_a_run(imports: list[str], module: str) -> None:
    assert imports.count(module) == 1
