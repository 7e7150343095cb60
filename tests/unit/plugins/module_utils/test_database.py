# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _database
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database, DatabaseError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._postgres import Row, Server

URL = "postgresql://trigger@db.example.com/trigger?sslmode=require"


def forbidden(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
    raise AssertionError("no program is needed for a database at an address")


@pytest.fixture
def secrets_file(tmp_path: Path) -> str:
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"postgres_password": "stored"}))
    return str(file)


def test_a_database_of_somebody_else_is_asked_over_the_network(
    monkeypatch: pytest.MonkeyPatch, secrets_file: str
) -> None:
    def ask(server: Server, password: str, query: str) -> list[Row]:
        assert (server.endpoint.host, server.tls, server.endpoint.ca) == ("db.example.com", True, "PEM")
        assert password == "stored"
        assert "WHERE name = 'o''clock'" in query
        return [{"rows": '[{"a": 1}]'}]

    monkeypatch.setattr(_database, "ask", ask)
    there = Database("", "main", "postgres", URL, secrets_file, "PEM")
    assert there.rows(forbidden, "SELECT a FROM b WHERE name = :'group_name'", group_name="o'clock") == [{"a": 1}]


def test_its_refusal_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ask(server: Server, password: str, query: str) -> list[Row]:
        raise ServiceError("PostgreSQL at db.example.com:5432: its name does not resolve")

    monkeypatch.setattr(_database, "ask", ask)
    with pytest.raises(DatabaseError, match="does not resolve"):
        Database("", "main", "postgres", URL).rows(forbidden, "SELECT 1")
    broken = tmp_path / "secrets.json"
    broken.write_text("{")
    with pytest.raises(DatabaseError, match="ends in the middle"):
        Database("", "main", "postgres", URL, str(broken)).rows(forbidden, "SELECT 1")


def test_the_bundled_one_is_asked_in_its_container() -> None:
    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert argv[:6] == ["docker", "exec", "-i", "-u", "postgres", "pg"]
        assert "clock" not in " ".join(argv)
        assert "'o''clock'" in stdin
        return Completed(0, "[]\n", "")

    here = Database("pg", "main", "postgres")
    assert here.rows(run, "SELECT :'name'", name="o'clock") == []


STATEMENTS = ("INSERT INTO a VALUES (:'id') RETURNING id", "DELETE FROM b WHERE id = :'id' RETURNING id")
ONE_STATEMENT = (
    "WITH step0 AS (INSERT INTO a VALUES ('o''clock') RETURNING id), "
    "step1 AS (DELETE FROM b WHERE id = 'o''clock' RETURNING id) "
    "SELECT coalesce(json_agg(step1), '[]') AS rows FROM step1"
)


def test_changes_are_one_statement_in_the_container() -> None:
    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert "ON_ERROR_STOP=1" in argv
        assert stdin == f"{ONE_STATEMENT};\n"
        return Completed(0, '[{"id": 1}]\n', "")

    assert Database("pg", "main", "postgres").changed(run, *STATEMENTS, id="o'clock") == [{"id": 1}]


def test_changes_are_one_statement_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(server: Server, password: str, query: str) -> list[Row]:
        assert query == ONE_STATEMENT
        return [{"rows": '[{"id": 1}]'}]

    monkeypatch.setattr(_database, "ask", ask)
    assert Database("", "main", "postgres", URL).changed(forbidden, *STATEMENTS, id="o'clock") == [{"id": 1}]


def test_a_refused_change_is_told() -> None:
    with pytest.raises(DatabaseError, match="duplicate key"):
        Database("pg", "main", "postgres").changed(
            lambda *_arguments, **_named: Completed(3, "", "ERROR: duplicate key"), "DELETE FROM b RETURNING id"
        )
