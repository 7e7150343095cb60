# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from clickhouse import clickhouse_http as front

USER = front.User("trigger", "p:ss")
BASIC = {"Authorization": "Basic " + base64.b64encode(b"trigger:p:ss").decode()}


@pytest.mark.parametrize(
    ("environment", "user"),
    [
        ({"CLICKHOUSE_USER": "u", "CLICKHOUSE_PASSWORD": "p"}, front.User("u", "p")),
        ({"CLICKHOUSE_PASSWORD": "p"}, front.User("default", "p")),
        ({"CLICKHOUSE_SKIP_USER_SETUP": "1"}, front.User("default", "")),
        ({}, None),
    ],
)
def test_the_user_of_the_entry_point(environment: dict[str, str], user: front.User | None) -> None:
    assert front.user_from_environment(environment) == user


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (BASIC, {}),
        ({"X-ClickHouse-User": "trigger", "X-ClickHouse-Key": "p:ss"}, {}),
        ({}, {"user": "trigger", "password": "p:ss"}),
    ],
)
def test_three_ways_to_log_in(headers: dict[str, str], query: dict[str, str]) -> None:
    front.authenticate(USER, front.credentials_of(headers, query))


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, {}),
        ({"X-ClickHouse-User": "trigger", "X-ClickHouse-Key": "wrong"}, {}),
        ({"X-ClickHouse-User": "other", "X-ClickHouse-Key": "p:ss"}, {}),
        ({"Authorization": "Bearer x"}, {}),
        ({"Authorization": "Basic ???"}, {}),
        ({**BASIC, "X-ClickHouse-User": "trigger"}, {}),
        (BASIC, {"user": "trigger"}),
    ],
)
def test_refused_logins_have_code_516(headers: dict[str, str], query: dict[str, str]) -> None:
    with pytest.raises(front.Refused) as caught:
        front.authenticate(USER, front.credentials_of(headers, query))
    assert front.code_of(str(caught.value)) == 516
    assert front.STATUS_OF_CODE[516] == 403


def test_without_a_user_nobody_gets_in() -> None:
    with pytest.raises(front.Refused, match="AUTHENTICATION_FAILED"):
        front.authenticate(None, front.Credentials("default", ""))


def test_get_only_reads() -> None:
    assert front.statement_of("GET", "SELECT 1", b"") == b"SELECT 1"
    assert front.statement_of("GET", "-- why\n show tables", b"") == b"-- why\n show tables"
    assert front.statement_of("POST", "INSERT INTO t FORMAT CSV", b"1") == b"INSERT INTO t FORMAT CSV\n1"
    assert front.statement_of("POST", "", b"SELECT 1") == b"SELECT 1"
    with pytest.raises(front.Refused, match="READONLY"):
        front.statement_of("GET", "CREATE TABLE t (a Int8) ENGINE = Memory", b"")


def test_other_parameters_are_settings() -> None:
    assert front.settings_of({"query": "SELECT 1", "user": "u", "max_threads": "1"}) == {"max_threads": "1"}
    given = {"param_organizationId": "o", "param_ids": "['a']"}
    assert front.settings_of(given) == given, "parameters of the query have names of any kind"
    for wrong in ("x = 1; DROP", "param_x = 1; DROP", "param_", "param_1", "Max_threads", "maxThreads"):
        with pytest.raises(front.Refused, match="UNKNOWN_SETTING"):
            front.settings_of({wrong: "1"})


def test_quoting() -> None:
    assert front.quoted("a'b\\") == "'a\\'b\\\\'"
    assert front.identifier("a`b") == "`a\\`b`"


def test_parameters_of_a_query_end_with_it() -> None:
    """As settings of the session they would be there for the next query too."""
    asked: list[tuple[str, object]] = []

    class Engine:
        def query(self, sql: str, fmt: str, *, params: object = None) -> object:
            asked.append((sql, params))
            return SimpleNamespace(bytes=lambda: b"26.9")

    server = front.Server(cast(Any, Engine()), None, logging.getLogger("test"))
    server.execute(b"SELECT {runId:String}", "default", "TSV", {"param_runId": "r", "max_threads": "1"})
    assert ("SELECT {runId:String}", {"runId": "r"}) in asked
    assert [sql for sql, _ in asked if "SET" in sql] == ["SET max_threads = '1'", "SET max_threads = DEFAULT"]
