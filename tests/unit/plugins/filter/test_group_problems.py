# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.group_problems import group_problems

REQUIRED = ["trigger_control", "trigger_workers"]
KNOWN = [*REQUIRED, "trigger_registry", "trigger_developers"]
GOOD = {"all": ["a", "b"], "ungrouped": [], "trigger_control": ["a"], "trigger_workers": ["b"]}


def without(group: str, **more: list[str]) -> dict[str, list[str]]:
    """Give the good inventory without a group, and with others."""
    return {name: hosts for name, hosts in GOOD.items() if name != group} | more


def test_good_groups_and_those_of_others_pass() -> None:
    assert group_problems(GOOD | {"web": ["a"], "control": ["a"], "workers": []}, KNOWN, REQUIRED) == []


@pytest.mark.parametrize(
    "group", ["workers", "worker", "Trigger_workers", "TRIGGER_WORKERS", "trigger-workers", "triger_workers"]
)
def test_a_required_group_in_another_spelling(group: str) -> None:
    found = group_problems(without("trigger_workers", **{group: ["b"]}), KNOWN, REQUIRED)
    assert found == [f"{group} (call it trigger_workers)"]


@pytest.mark.parametrize("group", ["registry", "Registry", "developers"])
def test_a_group_that_may_be_missing_without_its_prefix(group: str) -> None:
    meant = f"trigger_{group.lower()}"
    assert group_problems(GOOD | {group: ["c"]}, KNOWN, REQUIRED) == [f"{group} (call it {meant})"]
    # Without a host, with the right one beside it, and where it is said to be another's.
    assert group_problems(GOOD | {group: []}, KNOWN, REQUIRED) == []
    assert group_problems(GOOD | {group: ["c"], meant: ["d"]}, KNOWN, REQUIRED) == []
    assert group_problems(GOOD | {group: ["c"]}, KNOWN, REQUIRED, [group]) == []
    assert group_problems(GOOD | {f"{group}_old": ["c"]}, KNOWN, REQUIRED) == []


@pytest.mark.parametrize("group", ["trigger_workers_eu", "trigger-workers-gpu", "trigger_prod", "trigger_worker"])
def test_a_group_whose_hosts_have_their_place_passes(group: str) -> None:
    assert group_problems(GOOD | {group: ["b"]}, KNOWN, REQUIRED) == []
    assert group_problems(GOOD | {group: ["b", "c"]}, KNOWN, REQUIRED) != []
    assert group_problems(GOOD | {"trigger_registri": ["b"]}, KNOWN, REQUIRED) == [
        "trigger_registri (call it trigger_registry)"
    ]


def test_the_group_of_the_control_host() -> None:
    assert group_problems(without("trigger_control", control=["a"]), KNOWN, REQUIRED) == [
        "control (call it trigger_control)"
    ]


def test_a_group_that_looks_like_ours_is_told_where_nothing_is_missing() -> None:
    groups = GOOD | {"trigger_developer": ["c"], "trigger_colours": ["d"], "trigger_mine": ["e"]}
    assert group_problems(groups, KNOWN, REQUIRED, ["trigger_mine"]) == [
        f"trigger_colours (known are {', '.join(KNOWN)})",
        "trigger_developer (call it trigger_developers)",
    ]
