# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import duration
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._runs import ENDED, WAITING
from ansible_collections.selfhosted.trigger_dev.plugins.modules import task_run_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.task_run_info import Parameters, look


def row(status: str, number: int, age: float = 1.0) -> dict[str, Any]:
    return {"status": status, "number": number, "age": age}


def answer(stdin: str, rows: Sequence[dict[str, Any]], overdue: int = 0) -> Completed:
    """Answer one query as the database does."""
    if "delayUntil" in stdin:
        return Completed(0, json.dumps([{"number": overdue}]), "")
    wanted = ENDED if "completedAt" in stdin else WAITING
    return Completed(0, json.dumps([each for each in rows if each["status"] in wanted]), "")


def found(*rows: dict[str, Any], overdue: int = 0) -> dict[str, Check]:
    """Give the checks of a database, by what they look at."""

    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert stdin.startswith("SET statement_timeout = 20000; SELECT")
        assert timeout > 20
        assert "delayUntil" not in stdin or "'300'::float" in stdin
        return answer(stdin, rows, overdue)

    asked = Database("pg", "main", "postgres", timeout=25, statement_seconds=20)
    checks = look(Parameters(asked, 900, 300), fake)
    assert [check.what for check in checks] == ["runs", "waiting runs", "stuck runs"]
    return {check.what: check for check in checks}


def test_nothing_runs() -> None:
    assert list(found().values()) == [
        Check("runs", True, "0 executing, 0 ended within an hour"),
        Check("waiting runs", True, "none"),
        Check("stuck runs", True, "none"),
    ]


@pytest.mark.parametrize(
    ("crashed", "well", "warns"), [(5, 19, True), (5, 20, False), (4, 0, False), (6, 10, True), (0, 4, False)]
)
def test_many_crashes_warn(crashed: int, well: int, warns: bool) -> None:
    rows = [row("SYSTEM_FAILURE", crashed), row("COMPLETED_SUCCESSFULLY", well), row("EXECUTING", 2)]
    check = found(*rows)["runs"]
    assert (check.ok, check.warning) == (True, warns)
    said = f", {crashed} of these failed, {crashed} crashed" if crashed else ""
    assert check.detail == f"2 executing, {crashed + well} ended within an hour{said}"
    # Errors of the tasks' own code are nobody else's.
    assert not found(row("COMPLETED_WITH_ERRORS", 50))["runs"].warning


@pytest.mark.parametrize(
    ("age", "detail", "warns"),
    [
        (-0.4, "4, the oldest for 0 s", False),
        (900, "4, the oldest for 15 min", False),
        (901, "4, the oldest for 15 min", True),
    ],
)
def test_a_long_wait_warns(age: float, detail: str, warns: bool) -> None:
    assert found(row("PENDING", 4, age))["waiting runs"] == Check("waiting runs", True, detail, warns)


def test_runs_without_their_version_are_told() -> None:
    check = found(row("PENDING_VERSION", 2, 5000))["waiting runs"]
    assert check == Check("waiting runs", True, "none; 2 for a version that is not deployed")


def test_what_a_worker_cannot_start_is_wrong() -> None:
    assert found(row("DEQUEUED", 3, 300))["stuck runs"].ok
    check = found(row("DEQUEUED", 3, 7500))["stuck runs"]
    assert check == Check("stuck runs", False, "a worker has taken 3, and the oldest has not started for 2 h")


def test_delayed_runs_that_were_forgotten_warn() -> None:
    assert found(row("DELAYED", 3, 10**6))["stuck runs"].ok
    check = found(row("DELAYED", 3), overdue=1)["stuck runs"]
    assert check == Check("stuck runs", True, "1 delayed ones are overdue, their jobs may be lost", warning=True)
    check = found(row("DEQUEUED", 1, 301), overdue=1)["stuck runs"]
    assert (check.ok, check.warning, "overdue" in check.detail) == (False, False, True)


def test_a_dead_database_is_reported(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_run_info, "run", lambda *_, **__: Completed(1, "", "no such container"))
    result = invoke(task_run_info.main, check=True, database={"container": "pg"})
    detail = "Cannot count them in the database main in the container pg: no such container"
    assert result["checks"] == [{"what": "runs", "ok": False, "detail": detail}]
    assert "failed" not in result


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172800, "2 days")],
)
def test_times_are_told_in_the_unit_that_people_read(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_limits_have_defaults(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert "statement_timeout = 20000" in stdin
        return answer(stdin, [row("DEQUEUED", 1, 301), row("PENDING", 1, 901)])

    monkeypatch.setattr(task_run_info, "run", fake)
    checks = {check["what"]: check for check in invoke(task_run_info.main, database={"container": "pg"})["checks"]}
    assert checks["waiting runs"]["warning"]
    assert not checks["stuck runs"]["ok"]


@pytest.mark.parametrize(
    ("said", "slow"),
    [("ERROR:  canceling statement due to statement timeout", True), ("Error: No such container: pg", False)],
)
def test_a_table_that_takes_long_is_no_fault(
    invoke: Any, monkeypatch: pytest.MonkeyPatch, said: str, slow: bool
) -> None:
    monkeypatch.setattr(task_run_info, "run", lambda argv, stdin="", timeout=60: Completed(1, "", said))
    (check,) = invoke(task_run_info.main, database={"container": "pg"})["checks"]
    assert (check["what"], check["ok"], check.get("warning", False)) == ("runs", slow, slow)
    assert said.splitlines()[-1] in check["detail"]


def test_what_waits_is_told_where_counting_what_has_ended_takes_too_long(
    invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if "completedAt" in stdin:
            return Completed(1, "", "ERROR:  canceling statement due to statement timeout")
        return answer(stdin, [row("DEQUEUED", 1, 301), row("PENDING", 1, 901)])

    monkeypatch.setattr(task_run_info, "run", fake)
    runs, waiting, stuck = invoke(task_run_info.main, database={"container": "pg"})["checks"]
    assert (runs["ok"], runs["warning"], "statement timeout" in runs["detail"]) == (True, True, True)
    assert (waiting["warning"], stuck["ok"]) == (True, False)
