# SPDX-License-Identifier: MIT
"""Filter column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.column import column

ROWS: dict[str, dict[str, Any]] = {"b": {"port": 2, "files": []}, "a": {"port": 1}, "c": {}}


def test_values_come_in_the_order_of_the_rows() -> None:
    assert list(column(ROWS, "port").items()) == [("b", 2), ("a", 1)]


def test_rows_without_the_key_are_left_out() -> None:
    assert column(ROWS, "files") == {"b": []}


@pytest.mark.parametrize(("names", "found"), [([], {}), (["a", "c"], {"a": 1}), (None, {"b": 2, "a": 1})])
def test_only_named_rows_are_looked_at(names: list[str] | None, found: dict[str, int]) -> None:
    assert column(ROWS, "port", names) == found


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="no row d, e"):
        column(ROWS, "port", ["a", "e", "d"])


def test_a_row_must_be_a_dictionary() -> None:
    rows: Mapping[str, Any] = {"a": 1}
    with pytest.raises(AnsibleFilterError, match="row a is not a dictionary"):
        column(rows, "port")
