# SPDX-License-Identifier: MIT
"""Pure parts of the webapp double."""

from __future__ import annotations

import asyncio
import os
import struct
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from doubles import postgres, socketio
from doubles.webapp import (
    api,
    clickhouse,
    login,
    migrate,
    objectstore,
    pgoutput,
    replication,
    runs,
    state,
    stop,
    worker_auth,
)


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"Host": "localhost:8030"}, "http://localhost:8030"),
        ({"Host": "127.0.0.1:8030"}, "http://127.0.0.1:8030"),
        ({"Host": "control.lab:8030"}, "https://control.lab:8030"),
        ({"Host": "control.lab", "X-Forwarded-Proto": "http"}, "http://control.lab"),
        ({"Host": "webapp:3000", "X-Forwarded-Host": "trigger.example.com"}, "https://trigger.example.com"),
        ({"Host": "x", "X-Forwarded-Host": "localhost", "X-Forwarded-Proto": "https"}, "http://localhost"),
    ],
)
def test_origin_of_the_magic_link(headers: dict[str, str], origin: str) -> None:
    assert login.link_origin(headers) == origin


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], ""),
        (["192.0.2.1"], "192.0.2.1"),
        (["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        (["203.0.113.9", "198.51.100.7,192.0.2.1"], "192.0.2.1"),
    ],
)
def test_the_client_is_what_the_nearest_proxy_has_seen(forwarded: list[str], client: str) -> None:
    assert login.client(forwarded) == client


class Clock:
    """As much of Redis as the limiter of logins uses."""

    def __init__(self) -> None:
        self.sets: dict[str, int] = {}

    async def zremrangebyscore(self, *_: Any) -> None: ...

    async def expire(self, *_: Any) -> None: ...

    async def zcard(self, key: str) -> int:
        return self.sets.get(key, 0)

    async def zadd(self, key: str, _members: dict[str, float]) -> None:
        self.sets[key] = self.sets.get(key, 0) + 1


def test_one_client_gets_ten_links_whatever_the_mail(capsys: pytest.CaptureFixture[str]) -> None:
    limited = login.Login(cast("state.State", SimpleNamespace(environment={}, redis=Clock())))

    async def ask(client: str, number: int) -> bool:
        return await limited._within_rate(f"{number}@example.com", client)

    assert [asyncio.run(ask("192.0.2.1", number)) for number in range(11)] == [True] * 10 + [False]
    assert '"clientIp":"192.0.2.1"' in capsys.readouterr().out
    assert asyncio.run(ask("192.0.2.2", 20))
    assert all(asyncio.run(ask("", number)) for number in range(30, 45))


def test_mail_text_has_the_marker_and_one_link_on_its_own_line() -> None:
    lines = login.mail_text("a@example.com", "https://h/magic?token=x").splitlines()
    assert "##### sendEmail to a@example.com, subject: Magic sign-in link for Trigger.dev" in lines
    assert lines.count("https://h/magic?token=x") == 1


def test_mail_patterns_are_unanchored_and_empty_means_none() -> None:
    assert login.allowed("", "a@b.c")
    assert login.allowed("b", "a@b.c")
    assert not login.allowed("^b", "a@b.c")
    assert not login.matches("", "a@b.c")


def test_only_unset_variables_fall_back() -> None:
    assert state.settings({}).port == 3000
    assert state.settings({"PORT": "3030"}).port == 3030
    assert state.settings({"PORT": "3030", "REMIX_APP_PORT": "4000"}).port == 4000
    assert state.settings({"APP_ORIGIN": "http://a"}).api_origin == "http://a"
    assert state.settings({"APP_ORIGIN": "http://a", "API_ORIGIN": ""}).api_origin == ""
    assert state.settings({"API_ORIGIN": "http://b"}).stream_origin == "http://b"
    assert state.settings({}).managed_worker_secret == "managed-secret"
    assert state.settings({"DEPLOY_REGISTRY_HOST": "a", "V4_DEPLOY_REGISTRY_HOST": "b"}).registry_host == "b"


def test_redis_options() -> None:
    environment = {"REDIS_HOST": "r", "REDIS_PORT": "6379", "REDIS_PASSWORD": "p"}
    assert state.redis_options(environment, set())["ssl"] is False
    assert state.redis_options(environment, {"redis_tls"})["ssl"] is True


def test_positive_token_answers_are_remembered_for_ten_minutes() -> None:
    cache = worker_auth.TokenCache()
    cache.put("t", "worker1", {"id": "g"}, 100.0)
    assert cache.get("t", "worker1", 699.0) == {"id": "g"}
    assert cache.get("t", "worker1", 701.0) is None
    assert cache.get("t", "worker2", 101.0) is None
    assert cache.get("u", "worker1", 101.0) is None


