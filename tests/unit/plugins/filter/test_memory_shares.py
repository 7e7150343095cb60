# SPDX-License-Identifier: MIT
"""Filter memory_shares."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.memory_shares import memory_shares
from hypothesis import given
from hypothesis import strategies as st

STEPS = {"web": [512, 1024, 2048], "database": [512, 768, 1024]}
NOTHING = {"web": 0, "database": 0}


@pytest.mark.parametrize(
    ("available", "shares"),
    [
        (0, {"web": 512, "database": 512}),
        (1024, {"web": 512, "database": 512}),
        (1408, {"web": 768, "database": 640}),
        (1792, {"web": 1024, "database": 768}),
        (2432, {"web": 1536, "database": 896}),
        (3072, {"web": 2048, "database": 1024}),
        (10**6, {"web": 2048, "database": 1024}),
    ],
)
def test_shares_follow_the_steps(available: int, shares: dict[str, int]) -> None:
    assert memory_shares(NOTHING, STEPS, available) == shares


def test_what_is_asked_for_is_left_to_no_other() -> None:
    assert memory_shares({"web": "1024", "database": 0}, STEPS, 1792) == {"web": 1024, "database": 768}
    assert memory_shares({"web": 4096, "database": 0}, STEPS, 1792) == {"web": 4096, "database": 512}
    assert memory_shares({"web": 100, "database": 200}, STEPS, 0) == {"web": 100, "database": 200}


def test_services_that_are_not_deployed_get_nothing() -> None:
    assert memory_shares({"web": 0}, STEPS, 1500) == {"web": 1472}


@given(st.integers(1024, 40000))
def test_the_sum_is_what_there_is_and_a_larger_host_gives_no_service_less(available: int) -> None:
    shares, more = (memory_shares(NOTHING, STEPS, mib) for mib in (available, available + 100))
    assert sum(shares.values()) <= available
    assert sum(shares.values()) > min(available, 3072) - 2 * 32
    assert all(shares[name] <= more[name] for name in shares)


@pytest.mark.parametrize("steps", [{"web": [1, 2]}, {"web": [1, 2], "database": [1]}])
def test_a_row_that_is_missing_or_short_is_an_error(steps: dict[str, list[int]]) -> None:
    with pytest.raises(AnsibleFilterError, match="database"):
        memory_shares(NOTHING, steps, 5000)
