# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.modules import organization

Invoke = Callable[..., dict[str, Any]]
Module = Callable[..., dict[str, Any]]

MAIL = "me@example.com"


@pytest.fixture
def have(invoke: Invoke, webapp: Any) -> Module:
    def call(*, check: bool = False, **more: object) -> dict[str, Any]:
        given: dict[str, object] = {
            "webapp_url": webapp.url,
            "webapp_container": "trigger-webapp-webapp-1",
            "email": MAIL,
            "name": "Acme",
            "token": webapp.token(MAIL),
        }
        return invoke(organization.main, check=check, **{**given, **more})

    return call


def test_it_is_made_once(have: Module, webapp: Any) -> None:
    first, second = have(), have(name=" Acme ")
    assert first["changed"]
    assert first["organization"] == {"name": "Acme", "id": "org0", "slug": "slug-0"}
    assert first["diff"] == {"before": "", "after": "Acme\n"}
    assert not second["changed"]
    assert second["organization"] == first["organization"]
    assert second["diff"]["before"] == second["diff"]["after"]
    assert len(webapp.organizations) == 1


def test_of_several_the_oldest_is_taken(have: Module, webapp: Any) -> None:
    for _ in range(2):
        webapp.make_organization("Acme", MAIL)
    assert have()["organization"]["id"] == "org1", "the one with the earlier time"


def test_organisations_of_others_do_not_count(have: Module, webapp: Any) -> None:
    webapp.make_organization("Acme", "other@example.com")
    assert have()["changed"]


@pytest.mark.parametrize("token", ["", None])
def test_check_mode_makes_nothing(have: Module, webapp: Any, token: str | None) -> None:
    given = {} if token is None else {"token": token}
    result = have(check=True, **given)
    assert result["changed"]
    assert result["organization"] == {"name": "Acme", "id": "", "slug": ""}
    assert webapp.organizations == []
    assert webapp.users == {}


def test_check_mode_knows_what_is_there(have: Module) -> None:
    have()
    assert not have(check=True)["changed"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "ab"}, "3 to 50 characters"),
        ({"name": "a" * 51}, "3 to 50 characters"),
        ({"token": ""}, "token is empty"),
        ({"token": "tr_pat_unknown"}, "does not know the personal access token"),
        ({"token": "no\ntoken"}, "not a personal access token"),
    ],
)
def test_what_cannot_be(have: Module, webapp: Any, given: dict[str, object], words: str) -> None:
    result = have(**given)
    assert result["failed"]
    assert words in result["msg"]
    assert webapp.organizations == []


def test_a_form_that_is_shown_anew(have: Module, webapp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webapp, "make_organization", lambda _title, _member: (200, "<p>form</p>"))
    assert "'Acme' could not be made: the webapp answers 200" in have()["msg"]
