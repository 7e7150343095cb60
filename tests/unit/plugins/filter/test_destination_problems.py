# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.destination_problems import destination_problems

from tests.unit.roles.programs import load

NAMES = ("db", "db.example.com", "db.example.com.", "db_1.internal:5432", "1-2.example:1")
NUMBERS = (
    "192.0.2.7", "192.0.2.7:65535", "192.0.2.0/24", "192.0.2.0/24:443", "2001:db8::7", "2001:db8::/32",
    "[2001:db8::7]:443", "[2001:db8::/32]:443",
)  # fmt: skip
# Other forms of some of these.
SAME = ("[2001:db8::7]",)
WRONG = (
    "", "db:", "db:0", "db:65536", "db:port", "db:080000", "a b", "-db", "db-", "db..example", "db/24", "999.1.1.1",
    "192.0.2", "192.0.2.0/33", "192.0.2.0/33:443", "[192.0.2.7]:443", "[db]:443", "2001:db8::7:443:1:2:3:4:5:6",
    "[2001:db8::7", "2001:db8::/129", "[2001:db8::/129]:1", "db\n", "http://db.example.com", "db;", "ä.example", 5432,
    None, "10.0.0.5/0", "0.0.0.0/0", "::/0", "[::/0]:443", "192.0.2.9/24", "192.0.2.9/24:443", "2001:db8::7/32",
)  # fmt: skip


def test_every_form_passes_and_the_firewall_reads_it() -> None:
    good = (*NAMES, *NUMBERS, *SAME)
    assert destination_problems(good) == []
    looked_up: list[str] = []

    def resolver(name: str) -> list[str]:
        looked_up.append(name)
        return []

    firewall = load("runner_firewall/files/runner_firewall.py")
    assert len(firewall.destinations(good, resolver, list)) == len(NUMBERS)
    assert looked_up == [name.partition(":")[0] for name in NAMES]


@pytest.mark.parametrize("entry", WRONG)
def test_others_are_told(entry: object) -> None:
    assert destination_problems(["db", entry]) == [str(entry)]
