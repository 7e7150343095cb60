# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.inventory_instances import inventory_instances


@pytest.mark.parametrize(
    ("worker", "expected"),
    [
        ({}, [("a", "a", "")]),
        ({"supervisor_instance_name": "b", "supervisor_group": "eu"}, [("a", "b", "eu")]),
        ({"supervisor_instances": []}, []),
        (
            {"supervisor_group": "eu", "supervisor_instances": [{"name": "one"}, {"name": "two", "group": "us"}]},
            [("a", "one", "eu"), ("a", "two", "us")],
        ),
        # The role of that host names them in its error.
        ({"supervisor_instances": [{"group": "us"}, "gpu", {"name": 7}]}, [("a", "7", "")]),
    ],
)
def test_what_a_host_runs(worker: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    found = inventory_instances([{"inventory_hostname": "a", **worker}])
    assert [(one["host"], one["name"], one["group"]) for one in found] == expected


def test_all_hosts_in_their_order() -> None:
    found = inventory_instances([{"inventory_hostname": name} for name in ("b", "a")])
    assert [one["name"] for one in found] == ["b", "a"]
