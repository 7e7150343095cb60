# SPDX-License-Identifier: MIT
"""Programs of several files, which run on hosts without Ansible and without our modules."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What they share with modules is a link.
PACKAGES = sorted(path.parent for path in ROOT.glob("roles/*/files/*/__init__.py"))


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_programs_need_nothing_but_python(folder: Path) -> None:
    """A host that restores a backup has neither Ansible nor our modules."""
    own = {path.stem for path in folder.glob("*.py")}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{'.' * node.level}{node.module or node.names[0].name}"]
            foreign = [each for each in names if each.split(".")[0] not in sys.stdlib_module_names]
            assert [each for each in foreign if each.removeprefix(".") not in own] == [], path
