# SPDX-License-Identifier: MIT
"""Filter release_series."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.release_series import release_series

BASE: dict[str, Any] = {"name": "4.2", "tested": "v4.2.0", "minimum": "", "features": ["one"]}
LATER: dict[str, Any] = {"name": "4.5", "tested": "v4.5.12", "minimum": "25.8", "features": ["two"]}
LAST: dict[str, Any] = {"name": "4.10", "tested": "v4.10.1"}


def test_each_series_has_what_the_one_before_it_has() -> None:
    assert release_series([LAST, LATER, BASE]) == [
        BASE | {"lineage": ["4.2"]},
        LATER | {"features": ["one", "two"], "lineage": ["4.2", "4.5"]},
        LATER | LAST | {"features": ["one", "two"], "lineage": ["4.2", "4.5", "4.10"]},
    ]


def test_the_originals_stay_as_they_are() -> None:
    release_series([BASE, LATER])
    assert (BASE["features"], LATER["features"]) == (["one"], ["two"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": 4.5}, "needs a name such as"),
        ({"name": "next"}, "needs a name such as"),
        ({"tested": "v4.5.0"}, "needs a name such as"),
        ({"name": "4.2"}, "two series 4.2"),
        ({"name": "4.5", "feature": []}, "keys that the oldest series lacks: .'feature'"),
    ],
)
def test_what_is_no_series_is_an_error(row: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError, match=words):
        release_series([BASE, row])
