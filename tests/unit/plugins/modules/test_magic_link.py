# SPDX-License-Identifier: MIT
"""Against the login of the webapp's double: it decides, prints and limits as the original does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._webapp import WebappError
from ansible_collections.selfhosted.trigger_dev.plugins.modules import magic_link
from ansible_collections.selfhosted.trigger_dev.plugins.modules.magic_link import find, give_up, parameters
from doubles.webapp import login
from doubles.webapp.ids import open_link
from doubles.webapp.state import State, settings

Invoke = Callable[..., dict[str, Any]]

MAIL = "me@example.com"
CONTAINER = "trigger-webapp-webapp-1"
SECRET = "0123456789abcdef"


class Redis:
    """As much of a sorted set as the limiter uses; or a server that does not answer."""

    def __init__(self) -> None:
        self.sets: dict[str, dict[str, float]] = {}
        self.away = False

    async def zremrangebyscore(self, key: str, least: float, most: float) -> None:
        if self.away:
            await asyncio.sleep(600)
        kept = {name: score for name, score in self.sets.get(key, {}).items() if not least <= score <= most}
        self.sets[key] = kept

    async def zcard(self, key: str) -> int:
        return len(self.sets.get(key, {}))

    async def zadd(self, key: str, members: dict[str, float]) -> None:
        self.sets[key].update(members)

    async def expire(self, key: str, seconds: int) -> None:
        pass


class Login(login.Login):
    """The double's login, without its database."""

    async def user_by_mail(self, mail: str) -> dict[str, Any]:
        return {"id": f"user of {mail}"}


