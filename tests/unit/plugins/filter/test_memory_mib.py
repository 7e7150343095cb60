# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.memory_mib import memory_mib


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("6G", 6144),
        ("512m", 512),
        ("1.5GiB", 1536),
        ("1gb", 1024),
        ("1048576", 1),
        (2097152, 2),
        ("2048k", 2),
        ("1t", 1048576),
    ],
)
def test_amounts(amount: str | int, expected: int) -> None:
    assert memory_mib(amount) == expected


@pytest.mark.parametrize("amount", ["", "6X", "G", "-1G", "6 G B", True])
def test_nonsense(amount: str | int) -> None:
    with pytest.raises(AnsibleFilterError, match="not an amount"):
        memory_mib(amount)
