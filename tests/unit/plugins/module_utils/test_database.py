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
    assert there.psql == f"psql '{URL}'"


def test_its_refusal_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ask(server: Server, password: str, query: str) -> list[Row]:
        raise ServiceError("PostgreSQL at db.example.com:5432: its name does not resolve")

    monkeypatch.setattr(_database, "ask", ask)
    with pytest.raises(DatabaseError, match="does not resolve"):
        Database("", "main", "postgres", URL).rows(forbidden, "SELECT 1")
    broken = tmp_path / "secrets.json"
    broken.write_text("{")
    with pytest.raises(DatabaseError, match="is not JSON"):
        Database("", "main", "postgres", URL, str(broken)).rows(forbidden, "SELECT 1")


def test_the_bundled_one_is_asked_in_its_container() -> None:
    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert argv[:6] == ["docker", "exec", "-i", "-u", "postgres", "pg"]
        assert "name=o'clock" in argv
        assert ":'name'" in stdin
        return Completed(0, "[]\n", "")

    here = Database("pg", "main", "postgres")
    assert here.rows(run, "SELECT :'name'", name="o'clock") == []
    assert here.psql == "docker exec -i -u postgres pg psql -U postgres -d main"
