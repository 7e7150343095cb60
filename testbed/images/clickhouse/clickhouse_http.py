# SPDX-License-Identifier: MIT
"""ClickHouse's HTTP interface (port 8123) over chDB, which is the real engine as a library.

The users are those that the official image's entry point makes from CLICKHOUSE_USER and CLICKHOUSE_PASSWORD.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

DATA = Path("/var/lib/clickhouse")
LOGS = Path("/var/log/clickhouse-server")
# With what is merged into it, and the profiles of users: the engine reads them as the server does.
CONFIGURATION = Path("/etc/clickhouse-server/config.xml")

# Parameters of the interface itself; every other parameter of a request is a setting of the query.
RESERVED = {"query", "database", "default_format", "user", "password", "query_id", "session_id", "wait_end_of_query"}

# The server answers these codes with a status of their own; whatever else the engine refuses is 500.
STATUS_OF_CODE = {
    **dict.fromkeys((6, 27, 41, 43, 46, 47, 53, 62, 69, 70, 72, 115, 117, 386), 400),
    **dict.fromkeys((60, 81), 404),
    **dict.fromkeys((164, 497, 516), 403),
}

READS = re.compile(r"\s*(?:--[^\n]*\n\s*)*(select|with|show|describe|desc|exists|explain)\b", re.IGNORECASE)
SETTING = re.compile(r"(?!param_)[a-z][a-z0-9_]*\Z")
# Value of a substitution in the query, such as {organizationId:String}.
PARAMETER = re.compile(r"param_([A-Za-z_]\w*)\Z", re.ASCII)


class Refused(Exception):
    """A request that the engine never sees."""

    def __init__(self, code: int, message: str, name: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")


@dataclass(frozen=True)
class User:
    name: str
    password: str


@dataclass(frozen=True)
class Credentials:
    name: str
    password: str


def user_from_environment(environment: Mapping[str, str]) -> User | None:
    """The one user with network access; None when the image would leave `default` without it."""
    name = environment.get("CLICKHOUSE_USER", "")
    password = environment.get("CLICKHOUSE_PASSWORD", "")
    if not name and not password and environment.get("CLICKHOUSE_SKIP_USER_SETUP") != "1":
        return None
    return User(name or "default", password)


def credentials_of(headers: Mapping[str, str], query: Mapping[str, str]) -> Credentials:
    """Where the server looks for a name and a password: one place only, the rest is an error."""
    authorization = headers.get("Authorization", "")
    by_header = "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers
    by_query = "user" in query or "password" in query
    if sum((bool(authorization), by_header, by_query)) > 1:
        raise Refused(
            516,
            "Invalid authentication: it is not allowed to use several ways of authentication simultaneously",
            "AUTHENTICATION_FAILED",
        )
    if authorization:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            raise Refused(
                516,
                f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported",
                "AUTHENTICATION_FAILED",
            )
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(516, "Invalid authentication: malformed Basic credentials", "AUTHENTICATION_FAILED") from None
        return Credentials(name or "default", password)
    if by_header:
        return Credentials(headers.get("X-ClickHouse-User") or "default", headers.get("X-ClickHouse-Key", ""))
    return Credentials(query.get("user") or "default", query.get("password", ""))


def authenticate(user: User | None, given: Credentials) -> None:
    if user is None or given.name != user.name or not compare_digest(given.password.encode(), user.password.encode()):
        raise Refused(
            516,
            f"{given.name}: Authentication failed: password is incorrect, or there is no user with such name.",
            "AUTHENTICATION_FAILED",
        )


def statement_of(method: str, query: str, body: bytes) -> bytes:
    """The query parameter, a newline and the body, as the server joins them; GET may only read."""
    statement = b"\n".join(part for part in (query.encode(), body) if part)
    if method != "POST" and not READS.match(query):
        raise Refused(164, "Cannot execute query in readonly mode", "READONLY")
    return statement


def code_of(message: str) -> int:
    found = re.search(r"Code: (\d+)\.", message)
    return int(found.group(1)) if found else 1002


def settings_of(query: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in query.items() if name not in RESERVED}
    for name in found:
        if not SETTING.match(name) and not PARAMETER.match(name):
            raise Refused(
                115, f"Setting {name} is neither a builtin setting nor started with the prefix", "UNKNOWN_SETTING"
            )
    return found


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Result(Protocol):
    def bytes(self) -> bytes: ...


class Engine(Protocol):
    def query(self, sql: str | bytes, fmt: str, *, params: Mapping[str, str] | None = None) -> Result: ...


class Server:
    def __init__(self, engine: Engine, user: User | None, log: logging.Logger) -> None:
        self.engine = engine
        self.user = user
        self.log = log
        # One engine, one session: database and settings of a request must not leak into the next.
        self.lock = asyncio.Lock()
        self.version = engine.query("SELECT version()", "TSVRaw").bytes().decode().strip()

    def execute(self, statement: bytes, database: str, fmt: str, settings: Mapping[str, str]) -> bytes:
        run = self.engine.query
        run(f"USE {identifier(database)}", "Null")
        params = {found[1]: value for name, value in settings.items() if (found := PARAMETER.match(name))}
        names = [name for name in settings if not PARAMETER.match(name)]
        for name in names:
            run(f"SET {name} = {quoted(settings[name])}", "Null")
        try:
            return run(statement.decode(), fmt, params=params).bytes()
        finally:
            for name in names:
                run(f"SET {name} = DEFAULT", "Null")

    async def ping(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n", content_type="text/html")

    async def query(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            authenticate(self.user, credentials_of(request.headers, request.query))
            text = request.query.get("query", "")
            if not text and not body:
                return web.Response(text="Ok.\n", content_type="text/html")
            statement = statement_of(request.method, text, body)
            fmt = request.headers.get("X-ClickHouse-Format") or request.query.get("default_format") or "TabSeparated"
            database = request.headers.get("X-ClickHouse-Database") or request.query.get("database") or "default"
            settings = settings_of(request.query)
            async with self.lock:
                answer = await asyncio.to_thread(self.execute, statement, database, fmt, settings)
        except (Refused, RuntimeError) as failure:
            message = f"{failure} (version {self.version})\n"
            code = code_of(message)
            self.log.error("%s", message.strip())
            return web.Response(
                status=STATUS_OF_CODE.get(code, 500),
                text=message,
                headers={"X-ClickHouse-Exception-Code": str(code)},
            )
        return web.Response(body=answer, headers={"X-ClickHouse-Format": fmt, "Content-Type": "text/plain"})


def make_log() -> logging.Logger:
    log = logging.getLogger("clickhouse")
    log.setLevel(logging.INFO)
    form = logging.Formatter("%(asctime)s <%(levelname)s> %(message)s")
    handlers: list[tuple[logging.Handler, int]] = [
        (logging.StreamHandler(sys.stderr), logging.INFO),
        (logging.FileHandler(LOGS / "clickhouse-server.log"), logging.INFO),
        (logging.FileHandler(LOGS / "clickhouse-server.err.log"), logging.ERROR),
    ]
    for handler, level in handlers:
        handler.setLevel(level)
        handler.setFormatter(form)
        log.addHandler(handler)
    return log


async def serve(engine: Any, log: logging.Logger) -> None:
    user = user_from_environment(os.environ)
    if user is None:
        log.warning("neither CLICKHOUSE_USER nor CLICKHOUSE_PASSWORD is set, user 'default' has no network access")
    database = os.environ.get("CLICKHOUSE_DB", "")
    if database:
        engine.query(f"CREATE DATABASE IF NOT EXISTS {identifier(database)}", "Null")
    server = Server(engine, user, log)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/ping", server.ping)
    app.router.add_get("/", server.query)
    app.router.add_post("/", server.query)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 8123).start()
    log.info("Ready for connections. Engine %s", server.version)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    from chdb import session

    log = make_log()
    engine = session.Session(f"{DATA}?config-file={CONFIGURATION}")
    try:
        asyncio.run(serve(engine, log))
    finally:
        engine.close()


if __name__ == "__main__":
    main()
