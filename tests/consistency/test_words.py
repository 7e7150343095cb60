# SPDX-License-Identifier: MIT
"""Texts use the words of the field: tasks are named by imperatives, and words that readers stumbled over stay out.

A sentence of a description has at most 25 words.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.common import ROOT

# The first word of a task's name. One that is missing here is added with thought: it must say what is brought about.
IMPERATIVES = """
    Add Allow Check Clear Collect Compare Configure Copy Create Delete Deploy Disable Download Drain Enable End
    Explain Fail Generate Install Keep List Load Lock Log Make Measure Note Parse Pause Prepare Print Pull Push Read
    Recover Register Reload Remove Repair Replace Request Reset Restart Restore Restrict Resume Revoke Run Schedule
    Select Start Stop Store Test Update Verify Wait Warn Write
"""
TASKS = sorted([*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "playbooks").rglob("*.yml")])
TEXTS = sorted(
    [
        *(ROOT / "roles").glob("*/meta/settings.yml"),
        *(ROOT / "roles").glob("*/README.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "playbooks").rglob("*.yml"),
        *(ROOT / "inventories").rglob("*.yml"),
        *(ROOT / "changelogs/fragments").glob("*.yml"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "testbed/README.md")),
    ]
)
# Where messages for operators stand. Comments there are for people who change the code.
MESSAGES = sorted(
    [
        *(ROOT / "roles").glob("*/tasks/*.yml"),
        *(ROOT / "roles").glob("*/vars/**/*.yml"),
        *(ROOT / "roles").glob("*/files/**/*.yml"),
        *(ROOT / "roles").glob("*/templates/*.j2"),
        *(ROOT / "plugins").rglob("*.yml"),
        *(ROOT / "roles").glob("*/files/**/*.py"),
        *(ROOT / "plugins").rglob("*.py"),
    ]
)
# Rows of settings, and the documentation of plugins: strings in Python files, and files beside filters.
DESCRIPTIONS = sorted(
    [
        *(ROOT / "roles").glob("*/meta/settings.yml"),
        *(ROOT / "plugins").glob("*/[!_]*.py"),
        *(ROOT / "plugins").glob("*/*.yml"),
    ]
)
TEXT_KEYS = ("description", "short_description", "note", "notes", "details")
LONGEST_SENTENCE = 25
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
    r"(webapp|it|we) hears? of": "is connected",
    r"\banew\b": "again, or new",
    r"\b(data|backup|version|objects|spans) of before\b|\bof before\b": "previous, old, earlier",
    # `nobody` is also a user of Unix.
    r"(?<![/'`])\b(somebody|whoever|nobody|everybody|anybody)\b": "who it is: the operator, a user, no service",
    r"\b(is|are|was|were|be) away\b": "is down, is unavailable",
    r"\bbridges? (it|that|them|by)\b|\bruns bridge\b": "tolerate",
    r"\bstands? (in|there|beside|behind)\b": "is in",
    r"\bcarr(y|ies) (the|data) .{0,40}\bto\b": "moves",
    r"\ball is well\b|\bis it well\b": "everything works",
    r"\bshall\b": "must, should",
    r"\bspoken to\b": "uses",
    r"\bfor want of\b": "because there is not enough",
    r"\bin clear\b": "in plain text",
    r"\b(most|fewest) (processors|memory|MiB|bytes|concurrent)\b": "maximum, minimum",
    r"\b(go|goes|going|went) on\b": "continue, is in progress",
    r"\btak(e|es|en|ing) (it |the \w+ )?back\b": "undo",
    r"\bmends?\b": "fix, repair",
    r"\bof (ours|yours|theirs)\b": "your own, of this collection",
}


@pytest.mark.parametrize("path", TASKS, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_tasks_are_named_by_imperatives(path: Path) -> None:
    names = re.findall(r"^\s*- name: [\"']?(\w+)", path.read_text(), flags=re.MULTILINE)
    assert sorted(set(names) - set(IMPERATIVES.split())) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_of_the_field(path: Path) -> None:
    # A sentence may be broken anywhere.
    text = " ".join(path.read_text().split())
    assert words_to_replace(text) == {}


def words_to_replace(text: str) -> dict[str, str]:
    """Give the words of a text that readers stumble over, and what stands in their place."""
    return {pattern: word for pattern, word in WORDS.items() if re.search(pattern, text, flags=re.IGNORECASE)}


def said(path: Path) -> str:
    """Give what a file may say to operators: a YAML file or a template without comments, the strings of a program."""
    text = path.read_text()
    if path.suffix != ".py":
        return " ".join(re.sub(r"(^|\s)#.*", "", text, flags=re.MULTILINE).split())
    nodes = list(ast.walk(ast.parse(text)))
    bodies = [node.body for node in nodes if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    strings = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    texts = [" ".join(each.value.split()) for each in strings if isinstance(each.value, str)]
    # A single word is a name.
    return "\n".join(each for each in texts if " " in each)


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_messages_use_words_of_the_field(path: Path) -> None:
    assert words_to_replace(said(path)) == {}


def test_a_word_is_found_in_a_message_and_not_in_a_comment(tmp_path: Path) -> None:
    program, tasks = tmp_path / "one.py", tmp_path / "two.yml"
    program.write_text('"""It goes on."""\nNAME = "nobody"  # anew\nraise ValueError(f"{NAME} writes it anew")\n')
    assert [*words_to_replace(said(program))] == [r"\banew\b"]
    tasks.write_text("# It goes on.\n- name: Print it\n  msg: >-\n    Whoever reads\n")
    assert len(words_to_replace(said(tasks))) == 1


def texts(value: object, key: str = "") -> Iterator[str]:
    """Give every text below a value that stands under a key for texts."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, key)
    elif isinstance(value, str) and key in TEXT_KEYS:
        yield value


def sentences(text: str) -> list[str]:
    """Give the sentences of a text. What stands behind a colon belongs to the same one."""
    return re.split(r"(?<=[.!?]) ", " ".join(text.split()))


def described(path: Path) -> list[Any]:
    """Give what a file describes: itself, or the strings of a plugin that Ansible reads."""
    text = path.read_text()
    if path.suffix == ".yml":
        return [yaml.safe_load(text)]
    # Fragments have names of their own.
    names = "[A-Z]+" if path.parent.name == "doc_fragments" else "(?:DOCUMENTATION|RETURN)"
    found = re.findall(rf'^ *{names} = r?"""(.*?)"""', text, flags=re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(each) for each in found]


def long_sentences(documents: list[Any]) -> list[str]:
    """Give the sentences of descriptions that have too many words."""
    every = (sentence for document in documents for text in texts(document) for sentence in sentences(text))
    return [sentence for sentence in every if len(sentence.split()) > LONGEST_SENTENCE]


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sentences_of_descriptions_are_short(path: Path) -> None:
    assert long_sentences(described(path)) == []


def test_a_long_sentence_is_found() -> None:
    long = "word " * LONGEST_SENTENCE + "end."
    assert long_sentences([{"name": {"description": f"Short: and more. {long} Short."}, "other": long}]) == [long]
    assert long_sentences([{"description": ["Two sentences. " * LONGEST_SENTENCE]}]) == []


@pytest.mark.parametrize("path", ["modules/project.py", "filter/dotenv.yml", "doc_fragments/webapp.py"])
def test_descriptions_of_plugins_are_found(path: str) -> None:
    assert any(list(texts(each)) for each in described(ROOT / "plugins" / path))
