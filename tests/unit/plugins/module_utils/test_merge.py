# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._merge import merge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Settings = dict[str, Any]


@pytest.mark.parametrize(
    ("current", "wanted", "applied", "value", "ours", "kept"),
    [
        pytest.param({}, {"a": 1}, {}, {"a": 1}, {"a": 1}, [], id="new"),
        pytest.param({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}, {"a": 2}, [], id="ours follows"),
        pytest.param({"a": 9}, {"a": 2}, {"a": 1}, {"a": 9}, {}, ["a"], id="operator changed it later"),
        pytest.param({"a": 9}, {"a": 2}, {}, {"a": 9}, {}, ["a"], id="operator had it before us"),
        pytest.param({"a": 2}, {"a": 2}, {}, {"a": 2}, {}, [], id="operator wants the same"),
        pytest.param({"a": 2}, {}, {}, {"a": 2}, {}, [], id="operator only"),
        pytest.param({"a": 1}, {}, {"a": 1}, {}, {}, [], id="not asked for any more"),
        pytest.param({"a": 9}, {}, {"a": 1}, {"a": 9}, {}, [], id="not asked for, but now the operator's"),
        pytest.param({}, {"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}, [], id="removed by hand, still asked for"),
        pytest.param({"a": True}, {"a": 1}, {}, {"a": True}, {}, ["a"], id="true is not 1"),
        pytest.param({"a": None}, {"a": 1}, {}, {"a": None}, {}, ["a"], id="null is a value"),
        pytest.param({"l": [1]}, {"l": [2]}, {}, {"l": [1, 2]}, {"l": [2]}, [], id="lists are united"),
        pytest.param({"l": [1, 2]}, {"l": [3]}, {"l": [2]}, {"l": [1, 3]}, {"l": [3]}, [], id="our item is replaced"),
        pytest.param({"l": [1, 2]}, {}, {"l": [2]}, {"l": [1]}, {}, [], id="our item goes"),
        pytest.param({"l": [2]}, {}, {"l": [2]}, {}, {}, [], id="our list goes"),
        pytest.param({"l": [1]}, {"l": [1]}, {}, {"l": [1]}, {}, [], id="item of both stays the operator's"),
        pytest.param({"l": []}, {}, {}, {"l": []}, {}, [], id="the operator's empty list stays"),
        pytest.param({}, {"l": [], "d": {"e": {}}}, {}, {}, {}, [], id="nothing is asked for by empty ones"),
        pytest.param(
            {"d": {"x": 1}}, {"d": {"y": 2}}, {}, {"d": {"x": 1, "y": 2}}, {"d": {"y": 2}}, [], id="nested united"
        ),
        pytest.param({"d": {"x": 1}}, {"d": {"x": 2}}, {}, {"d": {"x": 1}}, {}, ["d.x"], id="nested operator's"),
        pytest.param({"d": {"x": 1, "y": 2}}, {}, {"d": {"y": 2}}, {"d": {"x": 1}}, {}, [], id="nested ours goes"),
        pytest.param({"d": {"y": 2}}, {}, {"d": {"y": 2}}, {}, {}, [], id="nested ours goes with its shell"),
        pytest.param({"a": "text"}, {"a": ["x"]}, {}, {"a": "text"}, {}, ["a"], id="other type is the operator's"),
    ],
)
def test_merge(
    current: Settings, wanted: Settings, applied: Settings, value: Settings, ours: Settings, kept: list[str]
) -> None:
    merged = merge(current, wanted, [applied])
    assert (merged.value, merged.ours, merged.kept) == (value, ours, kept)
    assert repr(merged.value) == repr(value), "order of keys, and true apart from 1"


def test_what_an_interrupted_run_may_have_written_is_ours() -> None:
    assert merge({"a": 2}, {"a": 3}, [{"a": 1}, {"a": 2}]).value == {"a": 3}
    assert merge({"a": 1}, {"a": 3}, [{"a": 1}, {"a": 2}]).value == {"a": 3}


def test_order_of_the_file_is_kept() -> None:
    assert list(merge({"z": 1, "a": 2}, {"b": 3, "a": 2}, []).value) == ["z", "a", "b"]


SCALARS = st.sampled_from([True, 1, 2, "x"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(SCALARS, min_size=1, max_size=3, unique_by=repr),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)
SETTINGS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


# A busy machine makes few inputs in the time that it expects.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(SETTINGS, SETTINGS, SETTINGS)
def test_a_second_run_changes_nothing(current: Settings, wanted: Settings, applied: Settings) -> None:
    first = merge(current, wanted, [applied])
    second = merge(first.value, wanted, [first.ours])
    assert repr(second) == repr(first)


@given(SETTINGS, SETTINGS)
def test_asking_for_nothing_gives_the_operator_everything_back(current: Settings, wanted: Settings) -> None:
    first = merge(current, wanted, [])
    assert merge(first.value, {}, [first.ours]).value == current