def test_token_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "worker_token"
    worker_auth.write_token(path, "tr_wgt_x")
    assert path.read_text() == "tr_wgt_x"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    worker_auth.write_token(path, "tr_wgt_longer_than_that"[:8])
    assert path.read_text() == "tr_wgt_l"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_uid == os.getuid()


def test_pauses_grow_and_end() -> None:
    found = [runs.pause(tries) for tries in range(1, 12)]
    assert found[0] == 0
    assert found == sorted(found)
    assert found[-1] == runs.PAUSES[-1]


def test_image_tag() -> None:
    tag = api.image_tag("control.lab:5000", "trigger", "proj_x", "20260102.1", "production", "abcd1234")
    assert tag == "control.lab:5000/trigger/proj_x:20260102.1.production.abcd1234"


def test_run_view_translates_the_status() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5)
    run: dict[str, Any] = {
        "friendlyId": "run_x",
        "status": "COMPLETED_SUCCESSFULLY",
        "taskIdentifier": "hello",
        "attemptNumber": 1,
        "createdAt": moment,
        "updatedAt": moment,
        "startedAt": moment,
        "completedAt": moment.replace(second=7),
        "payload": "{}",
        "payloadType": "application/json",
        "output": '{"api": 200}',
        "outputType": "application/json",
        "error": None,
    }
    found = api.run_view(run)
    assert (found["status"], found["durationMs"], found["output"]) == ("COMPLETED", 2000, {"api": 200})
    assert found["finishedAt"] == "2026-01-02T03:04:07.000Z"
    assert api.run_view({**run, "status": "DEQUEUED", "completedAt": None, "output": None})["status"] == "DEQUEUED"


def test_database_address_is_decoded_and_keeps_what_libpq_knows() -> None:
    url = "postgresql://postgres:p%40ss%2Fw%23%3Frd@db:5433/main?schema=public&sslmode=disable&connection_limit=3"
    found = postgres.connection_arguments(url)
    assert (found["password"], found["port"], found["dbname"]) == ("p@ss/w#?rd", "5433", "main")
    assert found["sslmode"] == "disable"
    assert not {"schema", "connection_limit"} & set(found)
    lenient = postgres.connection_arguments("postgresql://u@db/main?sslmode=verify-full&sslrootcert=/ca.pem")
    assert lenient["sslmode"] == "prefer", "Prisma knows no such word"
    strict = postgres.connection_arguments("postgresql://u@db/main?sslmode=require&sslaccept=strict&sslcert=/ca.pem")
    assert (strict["sslmode"], strict["sslrootcert"]) == ("verify-full", "/ca.pem")
    node = postgres.connection_arguments("postgresql://u@db/main?sslmode=require&sslrootcert=/ca.pem", postgres.as_node)
    assert (node["sslmode"], node["sslrootcert"]) == ("verify-full", "/ca.pem")
    with pytest.raises(ValueError, match="not a PostgreSQL address"):
        postgres.connection_arguments("mysql://a")


def test_clickhouse_address_is_decoded_and_loses_secure() -> None:
    found = clickhouse.address("http://user:ch%40pw@h:8124?secure=false&wait_end_of_query=1")
    assert found == clickhouse.Address("http://h:8124/", "user", "ch@pw", (("wait_end_of_query", "1"),))
    assert clickhouse.address("http://h").user == "default"


def test_clickhouse_migrations_are_single_statements() -> None:
    found = migrate.statements((migrate.HERE / "clickhouse.sql").read_text())
    assert len(found) == 4
    assert all(";" not in statement for statement in found)


def test_object_store_uses_host_and_scheme_of_the_base_address_only() -> None:
    environment = {
        "OBJECT_STORE_BASE_URL": "http://control.lab:9000/ignored",
        "OBJECT_STORE_ACCESS_KEY_ID": "a",
        "OBJECT_STORE_SECRET_ACCESS_KEY": "s",
    }
    store = objectstore.object_store(environment)
    assert store is not None
    url = store.presigned("PUT", "proj_x/prod/a b.json")
    assert url.startswith("http://control.lab:9000/packets/proj_x/prod/a%20b.json?")
    assert "X-Amz-Expires=300" in url
    assert objectstore.object_store({**environment, "OBJECT_STORE_BASE_URL": ""}) is None


@pytest.mark.parametrize(
    ("packet", "allowed", "start"),
    [
        ("40/worker,", True, '40/worker,{"sid":'),
        ("40/worker", True, '40/worker,{"sid":'),
        ("40/worker,{}", False, "44/worker,"),
    ],
)
def test_namespace_connection(packet: str, allowed: bool, start: str) -> None:
    reply = socketio.connect_reply(packet, "/worker", allowed)
    assert reply is not None
    assert reply.startswith(start)


def test_other_packets_have_no_reply() -> None:
    assert socketio.connect_reply("3", "/worker", True) is None
    assert socketio.connect_reply("40/other,", "/worker", True) is None
    assert socketio.open_packet("x").startswith('0{"sid":"x","upgrades":[],"pingInterval":25000')


