# SPDX-License-Identifier: MIT
"""How many batches it takes to update all running workers, which a new token needs to know beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plays import render_cases

# What supervisor_serial is, how many workers call, and the batches that Ansible makes of them.
CASES: dict[str, tuple[Any, int, int]] = {
    "nobody": ("25%", 0, 0),
    "one": ("25%", 1, 1),
    "seven": ("25%", 7, 7),
    "eight": ("25%", 8, 4),
    "hundred": ("25%", 100, 4),
    "rest": ("30%", 10, 4),
    "number": (3, 10, 4),
    "text": ("1", 20, 20),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The batches of each case."""
    return render_cases(
        tmp_path_factory.mktemp("batches"),
        *("trigger", "worker_group"),
        host="one.example.com",
        wanted={"batches": "__worker_group_batches"},
        cases={
            name: {
                "__trigger_worker_variables": [{"supervisor_serial": serial}],
                "__worker_group_active_workers": [f"worker{number}" for number in range(callers)],
            }
            for name, (serial, callers, _) in CASES.items()
        },
    )


@pytest.mark.parametrize("name", CASES)
def test_batches_are_those_of_ansible(rendered: dict[str, dict[str, Any]], name: str) -> None:
    assert int(rendered[name]["batches"]) == CASES[name][2]


def test_where_nothing_is_set_a_quarter_goes_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    (found,) = render_cases(
        tmp_path_factory.mktemp("unset"),
        *("trigger", "worker_group"),
        host="one.example.com",
        wanted={"serial": "__worker_group_serial"},
        cases={"unset": {}},
    ).values()
    assert found["serial"] == "25%"
