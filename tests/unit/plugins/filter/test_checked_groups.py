# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.checked_groups import checked_groups

OURS = ["trigger_control", "trigger_workers", "trigger_registry"]
GROUPS = {"all": ["a", "b"], "ungrouped": [], "trigger_workers": ["b"], "trigger_control": ["a"]}


@pytest.mark.parametrize(
    ("groups", "is_limited", "wanted"),
    [
        (GROUPS, False, ["trigger_control", "trigger_workers"]),
        (GROUPS, True, ["trigger_control", "trigger_workers", "all"]),
        (GROUPS | {"trigger_registry": []}, False, ["trigger_control", "trigger_workers"]),
        ({"all": ["a"], "trigger_control": []}, False, ["all"]),
        ({"all": []}, False, ["localhost"]),
        ({}, True, ["localhost"]),
    ],
)
def test_the_play_has_a_host(groups: dict[str, list[str]], is_limited: bool, wanted: list[str]) -> None:
    assert checked_groups(groups, OURS, is_limited) == wanted