RELATION = b"R" + struct.pack(">I", 7) + b"public\0TaskRun\0f" + struct.pack(">H", 3)
RELATION += b"".join(b"\1" + name + b"\0" + struct.pack(">Ii", 25, -1) for name in (b"id", b"status", b"output"))


def tuple_data(*values: str | bool | None) -> bytes:
    """A text, NULL (None), or an unchanged long value (False)."""
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, str):
            parts.append(b"t" + struct.pack(">I", len(value.encode())) + value.encode())
        else:
            parts.append(b"u")
    return b"".join(parts)


def test_replication_messages() -> None:
    decoder = pgoutput.Decoder()
    assert decoder.decode(b"B" + bytes(20)) is None
    assert decoder.decode(RELATION) is None
    head = struct.pack(">I", 7)
    inserted = decoder.decode(b"I" + head + b"N" + tuple_data("1", "PENDING", None))
    assert inserted == pgoutput.Change("insert", "TaskRun", {"id": "1", "status": "PENDING", "output": None})
    updated = decoder.decode(
        b"U" + head + b"O" + tuple_data("1", "PENDING", "länger") + b"N" + tuple_data("1", "EXECUTING", False)
    )
    assert updated == pgoutput.Change("update", "TaskRun", {"id": "1", "status": "EXECUTING", "output": "länger"})
    deleted = decoder.decode(b"D" + head + b"O" + tuple_data("1", "EXECUTING", None))
    assert isinstance(deleted, pgoutput.Change)
    assert deleted.kind == "delete"
    assert decoder.decode(b"C" + struct.pack(">BQQQ", 0, 42, 43, 0)) == pgoutput.Commit(42)
    with pytest.raises(ValueError, match="ends early"):
        decoder.decode(b"I" + head + b"N" + struct.pack(">H", 1) + b"t" + struct.pack(">I", 9) + b"x")


def test_row_for_clickhouse() -> None:
    row: dict[str, str | None] = {"id": "c1", "friendlyId": "run_c1", "status": "PENDING", "output": '{"a": 1}'}
    found = replication.clickhouse_row(pgoutput.Change("update", "TaskRun", row), 99)
    assert (found["run_id"], found["friendly_id"], found["_version"], found["_is_deleted"]) == ("c1", "run_c1", 99, 0)
    assert found["output"] == {"data": {"a": 1}}
    assert found["error"] == {}
    assert found["attempt"] == 1
    gone = replication.clickhouse_row(pgoutput.Change("delete", "TaskRun", {"id": "c1"}), 100)
    assert gone["_is_deleted"] == 1


@pytest.mark.parametrize(
    ("line", "environment", "seconds"),
    [
        ("4.2", {}, 60),
        ("4.2", {"GRACEFUL_SHUTDOWN_TIMEOUT": "5000"}, 5),
        ("4.2", {"GRACEFUL_SHUTDOWN_TIMEOUT": ""}, None),
        ("4.2", {"GRACEFUL_SHUTDOWN_TIMEOUT": "5000", "ENABLE_CLUSTER": "1"}, 5),
        ("4.5", {"GRACEFUL_SHUTDOWN_TIMEOUT": "5000"}, None),
        ("4.5", {"GRACEFUL_SHUTDOWN_TIMEOUT": "5000", "ENABLE_CLUSTER": "true"}, None),
        ("4.5", {"GRACEFUL_SHUTDOWN_TIMEOUT": "5000", "ENABLE_CLUSTER": "1"}, 5),
        ("4.5", {"ENABLE_CLUSTER": "1"}, 30),
    ],
)
def test_how_long_a_stop_takes(line: str, environment: dict[str, str], seconds: float | None) -> None:
    assert stop.seconds(environment, line) == seconds


@pytest.mark.parametrize(
    ("version", "opened", "confirmed"),
    [("4.2.0", "granted", "Method Not Allowed"), ("4.5.12", "Authorize login", "granted")],
)
def test_from_4_5_a_code_is_granted_by_the_button(
    monkeypatch: pytest.MonkeyPatch, version: str, opened: str, confirmed: str
) -> None:
    """Before, opening the page was enough."""
    monkeypatch.setenv("DOUBLE_VERSION", version)
    place = object.__new__(login.Login)

    async def user(_request: object) -> dict[str, str]:
        return {"id": "me"}

    async def grant(_request: object) -> web.Response:
        return web.Response(text="granted")

    monkeypatch.setattr(place, "user_of", user, raising=False)
    monkeypatch.setattr(place, "grant_code", grant, raising=False)

    def said(handler: Any) -> str:
        try:
            return str(asyncio.run(handler(None)).text)
        except web.HTTPMethodNotAllowed as refusal:
            return refusal.reason

    assert opened in said(place.open_code)
    assert confirmed in said(place.confirm_code)
