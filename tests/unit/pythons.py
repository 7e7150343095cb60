# SPDX-License-Identifier: MIT
"""Finds Pythons of other versions on this machine, and makes environments for the tests of files for hosts."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from testbed.common import CACHE, ROOT

REQUIREMENTS = ROOT / "tests/requirements-hosts.txt"
# The oldest that a host may have; the newest found comes on top. What both take, those between take as well.
REQUIRED = ((3, 9),)
MINORS = range(9, 30)
ASK = "import ensurepip, sys, venv; print(*sys.version_info[:2])"


def version(interpreter: Path) -> tuple[int, int] | None:
    """Ask it: what pyenv puts on the PATH may lead to a version that is not there."""
    done = subprocess.run([interpreter, "-I", "-c", ASK], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    major, minor = map(int, done.stdout.split())
    return major, minor


def pyenv() -> list[Path]:
    """Give the interpreters that pyenv has built."""
    if not shutil.which("pyenv"):
        return []
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
    return sorted(Path(root, "versions").glob("3.*/bin/python")) if root else []


@cache
def found() -> dict[tuple[int, int], Path]:
    """Map versions to interpreters that can make environments."""
    named = (shutil.which(f"python3.{minor}") for minor in MINORS)
    candidates = [*(Path(path) for path in named if path), *pyenv()]
    known: dict[tuple[int, int], Path] = {}
    for candidate in candidates:
        asked = version(candidate)
        if asked and asked >= REQUIRED[0]:
            known.setdefault(asked, candidate)
    return known


def chosen() -> dict[tuple[int, int], Path]:
    """Choose those that are required, as far as they are here, and the newest; this very version runs anyway."""
    known = found()
    wanted = [*REQUIRED, max([*known, REQUIRED[-1]])]
    return {each: known[each] for each in dict.fromkeys(wanted) if each in known and each != sys.version_info[:2]}


def missing() -> list[str]:
    return [".".join(map(str, each)) for each in REQUIRED if each not in found()]


def environment(interpreter: Path) -> Path:
    """Make an environment as a module has it: the module_utils of this ansible-core, and nothing else of Ansible."""
    label = hashlib.sha256(f"{interpreter}\n{REQUIREMENTS.read_text()}".encode()).hexdigest()[:16]
    folder = CACHE / "pythons" / label
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
            pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
            ansible = folder / "host/ansible"
            ansible.mkdir(parents=True)
            (ansible / "__init__.py").touch()
            # A filter of ours stands in one test; it runs on the controller, whose other parts need a newer Python.
            (ansible / "errors.py").write_text("class AnsibleFilterError(Exception):\n    pass\n")
            spec = find_spec("ansible")
            assert spec
            assert spec.submodule_search_locations
            (ansible / "module_utils").symlink_to(Path(spec.submodule_search_locations[0], "module_utils"))
            (folder / "ready").touch()
    return folder


def run(interpreter: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in the environment of an interpreter."""
    folder = environment(interpreter)
    return subprocess.run(
        [folder / "bin/python", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder / 'host'}", "TESTS_WITHOUT_KERNEL": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
