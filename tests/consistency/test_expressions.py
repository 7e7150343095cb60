# SPDX-License-Identifier: MIT
"""Jinja is for values: a long expression gets names for its parts, or becomes a filter with a unit test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LONGEST_EXPRESSION = 120
ROLES = sorted(path.name for path in (Path(__file__).parents[2] / "roles").iterdir())


def long_expressions(text: str) -> list[str]:
    """Give the expressions of a text that are too long on one line."""
    found = (" ".join(each.split()) for each in re.findall(r"\{\{.*?\}\}", text, flags=re.DOTALL))
    return [each for each in found if len(each) > LONGEST_EXPRESSION]


@pytest.mark.parametrize("role", ROLES)
def test_expressions_are_short(root: Path, role: str) -> None:
    paths = sorted((root / "roles" / role).rglob("*.yml"))
    assert paths
    found = {path.relative_to(root).as_posix(): long_expressions(path.read_text()) for path in paths}
    assert {path: expressions for path, expressions in found.items() if expressions} == {}


def test_a_long_expression_is_found_over_several_lines() -> None:
    name = "n" * (LONGEST_EXPRESSION - len("{{  }}"))
    assert long_expressions(f"a: >-\n  {{{{ {name}\n  }}}}\nb: '{{{{ c }}}} {{{{ d }}}}'\n") == []
    assert long_expressions(f"a: >-\n  {{{{ n{name}\n  }}}}\n") == [f"{{{{ n{name} }}}}"]