class Server:
    """The double, in a thread of its own, and a `docker` that shows its log."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.environment = {"MAGIC_LINK_SECRET": SECRET, "SESSION_SECRET": SECRET}
        self.redis = Redis()
        self.prints = folder / "prints"
        self.prints.mkdir()
        monkeypatch.setattr(login, "plain", self.print)
        monkeypatch.setattr(login, "log", lambda *_arguments, **_fields: None)
        self.docker = folder / "docker"
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        self.started = threading.Event()
        self.url = "http://127.0.0.1:1"

    def print(self, text: str) -> None:
        """Keep the text under its time, by which the engine knows it."""
        (self.prints / f"{time.time():.6f}").write_text(text + "\n")

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.prints.iterdir()))

    async def serve(self) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        state = State(self.environment, settings(self.environment), set(), None, self.redis)  # type: ignore[arg-type]
        app = web.Application()
        app.add_routes(Login(state).routes())
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.started.set()
        await self.stop.wait()
        await runner.cleanup()

    def __enter__(self) -> Server:
        transport = self.environment.get("EMAIL_TRANSPORT")
        printenv = f"echo {transport}" if transport else "exit 1"
        self.docker.write_text(
            f'#!/bin/sh\ncase "$*" in\n"exec {CONTAINER} printenv EMAIL_TRANSPORT") {printenv};;\n'
            f'"logs --since "*" {CONTAINER}") cd {self.prints}; for at in *; do\n'
            'if [ "$at" \\> "$3" ]; then cat "$at"; fi; done;;\n'
            '*) echo "unexpected: $*" >&2; exit 9;;\nesac\n'
        )
        self.docker.chmod(0o755)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.thread.start()
        assert self.started.wait(60)
        return self

    def __exit__(self, *_error: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(60)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


@pytest.fixture
def ask(invoke: Invoke, server: Server) -> Invoke:
    def call(*, check: bool = False, **more: object) -> dict[str, Any]:
        given = {"email": MAIL, "origin": "http://localhost:8030", "timeout": 0, **more}
        return invoke(magic_link.main, check=check, webapp_url=server.url, webapp_container=CONTAINER, **given)

    return call


@pytest.mark.parametrize("origin", ["http://localhost:8030", "https://trigger.example.com", "http://control.lab:8030"])
def test_the_link_begins_with_the_origin_and_carries_the_mail(server: Server, ask: Invoke, origin: str) -> None:
    with server:
        link = ask(origin=origin, email=" Me@Example.com ")["magic_link"]
    assert link["email"] == MAIL
    base, _, token = link["url"].partition("/magic?token=")
    assert base == origin
    assert open_link(SECRET, unquote(token), datetime.now(timezone.utc)) == MAIL
    # The webapp was told, too: a mailed link would begin the same.
    assert f"{origin}/magic?token=" in server.log


def test_check_mode_asks_for_nothing(server: Server, ask: Invoke) -> None:
    with server:
        result = ask(check=True)
    assert result["changed"]
    assert result["magic_link"]["url"] is None
    assert server.log == ""


def test_an_address_that_may_not_log_in(server: Server, ask: Invoke) -> None:
    server.environment["WHITELISTED_EMAILS"] = "^boss@"
    with server:
        result = ask()
    assert result["failed"]
    assert "webapp_whitelisted_emails" in result["msg"]


def test_a_fourth_link_within_a_minute(server: Server, ask: Invoke) -> None:
    with server:
        assert [ask().get("failed", False) for _ in range(3)] == [False] * 3
        result = ask()
        assert not ask(email="other@example.com").get("failed")
    assert result["failed"]
    assert "3 a minute" in result["msg"]


def test_a_webapp_that_mails(server: Server, ask: Invoke) -> None:
    server.environment["EMAIL_TRANSPORT"] = "smtp"
    with server:
        result = ask()
    assert result["failed"]
    assert f"mailed to {MAIL}" in result["msg"]
    assert "(smtp; webapp_email_transport)" in result["msg"]


def test_a_webapp_without_redis_prints_late(server: Server, ask: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "LIMITER_SECONDS", 0.1)
    server.redis.away = True
    with server:
        assert not ask().get("failed")


def test_a_link_that_does_not_come(server: Server, ask: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "plain", lambda _text: None)
    with server:
        result = ask()
    assert result["failed"]
    assert f"docker logs --since 5m {CONTAINER}" in result["msg"]


def test_a_link_from_before_is_not_given_again(server: Server, ask: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    with server:
        assert not ask().get("failed")
        monkeypatch.setattr(login, "plain", lambda _text: None)
        assert ask()["failed"]
    assert server.log.count("/magic?token=") == 1


def test_a_webapp_that_is_down(server: Server, ask: Invoke) -> None:
    with server:
        pass
    result = ask()
    assert result["failed"]
    assert "no answer" in result["msg"]
    assert "webapp_port" in result["msg"]


def test_an_engine_that_shows_no_log(server: Server, ask: Invoke) -> None:
    with server:
        server.docker.write_text('#!/bin/sh\ntest "$1" = exec && exit 1\necho no log for this driver >&2; exit 1\n')
        result = ask()
    assert result["failed"]
    assert f"cannot read the log of the container {CONTAINER}: no log for this driver" in result["msg"]


@pytest.mark.parametrize("origin", ["localhost:8030", "https://a/b", "ftp://a", ""])
def test_an_origin_that_is_none(server: Server, ask: Invoke, origin: str) -> None:
    assert "scheme://host" in ask(origin=origin)["msg"]


def test_a_slow_form_without_a_link_means_redis() -> None:
    given = {"webapp_url": "http://h", "webapp_container": CONTAINER, "email": MAIL, "timeout": 20}
    wanted = parameters({**given, "origin": "http://h"})
    assert "Redis" in give_up(wanted, 5.1)
    assert "Redis" not in give_up(wanted, 0.1)
    with pytest.raises(WebappError, match="origin is"):
        parameters({**given, "origin": "http://h/path"})


def mail(to: str, link: str, subject: str = "Magic sign-in link for Trigger.dev") -> str:
    return f"\n##### sendEmail to {to}, subject: {subject}\n\nLog in\n\n{link}\n"


def test_the_link_of_this_address_is_found_and_the_last_of_them() -> None:
    log = (
        mail("other@example.com", "https://h/magic?token=1")
        + mail(MAIL, "https://h/magic?token=2%3D")
        + "GET /magic?token=9 302 - - 1 ms\n"
        + mail(MAIL, "[https://h:8030/magic?token=3%2B]")
        + mail(MAIL, "https://h/invites", "You have been invited")
        + mail("another@example.com", "https://h/magic?token=4")
    )
    assert find(log, MAIL) == "3%2B"
    assert find(log, "other@example.com") == "1"
    assert find(log, "nobody@example.com") is None
    assert find(mail(MAIL, "") + "GET /magic?token=9 302\n", MAIL) is None
    assert find("", MAIL) is None
