# SPDX-License-Identifier: MIT
"""Lookup setting_problems: its rules, and what it reads of a host's variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.selfhosted.trigger_dev.plugins.lookup import setting_problems as lookup

from tests.plays import render_cases

NEEDS = {"settings": ["a"], "needs": ["b", "c"]}


def problems(values: Mapping[str, Any], rules: list[dict[str, Any]], *options: Any) -> list[str]:
    """Give what rules say of values; a setting that is not among them is not set."""
    return list(lookup.setting_problems(rules, values.get, *options))


@pytest.mark.parametrize("value", ["", None, False, {}, []])
def test_what_is_not_set_breaks_no_rule(value: object) -> None:
    rules: list[dict[str, Any]] = [
        NEEDS,
        {"settings": ["a"], "needs_any": ["b"]},
        {"settings": ["a"], "with": {"b": "x"}},
        {"settings": ["a"], "at_most": "b"},
        {"settings": ["a"], "feature": "f", "since": "4.5"},
    ]
    assert problems({"a": value}, rules) == []


def test_what_is_missing_is_named() -> None:
    assert problems({"a": "1", "c": "1"}, [NEEDS]) == ["a is set, so b must be set too."]
    assert problems({"a": "1"}, [NEEDS]) == ["a is set, so b and c must be set too."]
    assert problems({"a": "1", "b": 0, "c": "x"}, [NEEDS]) == []


def test_a_rule_for_one_value() -> None:
    rule = {"settings": ["a"], "is": "smtp", "needs": ["b"]}
    assert problems({"a": "smtp"}, [rule]) == ["a is smtp, so b must be set too."]
    assert problems({"a": "resend"}, [rule]) == []
    off = {"settings": ["a"], "is": False, "needs": ["b"]}
    assert problems({"a": False}, [off]) == ["a is false, so b must be set too."]
    assert problems({"a": True}, [off]) == []


@pytest.mark.parametrize("value", [465, "465", 465.0])
def test_numbers_are_compared_as_numbers(value: object) -> None:
    """Rows let numbers be written as text."""
    rule: dict[str, Any] = {"settings": ["a"], "is": 465, "needs": ["b"]}
    assert problems({"a": value}, [rule]) == ["a is 465, so b must be set too."]
    assert problems({"a": value}, [{"settings": ["a"], "unless": 465, "needs": ["b"]}]) == []
    assert problems({"a": True, "b": value}, [{"settings": ["a"], "with": {"b": 465}}]) == []
    other: dict[str, Any] = {"settings": ["a"], "unless": 0, "needs": ["b"]}
    assert problems({"a": value}, [other]) == ["a is set, so b must be set too."]
    assert problems({"a": "0"}, [other]) == []


@pytest.mark.parametrize("value", ["text", True, [465], None])
def test_what_is_no_number_equals_none(value: object) -> None:
    assert problems({"a": value}, [{"settings": ["a"], "is": 1, "needs": ["b"]}]) == []


def test_a_value_that_another_setting_must_have() -> None:
    rule = {"settings": ["a"], "with": {"b": "minio"}}
    assert problems({"a": True, "b": "minio"}, [rule]) == []
    assert problems({"a": False, "b": "seaweedfs"}, [rule]) == []
    assert problems({"a": True, "b": "other"}, [rule]) == [
        "a is set, so b must be minio, is other. Change one of them."
    ]


def test_a_switch_that_nobody_has_set() -> None:
    rule = {"settings": ["a"], "switch": "b"}
    assert problems({"a": "1", "b": True}, [rule], [], "", ["a"]) == []
    assert problems({"a": "", "b": False}, [rule], [], "", ["a"]) == []
    # Only its default.
    assert problems({"a": "1", "b": False}, [rule]) == []
    assert problems({"a": "1", "b": False}, [rule], [], "", ["a"]) == [
        "a is set, but has no effect without b. Set b to true, or to false if that is what you want for now."
    ]
    assert problems({"a": "1", "b": ""}, [rule], [], "", ["a"]) == [
        'a is set, but has no effect without b. Set b to a value, or to "" if that is what you want for now.'
    ]
    # Turned off, it keeps the rest for later.
    assert problems({"a": "1", "b": False}, [rule], [], "", ["a", "b"]) == []


def test_one_of_several() -> None:
    rule = {"settings": ["a"], "needs_any": ["b", "c"]}
    assert problems({"a": "1", "c": "1"}, [rule]) == []
    assert problems({"a": "1"}, [rule]) == ["a is set, but has no effect without b or c."]


def test_a_number_that_must_not_exceed_another() -> None:
    rule = {"settings": ["a"], "at_most": "b"}
    assert problems({"a": "513", "b": 512}, [rule]) == ["a is '513'; it must not exceed b (512). Change one of them."]
    assert problems({"a": 513, "b": 512}, [rule]) == ["a is 513; it must not exceed b (512). Change one of them."]
    assert problems({"a": 512, "b": "512"}, [rule]) == []
    # 0 is no limit of its own.
    assert problems({"a": 512, "b": 0}, [rule]) == []


def test_a_feature_of_a_later_version() -> None:
    rule = {"settings": ["a"], "unless": "usual", "feature": "f", "since": "4.5"}
    assert problems({"a": "usual"}, [rule]) == []
    assert problems({"a": "x"}, [rule], ["f"]) == []
    assert problems({"a": "x"}, [rule], [], "v4.2.0") == [
        "a exists from Trigger.dev 4.5 on, and trigger_version is v4.2.0: leave it out."
    ]


def test_all_problems_are_told_at_once_and_in_order() -> None:
    rules: list[dict[str, Any]] = [
        {"wrong": True, "message": "First."},
        NEEDS | {"with": {"d": 1}},
        {"wrong": False, "message": "Never."},
        {"wrong": True, "message": "Last."},
    ]
    assert problems({"a": "1"}, rules) == [
        "First.",
        "a is set, so b and c must be set too.",
        "a is set, so d must be 1, is None. Change one of them.",
        "Last.",
    ]


def test_a_rule_may_name_one_setting() -> None:
    rules = [{"settings": "one", "needs": ["two"]}]
    assert problems({"one": 1, "two": ""}, rules) == ["one is set, so two must be set too."]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"settings": ["a"], "need": ["b"]}, "unknown keys need"),
        ({"needs": ["b"]}, "this one has needs"),
        ({"wrong": True}, "this one has wrong"),
        ({"settings": ["a"], "wrong": True, "message": "x"}, "this one has message, settings, wrong"),
        ({"settings": ["a"], "feature": "f"}, "feature and since"),
    ],
)
def test_a_rule_with_a_slip(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleError, match=words):
        problems({}, [rule])


def test_what_is_read_of_the_variables(tmp_path: Path) -> None:
    """Values are those that the role has. What does not apply is not read: it may be known later in the run only."""
    rules = [NEEDS, {"wrong": "{{ a == 'x1' }}", "message": "a is {{ a }}."}]
    later = "{{ known_later }}"
    unread = [{"settings": "a", "needs": ["b"]}, {"wrong": "{{ a == 'x' }}", "message": later}]
    newer = [{"settings": "a", "feature": "f", "since": "4.5"}]
    cases: dict[str, dict[str, Any]] = {
        "read": {"rules": rules, "a": "{{ part }}1", "part": "x", "b": "{{ '' }}", "c": 0},
        "replaced": {"rules": rules, "a": "x2", "b": later, "c": 0, "options": {"values": {"b": "{{ a }}", "d.e": 1}}},
        "unread": {"rules": unread, "a": "", "b": later},
        "older": {"rules": newer, "a": 1, "options": {"version": "v4.2.0"}},
        "newer": {"rules": newer, "a": 1, "options": {"version": "v4.5.0", "features": ["f"]}},
    }
    found = render_cases(
        tmp_path,
        host="control.example.com",
        wanted={"problems": "query('selfhosted.trigger_dev.setting_problems', *rules, **options)"},
        cases={name: {"options": {}} | case for name, case in cases.items()},
    )
    assert {name: row["problems"] for name, row in found.items()} == {
        "read": ["a is set, so b must be set too.", "a is x1."],
        "replaced": [],
        "unread": [],
        "older": ["a exists from Trigger.dev 4.5 on, and trigger_version is v4.2.0: leave it out."],
        "newer": [],
    }


def test_a_rule_about_no_variable_is_an_error() -> None:
    read = lookup.reader(str, {"b": 1}, {"c": 2})
    assert (read("b"), read("c")) == ("1", 2)
    with pytest.raises(AnsibleError, match="names a, and there is no such variable"):
        read("a")
