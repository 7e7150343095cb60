# SPDX-License-Identifier: MIT
"""Filter xml_problem."""

from __future__ import annotations

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.xml_problem import xml_problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ""),
        ('<?xml version="1.0"?>\n<clickhouse><a>secret</a></clickhouse>\n', ""),
        ("<clickhouse>\n<a>secret</b></clickhouse>", "is no XML: mismatched tag in line 2, column 12"),
        ("secret", "is no XML: syntax error in line 1, column 1"),
        ("<yandex>secret</yandex>", "must be <clickhouse>...</clickhouse>, and is <yandex>"),
    ],
)
def test_the_place_is_told_and_nothing_of_the_text(text: str, problem: str) -> None:
    assert xml_problem(text, "clickhouse") == problem
