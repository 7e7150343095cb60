# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.shared_machines import shared_machines


def shared(*hosts: dict[str, Any]) -> list[str]:
    return shared_machines({"inventory_hostname": name, **host} for name, host in zip("abc", hosts, strict=False))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ansible_host": "192.0.2.7"}, {"ansible_host": "192.0.2.7"}),
        ({"ansible_host": "B"}, {"ansible_connection": "ansible.builtin.ssh", "ansible_port": 22}),
        (
            {"ansible_host": "::1", "ansible_connection": "docker"},
            {"ansible_host": "::1", "ansible_connection": "x.y.docker"},
        ),
    ],
)
def test_two_names_of_one_machine(one: dict[str, Any], other: dict[str, Any]) -> None:
    (text,) = shared(one, other, {})
    assert text.startswith("a and b (")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({"ansible_host": "192.0.2.7"}, {"ansible_host": "192.0.2.8"}),
        ({"ansible_host": "192.0.2.7"}, {"ansible_host": "192.0.2.7", "ansible_port": 2222}),
        (
            {"ansible_host": "192.0.2.7", "ansible_ssh_common_args": "-J one"},
            {"ansible_host": "192.0.2.7", "ansible_ssh_common_args": "-J two"},
        ),
        ({"ansible_host": "192.0.2.7", "ansible_connection": "local"}, {"ansible_host": "192.0.2.7"}),
    ],
)
def test_two_machines(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert shared(one, other) == []
