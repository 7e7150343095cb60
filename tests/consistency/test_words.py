# SPDX-License-Identifier: MIT
"""Texts use the words of the field: tasks are named by imperatives, and words that readers stumbled over stay out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.common import ROOT

# The first word of a task's name. One that is missing here is added with thought: it must say what is brought about.
IMPERATIVES = """
    Add Allow Check Clear Collect Compare Configure Copy Create Delete Deploy Disable Download Drain Enable End
    Explain Fail Generate Install Keep List Load Lock Log Make Measure Note Parse Pause Prepare Print Pull Push Read
    Recover Register Reload Remove Repair Replace Request Reset Restart Restrict Resume Revoke Run Schedule Select
    Start Stop Store Test Update Verify Wait Warn Write
"""
TASKS = sorted([*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "playbooks").rglob("*.yml")])
TEXTS = sorted(
    [
        *(ROOT / "roles").glob("*/meta/settings.yml"),
        *(ROOT / "roles").glob("*/README.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "playbooks").rglob("*.yml"),
        ROOT / "README.md",
    ]
)
# What stands in its place in the field.
WORDS = {
    r"private authorit(y|ies)": "private CA",
    r"of somebody else|somebody else's": "external",
    r"small letters": "lowercase letters",
    r"what is asked for": "the settings",
    r"path of a run": "end-to-end probe",
    r"\bin turns\b": "in batches",
    r"\bat work\b": "running",
    r"\bfor good\b": "permanently",
    r"no name at their end": "no suffix",
}


@pytest.mark.parametrize("path", TASKS, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_tasks_are_named_by_imperatives(path: Path) -> None:
    names = re.findall(r"^\s*- name: [\"']?(\w+)", path.read_text(), flags=re.MULTILINE)
    assert sorted(set(names) - set(IMPERATIVES.split())) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_of_the_field(path: Path) -> None:
    # A sentence may be broken anywhere.
    text = " ".join(path.read_text().split())
    found = {pattern: word for pattern, word in WORDS.items() if re.search(pattern, text, flags=re.IGNORECASE)}
    assert found == {}
