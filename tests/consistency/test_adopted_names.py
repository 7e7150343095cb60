# SPDX-License-Identifier: MIT
"""Each name of the Compose files that can be adopted is translated, or it is said that it has no meaning here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def table(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "roles/adopt/vars/main/names.yml").read_text())
    return found


@pytest.fixture(scope="module")
def known(table: dict[str, Any]) -> list[str]:
    meaningless = [name for row in table["__adopt_meaningless"] for name in row["names"]]
    return [*table["__adopt_names"], *table["__adopt_read_elsewhere"], *meaningless]


def test_a_name_has_one_answer(table: dict[str, Any], known: list[str]) -> None:
    assert len(known) == len(set(known))
    for row in table["__adopt_meaningless"]:
        assert row["reason"].endswith(".")


def test_every_name_of_both_stacks_has_an_answer(root: Path, known: list[str]) -> None:
    """Of what documents and code of the webapp name besides, the webapp gets what was set (webapp_extra_env)."""
    parts = (root / "tests/consistency/upstream_names.txt").read_text().split("\n\n")
    listed = {
        name
        for part in parts
        if "else an operator may look for" not in part
        for line in part.splitlines()
        if not line.startswith("#")
        for name in line.split()
    }
    assert len(listed) > 100
    assert sorted(listed - set(known)) == []


@pytest.mark.parametrize("role", ["webapp", "supervisor"])
def test_every_name_that_a_role_sets_has_an_answer(root: Path, known: list[str], role: str) -> None:
    """The extra environment may not set what a setting sets."""
    rows = yaml.safe_load((root / f"roles/{role}/vars/main/environment.yml").read_text())
    names = {name for part in rows.values() if isinstance(part, dict) for name in part}
    assert len(names) > 30
    assert sorted(name for name in names - set(known) if name.isupper()) == []
