# SPDX-License-Identifier: MIT
"""Mutants of rows are changes of one value each, in files that can still be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tools import mutants

ROOT = Path(__file__).resolve().parents[3]
TEXT = """\
# A comment.
---
rows:
  one: {grace: 60s, limit: 0, read_only: true, names: [a, 'b "c"'], image: "{{ some_image }}"}
  two:
    description: Not for machines.
    share: 0.5
    command: >-
      {{ several }}
      lines
    nothing: null
"""
CHANGED = {
    "60s": "1s",
    "0": "1",
    "true": "false",
    "a": '"ax"',
    "'b \"c\"'": '"b \\"c\\"x"',
    '"{{ some_image }}"': '""',
    "0.5": "1.5",
    ">-": '""',
}


def test_each_value_is_changed_once_and_nothing_else() -> None:
    found = list(mutants.row_mutants("x.yml", TEXT))
    assert {one.was: one.becomes for one in found} == CHANGED
    original = str(yaml.safe_load(TEXT))
    values = {str(yaml.safe_load(one.text)) for one in found}
    assert len(values) == len(found)
    assert original not in values
    assert [one.line for one in found] == [4, 4, 4, 4, 4, 4, 7, 8]


def test_every_mutant_of_the_rows_can_be_read() -> None:
    paths = sorted(ROOT.glob("roles/webapp/vars/main/*.yml"))
    found = [one for path in paths for one in mutants.row_mutants(path.name, path.read_text())]
    assert len(found) > 500
    originals = {path.name: yaml.safe_load(path.read_text()) for path in paths}
    for one in found:
        assert yaml.load(one.text, Loader=yaml.CSafeLoader) != originals[one.path], str(one)


def test_what_may_survive_has_a_reason_and_is_there() -> None:
    for row in yaml.safe_load((ROOT / "tools/mutants.yml").read_text())["survivors"]:
        assert set(row) == {"path", "was", "reason"}
        assert row["was"] in (ROOT / row["path"]).read_text()


@pytest.mark.parametrize(("broken", "noticed"), [("1 == 2", True), ("1 == 1", False)])
def test_a_change_is_noticed_where_a_test_fails_and_is_taken_back(tmp_path: Path, broken: str, noticed: bool) -> None:
    for folder in ("tests/unit", "tests/consistency"):
        (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / "tests/unit/test_one.py"
    file.write_text("def test_one():\n    assert 1 == 1\n")
    (tmp_path / "tests/consistency/test_two.py").write_text("def test_two():\n    pass\n")
    text = file.read_text().replace("1 == 1", broken)
    mutant = mutants.Mutant("tests/unit/test_one.py", 2, "1 == 1", broken, text)
    assert mutants.is_noticed(mutant, tmp_path) is noticed
    assert "1 == 1" in file.read_text()
