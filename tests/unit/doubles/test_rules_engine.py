# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest
from doubles import rules


def row(**changes: Any) -> dict[str, Any]:
    return {"variables": ["X"], "kind": "non_empty", "effect": "exit", "stage": "start", **changes}


@pytest.mark.parametrize(
    ("kind", "argument", "good", "bad"),
    [
        ("non_empty", None, "a", ""),
        ("enum", ["a", "b"], "a", "c"),
        ("exactly", "1", "1", "true"),
        ("bytes", 2, "ab", "ü "),
        ("url", None, "http://host:1/x", "http://host:x1/x"),
        ("url", None, "postgresql://u:a%2Fb@host/db", "postgresql://u:a/b@host/db"),
        ("regex", None, "^a$", "("),
        ("integer", None, "", "1.5"),
        ("number", None, "1.5", "'1'"),
        ("positive", None, "1", ""),
        ("range", [0, 1], "0.5", "2"),
        ("matches", "[a-z]+", "abc", "a1"),
        ("parameter_not_empty", "schema", "p://h/d", "p://h/d?schema="),
        ("without_parameter", "secure", "http://h", "http://h?secure=false"),
        ("secure", None, "http://h?secure=false", "http://h"),
        ("secure", None, "https://h", "https://h?secure=false"),
    ],
)
def test_kinds(kind: str, argument: Any, good: str, bad: str) -> None:
    table = rules.parse([row(kind=kind, argument=argument)])
    assert rules.fatal(table, {"X": good}, "start") == []
    assert len(rules.fatal(table, {"X": bad}, "start")) == 1


def test_only_presence_rules_and_exact_values_see_a_missing_variable() -> None:
    assert rules.judge(rules.parse([row()]), {}) == []
    assert len(rules.judge(rules.parse([row(kind="required")]), {})) == 1
    assert rules.judge(rules.parse([row(kind="required")]), {"X": ""}) == []
    assert len(rules.judge(rules.parse([row(kind="required_non_empty")]), {"X": ""})) == 1
    assert len(rules.judge(rules.parse([row(kind="exactly", argument="1")]), {})) == 1


def test_a_rule_applies_only_when_its_condition_holds() -> None:
    table = rules.parse([row(when={"MODE": "1"})])
    assert rules.judge(table, {"X": ""}) == []
    assert len(rules.judge(table, {"X": "", "MODE": "1"})) == 1


def test_a_rule_counts_only_at_its_stage() -> None:
    table = rules.parse([row()])
    assert rules.fatal(table, {"X": ""}, "later") == []


@pytest.mark.parametrize(
    "broken", [row(kind="none"), row(effect="silent"), row(stage=""), row(quirk="q"), row(effect="maybe")]
)
def test_a_table_that_means_nothing_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"unknown kind|needs a stage"):
        rules.parse([broken])


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("TRUE", True), ("1", True), ("yes", False), ("", False)]
)
def test_booleans(value: str, expected: bool) -> None:
    assert rules.boolean({"X": value}, "X", not expected) is expected


@pytest.mark.parametrize(
    ("bounds", "series"),
    [
        ({}, ["4.2", "4.5", "4.10"]),
        ({"since": "4.5"}, ["4.5", "4.10"]),
        ({"before": "4.5"}, ["4.2"]),
        ({"since": "4.5", "before": "4.10"}, ["4.5"]),
    ],
)
def test_a_rule_holds_from_one_series_to_another(bounds: dict[str, str], series: list[str]) -> None:
    (rule,) = rules.parse([row(**bounds)])
    assert [name for name in ("4.2", "4.5", "4.10") if rules.holds(rule, name)] == series


def test_a_later_series_has_what_the_one_before_it_has() -> None:
    table = {"4.2": 1, "4.5": 2}
    assert [rules.newest(table, name) for name in ("4.2", "4.4", "4.5", "4.10")] == [1, 1, 2, 2]
    with pytest.raises(LookupError, match=r"up to 4\.1"):
        rules.newest(table, "4.1")
