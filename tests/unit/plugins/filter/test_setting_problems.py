# SPDX-License-Identifier: MIT
"""Filter setting_problems."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.setting_problems import setting_problems

NEEDS = {"settings": ["a"], "needs": ["b", "c"]}


@pytest.mark.parametrize("value", ["", None, False, {}, []])
def test_what_is_not_set_breaks_no_rule(value: object) -> None:
    rules: list[dict[str, Any]] = [
        NEEDS,
        {"settings": ["a"], "matches": "x", "form": "x"},
        {"settings": ["a"], "feature": "f", "since": "4.5"},
        {"settings": ["a"], "range": [5, 6]},
    ]
    assert setting_problems({"a": value}, rules) == []


def test_what_is_missing_is_named() -> None:
    assert setting_problems({"a": "1", "c": "1"}, [NEEDS]) == ["a is set, so b must be set too."]
    assert setting_problems({"a": "1"}, [NEEDS]) == ["a is set, so b and c must be set too."]
    assert setting_problems({"a": "1", "b": 0, "c": "x"}, [NEEDS]) == []


def test_a_rule_for_one_value() -> None:
    rule = {"settings": ["a"], "is": "smtp", "needs": ["b"]}
    assert setting_problems({"a": "smtp"}, [rule]) == ["a is smtp, so b must be set too."]
    assert setting_problems({"a": "resend"}, [rule]) == []
    off = {"settings": ["a"], "is": False, "needs": ["b"]}
    assert setting_problems({"a": False}, [off]) == ["a is false, so b must be set too."]
    assert setting_problems({"a": True}, [off]) == []


def test_a_value_that_another_setting_must_have() -> None:
    rule = {"settings": ["a"], "with": {"b": "minio"}}
    assert setting_problems({"a": True, "b": "minio"}, [rule]) == []
    assert setting_problems({"a": False, "b": "seaweedfs"}, [rule]) == []
    assert setting_problems({"a": True, "b": "other"}, [rule]) == ["a is set, so b must be minio, is other."]


def test_one_of_several() -> None:
    rule = {"settings": ["a"], "needs_any": ["b", "c"]}
    assert setting_problems({"a": "1", "c": "1"}, [rule]) == []
    assert setting_problems({"a": "1"}, [rule]) == ["a is set, but has no effect without b or c."]


def test_a_number_that_must_not_exceed_another() -> None:
    rule = {"settings": ["a"], "at_most": "b"}
    assert setting_problems({"a": "513", "b": 512}, [rule]) == ["a is '513'; it must not exceed b (512)."]
    assert setting_problems({"a": 512, "b": "512"}, [rule]) == []
    # 0 is no limit of its own.
    assert setting_problems({"a": 512, "b": 0}, [rule]) == []


def test_the_form_of_the_whole_value() -> None:
    rule = {"settings": ["a", "b"], "matches": "[0-9]+s", "form": "a number of seconds"}
    assert setting_problems({"a": "10s", "b": "10s\n"}, [rule]) == ["b must be a number of seconds, is '10s\\n'."]


def test_a_secret_is_not_shown() -> None:
    rule = {"settings": ["a"], "matches": "x", "form": "an x", "secret": True}
    assert setting_problems({"a": "hidden"}, [rule]) == ["a must be an x."]


def test_the_range_of_a_number() -> None:
    rule = {"settings": ["a"], "range": [1, 65535]}
    assert [setting_problems({"a": value}, [rule]) for value in (1, 65535)] == [[], []]
    assert setting_problems({"a": 0}, [rule]) == ["a must be from 1 to 65535, is 0."]


def test_a_feature_of_a_later_version() -> None:
    rule = {"settings": ["a"], "unless": "usual", "feature": "f", "since": "4.5"}
    assert setting_problems({"a": "usual"}, [rule]) == []
    assert setting_problems({"a": "x"}, [rule], ["f"]) == []
    assert setting_problems({"a": "x"}, [rule], [], "v4.2.0") == [
        "a exists from Trigger.dev 4.5 on, and trigger_version is v4.2.0: leave it out."
    ]


def test_all_problems_are_told_at_once() -> None:
    rules: list[dict[str, Any]] = [NEEDS, {"settings": ["a"], "matches": "x", "form": "an x"}]
    assert len(setting_problems({"a": "1"}, rules)) == 2


def test_a_rule_with_a_slip() -> None:
    with pytest.raises(AnsibleFilterError, match="unknown keys need"):
        setting_problems({}, [{"settings": ["a"], "need": ["b"]}])


def test_a_rule_may_name_one_setting() -> None:
    rules = [{"settings": "one", "needs": ["two"]}]
    assert setting_problems({"one": 1, "two": ""}, rules) == ["one is set, so two must be set too."]
