# SPDX-License-Identifier: MIT
"""What runs on hosts runs under each Python that a host may have: unit tests of these files, by other interpreters."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from testbed.common import ROOT
from tests.unit import pythons

FOLDERS = ("plugins/modules", "plugins/module_utils", "roles/*/files")
FILES = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.py"))
TESTS = [
    "tests/unit/plugins/modules",
    "tests/unit/plugins/module_utils",
    "tests/unit/roles/test_imports.py",
    # Named like the programs that they test: the other ones in there are about the controller.
    *sorted(
        str(test.relative_to(ROOT))
        for file in FILES
        if file.startswith("roles/")
        for test in ROOT.glob(f"tests/unit/roles/test_{Path(file).stem}*.py")
    ),
]
CHOSEN = pythons.chosen()


@cache
def runs() -> dict[tuple[int, int], subprocess.CompletedProcess[str]]:
    """Run all tests with all interpreters, at the same time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(CHOSEN, pool.map(lambda python: pythons.run(python, *TESTS), CHOSEN.values()), strict=True))


@pytest.mark.parametrize("version", CHOSEN, ids=lambda version: ".".join(map(str, version)))
def test_files_for_hosts_pass_their_tests_with(version: tuple[int, int]) -> None:
    done = runs()[version]
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_files_for_hosts_use_nothing_newer_than_the_oldest_python() -> None:
    """Without an interpreter of that version too, as far as this can be read from the source."""
    done = subprocess.run(
        [Path(sys.executable).with_name("vermin"), "--target=3.9-", "--violations", "--no-tips", *FILES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_ruff_holds_files_for_hosts_to_the_oldest_python(folder: str) -> None:
    """Otherwise it would ask for what only newer ones know."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ruff"),
            "check",
            "--stdin-filename",
            folder.replace("*", "any") + "/new.py",
            "-",
        ],
        cwd=ROOT,
        input="match 1:\n    case _:\n        pass\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "on Python 3.9" in done.stdout


def test_the_search_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {(3, 13): Path("/b"), (3, 12): Path("/c")}
    monkeypatch.setattr(pythons, "found", lambda: others)
    assert pythons.missing() == ["3.9"]
    assert pythons.chosen() == {(3, 13): Path("/b")}
    monkeypatch.setattr(pythons, "found", lambda: {(3, 9): Path("/a"), **others})
    assert pythons.chosen() == {(3, 9): Path("/a"), (3, 13): Path("/b")}
