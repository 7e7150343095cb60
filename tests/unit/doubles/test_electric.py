# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from doubles import rules
from doubles.electric import main as electric

TABLE = rules.load(electric.RULES)
URL = "postgresql://postgres:p%40ss@trigger-postgres:5432/main"


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        ({"ELECTRIC_INSECURE": "true"}, True),
        ({"ELECTRIC_SECRET": "s"}, True),
        ({"ELECTRIC_INSECURE": "false", "ELECTRIC_SECRET": "s"}, True),
        ({}, False),
        ({"ELECTRIC_INSECURE": "false"}, False),
        ({"ELECTRIC_INSECURE": "1"}, False),
        ({"ELECTRIC_INSECURE": "true", "ELECTRIC_SECRET": "s"}, False),
        ({"ELECTRIC_INSECURE": "true", "DATABASE_URL": ""}, False),
        ({"ELECTRIC_INSECURE": "true", "DATABASE_URL": "postgresql://postgres:a/b@host/main"}, False),
    ],
)
def test_start_rules(changes: dict[str, str], starts: bool) -> None:
    assert (electric.refusals(TABLE, {"DATABASE_URL": URL, **changes}) == []) is starts


def test_names_follow_the_stream_id() -> None:
    assert electric.names({}) == ("electric_slot_default", "electric_publication_default")
    assert electric.names({"ELECTRIC_REPLICATION_STREAM_ID": "b"}) == ("electric_slot_b", "electric_publication_b")
