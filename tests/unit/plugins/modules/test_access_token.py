# SPDX-License-Identifier: MIT
"""Against a webapp in memory; its login links are made by openssl, and opened as the original opens them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._webapp import Answer, cookies
from ansible_collections.selfhosted.trigger_dev.plugins.modules import access_token

Invoke = Callable[..., dict[str, Any]]
Module = Callable[..., dict[str, Any]]

MAIL = "me@example.com"
CONTAINER = "trigger-webapp-webapp-1"


@pytest.fixture
def have(invoke: Invoke, webapp: Any) -> Module:
    def call(*, check: bool = False, **more: object) -> dict[str, Any]:
        given: dict[str, object] = {"webapp_url": webapp.url, "webapp_container": CONTAINER, "email": MAIL}
        return invoke(access_token.main, check=check, **{**given, **more})

    return call


def test_a_first_user_is_made_and_gets_a_token(have: Module, webapp: Any) -> None:
    result = have(email="Me@Example.com")
    assert result["changed"]
    assert result["access_token"] == {"token": webapp.tokens[MAIL], "email": MAIL, "admin": True}
    assert webapp.users == {MAIL: True}


def test_the_echo_of_the_arguments_does_not_hold_the_token(have: Module, webapp: Any) -> None:
    token = have()["access_token"]["token"]
    result = have(token=token)
    assert result["access_token"]["token"] == token
    assert token not in str(result["invocation"])
    assert token not in str(result["diff"])


def test_a_known_token_is_kept_without_a_login(have: Module, webapp: Any) -> None:
    token = have()["access_token"]["token"]
    webapp.requests.clear()
    result = have(token=f"{token}\n")
    assert not result["changed"]
    assert result["access_token"] == {"token": token, "email": MAIL, "admin": None}
    assert webapp.requests == ["GET /api/v2/whoami"]


@pytest.mark.parametrize("unknown", ["", "tr_pat_" + "f" * 40, "no token\nat all"])
def test_an_unknown_token_is_replaced(have: Module, webapp: Any, unknown: str) -> None:
    result = have(token=unknown)
    assert result["changed"]
    assert result["access_token"]["token"] == webapp.tokens[MAIL]


def test_the_token_of_somebody_else_is_not_replaced(have: Module, webapp: Any) -> None:
    other = have(email="other@example.com")["access_token"]["token"]
    result = have(token=other)
    assert result["failed"]
    assert "belongs to other@example.com, not to me@example.com" in result["msg"]
    assert other not in result["msg"]


@pytest.mark.parametrize("token", ["", "tr_pat_" + "f" * 40])
def test_check_mode_logs_nobody_in(have: Module, webapp: Any, token: str) -> None:
    result = have(check=True, token=token)
    assert result["changed"]
    assert result["access_token"] == {"token": None, "email": MAIL, "admin": None}
    assert webapp.users == {}


def test_check_mode_knows_what_is_there(have: Module) -> None:
    token = have()["access_token"]["token"]
    result = have(check=True, token=token)
    assert not result["changed"]
    assert result["access_token"]["token"] == token


def test_a_user_who_is_no_administrator(have: Module) -> None:
    assert have(email="user@example.com")["access_token"]["admin"] is False


def test_later_releases_want_a_button_to_be_pressed(have: Module, webapp: Any) -> None:
    webapp.asks_for_consent = True
    assert have()["access_token"]["token"] == webapp.tokens[MAIL]


def test_an_address_that_may_not_log_in(have: Module) -> None:
    result = have(email="stranger@example.com")
    assert result["failed"]
    assert "does not let stranger@example.com log in" in result["msg"]
    assert "webapp_whitelisted_emails" in result["msg"]


def test_a_second_factor(have: Module, webapp: Any) -> None:
    webapp.second_factor = True
    assert "second factor" in have()["msg"]


def test_another_secret_than_the_webapp_s(have: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CONTAINER", "another")
    assert "does not let me@example.com log in: it answers 302 /login/magic" in have()["msg"]


def test_a_webapp_that_gives_no_token(have: Module, webapp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webapp, "token", lambda _mail: None)
    assert "no personal access token for me@example.com: the webapp answers 405" in have()["msg"]


def test_a_container_that_is_not_there(have: Module) -> None:
    assert "in the container nobody: no such container" in have(webapp_container="nobody")["msg"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://127.0.0.1:1/\n"])
def test_a_webapp_that_is_not_there(have: Module, url: str) -> None:
    result = have(webapp_url=url)
    assert result["failed"]
    assert "no answer" in result["msg"]


def test_cookies_are_read_without_their_attributes() -> None:
    headers = ["__session=a=b; Path=/; Secure", "last=1", "=nothing", "; Path=/"]
    assert cookies(headers) == {"__session": "a=b", "last": "1"}


def test_a_redirect_s_path() -> None:
    assert Answer(302, "", "https://h/orgs/a?b=c").path == "/orgs/a"
    assert Answer(200, "").path == ""
