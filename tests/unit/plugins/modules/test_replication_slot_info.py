# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database
from ansible_collections.selfhosted.trigger_dev.plugins.modules import replication_slot_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.replication_slot_info import (
    Parameters,
    check_slot,
    look,
)

LOST = "is lost: the server has removed what was not read yet. The playbook replication_repair replaces it"


def slot(active: bool = True, lag: int | None = 2048, wal: str = "reserved") -> dict[str, Any]:
    return {"name": "a", "active": active, "lag": lag, "wal": wal}


@pytest.mark.parametrize(
    ("found", "ok", "told"),
    [
        (slot(), True, "active, 2.0 KiB behind"),
        (slot(lag=4096), True, "active, 4.0 KiB behind"),
        (slot(lag=4097), False, "4.0 KiB behind, more than 4.0 KiB"),
        (
            slot(active=False),
            False,
            "no service reads it, 2.0 KiB behind. The playbook replication_repair restarts its reader",
        ),
        (slot(active=False, wal="lost", lag=None), False, LOST),
        (slot(wal="lost"), False, LOST),
        (None, False, "is not there. The playbook replication_repair creates it"),
    ],
)
def test_each_kind_of_slot(found: dict[str, Any] | None, ok: bool, told: str) -> None:
    assert check_slot(found, 4096) == (ok, told)


def test_only_the_named_ones_count() -> None:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert "pg_replication_slots" in stdin
        assert "database = current_database()" in stdin
        return Completed(0, json.dumps([slot(), {**slot(active=False), "name": "somebody_elses"}]), "")

    checks = list(look(Parameters(Database("pg", "main", "postgres"), ["a", "b"], 4096), fake))
    assert [(check.what, check.ok) for check in checks] == [("replication slot a", True), ("replication slot b", False)]


def test_a_dead_database_is_reported(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication_slot_info, "run", lambda *_, **__: Completed(1, "", "no such container"))
    result = invoke(replication_slot_info.main, check=True, database={"container": "pg"}, names=["a", "b"])
    assert result["checks"] == [
        {
            "what": "replication slots",
            "ok": False,
            "detail": "Cannot read them from the database main in the container pg: no such container",
        }
    ]
    assert "failed" not in result


def test_the_default_is_one_gibibyte(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for lag, ok in ((2**30, True), (2**30 + 1, False)):
        rows = json.dumps([slot(lag=lag)])
        monkeypatch.setattr(replication_slot_info, "run", lambda *_, rows=rows, **__: Completed(0, rows, ""))
        result = invoke(replication_slot_info.main, database={"container": "pg"}, names=["a"])
        assert result["checks"][0]["ok"] is ok
