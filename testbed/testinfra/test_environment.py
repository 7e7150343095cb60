# SPDX-License-Identifier: MIT
"""Values of environment files survive the Docker Compose that each host really has."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from verification.nodes import Node

from testbed.common import ROOT

NASTY = {
    "DOLLAR": "a$b$$c${d}$(e)`f`",
    "QUOTES": """'single' "double" \\"both\\" """,
    "BACKSLASH": "\\n \\\\ \\t end\\",
    "HASH": "before #not a comment # ' #",
    "SPACES": "  leading and trailing  ",
    "LINES": "first\nsecond\r\nthird\n",
    "EQUALS": "a=b==c",
    "UNICODE": "äöü € 漢字 \U0001f511",
    "REGEX": r"^.+@(example\.com|example\.org)$",
    "URL": "http://user:p%40ss@host:8123/?secure=false&x=%24",
    "YAML": "{{ not: a template }} [1, 2] *anchor &x !tag",
    "EMPTY": "",
    "NUMBER": "007",
    "BOOLEAN": "true",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The round trip that the unit tests of the filter bring along."""
    path = ROOT / "tests/unit/plugins/filter/dotenv_roundtrip.py"
    spec = importlib.util.spec_from_file_location("dotenv_roundtrip", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_values_come_back_as_they_were(node: Node, script: ModuleType) -> None:
    shell = ["docker", "exec", "-i", node.name, "sh", "-c"]
    assert script.roundtrip(NASTY, ["docker", "compose"], shell) == NASTY


def test_made_up_values_come_back_too(node: Node, script: ModuleType) -> None:
    shell = ["docker", "exec", "-i", node.name, "sh", "-c"]
    assert script.check(["docker", "compose"], shell, batches=5, size=100) >= 500
