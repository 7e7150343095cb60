# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.selfhosted.trigger_dev.plugins.filter.compose_escape import compose_escape


def test_every_string_at_any_depth() -> None:
    before = {"a": "$x", "b": ["$$", {"c": "${y}"}], "d": 1, "e": True, "f": None, "g": ("$",)}
    after = {"a": "$$x", "b": ["$$$$", {"c": "$${y}"}], "d": 1, "e": True, "f": None, "g": ["$$"]}
    assert compose_escape(before) == after


def test_keys_and_the_input_stay() -> None:
    before = {"$key": ["$"]}
    assert compose_escape(before) == {"$key": ["$$"]}
    assert before == {"$key": ["$"]}
