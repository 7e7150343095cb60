# SPDX-License-Identifier: MIT
"""Patterns that JavaScript takes, held against Node where there is one."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._javascript import pattern_problem

# Recorded with Node 20.20 and 24.21: pattern, whether the first takes it, whether the second does.
RECORDED = [
    ("^me@example\\.com$", True, True),
    ("(?<=a+)b", True, True),
    ("\\p{L}", True, True),
    ("\\A.\\Z", True, True),
    ("a{,2}", True, True),
    ("}]", True, True),
    ("\\k<n>", True, True),
    ("(?=a)*", True, True),
    ("[\\d-z]", True, True),
    ("(?P<n>x)", False, False),
    ("(?i)x", False, False),
    ("(?i:x)", False, True),
    ("(?-:x)", False, False),
    ("(?<n>a)|(?<n>b)", False, True),
    ("(?<n>a)(?<n>b)", False, False),
    ("(?<n>a)\\k<m>", False, False),
    ("(?<n>a)\\k", False, False),
    ("(?<1>a)", False, False),
    ("a++", False, False),
    ("(?>a)", False, False),
    ("(?<=a)*", False, False),
    ("\\b+", False, False),
    ("^*", False, False),
    ("{1}", False, False),
    ("a{2,1}", False, False),
    ("[z-a]", False, False),
    ("[😀-😁]", False, False),
    ("[", False, False),
    ("(", False, False),
    (")", False, False),
    ("\\", False, False),
]
PARTS = [
    *[
        "a",
        "b",
        "|",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?<!",
        "(?<n>",
        "(?<m>",
        "(?P<n>",
        "(?i)",
        "(?i:",
        "(?-i:",
    ],
    *[
        "(?>",
        "(?#",
        "[",
        "]",
        "^",
        "$",
        "*",
        "+",
        "?",
        "{",
        "}",
        "{2}",
        "{2,1}",
        "{1,}",
        ",",
        "-",
        "\\",
        "\\k<n>",
        "\\k",
    ],
    *["\\d", "\\b", "\\c", "\\cA", "\\x4", "\\x41", "\\u0041", "\\u{2}", "\\p{L}", "\\1", "\\8", "\\0", ".", "1", "9"],
    *["z", "A", "é", "😀", "(?<é>", "(?<1>", "(?<$>", "\\-", "/", "\n", "_", "<", ">", "=", "!", ":"],
]
ASK = """
const patterns = JSON.parse(require("fs").readFileSync(0, "utf8"));
const takes = (text) => { try { new RegExp(text); return true; } catch { return false; } };
console.log(JSON.stringify({version: process.versions.node, taken: patterns.map(takes)}));
"""


@pytest.mark.parametrize(("pattern", "old", "new"), RECORDED)
def test_recorded_patterns(pattern: str, old: bool, new: bool) -> None:
    assert (pattern_problem(pattern, 2023) == "") == old
    assert (pattern_problem(pattern, 2025) == "") == new


def test_random_patterns_are_judged_as_node_does() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH; the recorded patterns were tried")
    choice = random.Random(20)
    patterns = ["".join(choice.choices(PARTS, k=choice.randint(1, 9))) for _ in range(20000)]
    done = subprocess.run([node, "-e", ASK], input=json.dumps(patterns), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    edition = 2025 if int(re.match(r"[0-9]+", answer["version"])[0]) >= 24 else 2023  # type: ignore[index]
    wrong = [
        (pattern, taken)
        for pattern, taken in zip(patterns, answer["taken"])
        if (pattern_problem(pattern, edition) == "") != taken
    ]
    assert wrong == []
    assert 1000 < sum(answer["taken"]) < 19000
