# SPDX-License-Identifier: MIT
"""Filter series_of_release."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.series_of_release import series_of_release

LATER = [{"name": "three", "since": "4.5.2"}, {"name": "four", "since": "4.5.10"}]
SERIES: list[dict[str, Any]] = [
    {"name": "4.2", "features": ["one"], "later_features": []},
    {"name": "4.5", "features": ["one", "two"], "later_features": LATER},
    {"name": "4.10"},
]


@pytest.mark.parametrize(
    ("release", "name", "features"),
    [
        ("4.2.0", "4.2", ["one"]),
        ("4.4.99", "4.2", ["one"]),
        ("4.5.0", "4.5", ["one", "two"]),
        ("4.5.2", "4.5", ["one", "two", "three"]),
        ("4.5.10", "4.5", ["one", "two", "three", "four"]),
        ("4.9.0", "4.5", ["one", "two", "three", "four"]),
        ("4.10.1", "4.10", []),
        ("9999", "4.10", []),
        # The checks refuse it; until then it is taken for a new one.
        ("4.1.0", "4.10", []),
    ],
)
def test_a_release_has_the_series_before_it(release: str, name: str, features: list[str]) -> None:
    found = series_of_release(SERIES, release)
    assert (found["name"], found["all_features"]) == (name, features)


def test_reached_features_are_told_with_their_notes() -> None:
    assert series_of_release(SERIES, "4.5.3")["reached_features"] == LATER[:1]


def test_the_originals_stay_as_they_are() -> None:
    series_of_release(SERIES, "4.5.10")
    assert SERIES[1]["features"] == ["one", "two"]


@pytest.mark.parametrize(
    ("series", "release", "words"), [([], "4.2.0", "there is no series"), (SERIES, "main", "'main' is no version")]
)
def test_what_cannot_be_compared_is_an_error(series: list[dict[str, Any]], release: str, words: str) -> None:
    with pytest.raises(AnsibleFilterError, match=words):
        series_of_release(series, release)
