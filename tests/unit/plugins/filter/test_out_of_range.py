# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.out_of_range import FilterModule, out_of_range

PORT = {"webapp_port": [1, 65535]}


@pytest.mark.parametrize("value", [1, 65535, "8030", 8030.0])
def test_both_ends_and_numbers_as_text_are_fine(value: object) -> None:
    assert out_of_range({"webapp_port": value}, PORT) == []


@pytest.mark.parametrize("value", [0, -1, 65536, "65536", "", "abc", None, float("nan"), float("inf"), [1]])
def test_everything_else_is_named_with_its_range(value: object) -> None:
    assert out_of_range({"webapp_port": value}, PORT) == [f"webapp_port is {value}; it must be from 1 to 65535."]


def test_all_are_named_at_once_and_fractions_count() -> None:
    ranges = {"a_ratio": [0, 1], "b_ratio": [0.5, 1], "c_ratio": [0, 1]}
    found = out_of_range({"a_ratio": 1.5, "b_ratio": 0.4, "c_ratio": 1}, ranges)
    assert [line.split()[0] for line in found] == ["a_ratio", "b_ratio"]


@pytest.mark.parametrize(("values", "ranges"), [({"a": 1}, {}), ({}, {"a": [0, 1]})])
def test_a_range_without_a_value_is_a_mistake_of_ours(
    values: dict[str, object], ranges: dict[str, list[float]]
) -> None:
    with pytest.raises(AnsibleFilterError, match="value and range of a"):
        out_of_range(values, ranges)


def test_it_is_offered_under_its_name() -> None:
    assert FilterModule().filters() == {"out_of_range": out_of_range}
