# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.modules import project

Invoke = Callable[..., dict[str, Any]]
Module = Callable[..., dict[str, Any]]


@pytest.fixture
def have(invoke: Invoke, webapp: Any) -> Module:
    def call(*, check: bool = False, **more: object) -> dict[str, Any]:
        token = webapp.token("me@example.com")
        given: dict[str, object] = {"webapp_url": webapp.url, "organization": "org0", "name": "Hello", "token": token}
        return invoke(project.main, check=check, **{**given, **more})

    return call


def test_it_is_made_once(have: Module, webapp: Any) -> None:
    first, second = have(), have()
    assert first["changed"]
    assert first["project"] == {"name": "Hello", "ref": "proj_0", "id": "p0", "slug": "s0"}
    assert not second["changed"]
    assert second["project"] == first["project"]
    assert len(webapp.projects) == 1


def test_the_same_name_in_another_organisation_is_another_project(have: Module) -> None:
    assert have()["project"]["ref"] != have(organization="org1")["project"]["ref"]


def test_of_several_the_oldest_is_taken(have: Module, webapp: Any) -> None:
    for _ in range(2):
        webapp.make_project("org0", "Hello")
    assert have()["project"]["id"] == "p1", "the one with the earlier time"


@pytest.mark.parametrize("missing", [{}, {"token": ""}, {"organization": ""}])
def test_check_mode_makes_nothing(have: Module, webapp: Any, missing: dict[str, str]) -> None:
    result = have(check=True, **missing)
    assert result["changed"]
    assert result["project"] == {"name": "Hello", "ref": "", "id": "", "slug": ""}
    assert webapp.projects == []


def test_check_mode_knows_what_is_there(have: Module) -> None:
    have()
    assert not have(check=True)["changed"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": " "}, "name is empty"),
        ({"organization": ""}, "organization is empty"),
        ({"token": ""}, "token is empty"),
        ({"token": "tr_pat_unknown"}, "401 (Invalid or Missing Access Token)"),
    ],
)
def test_what_cannot_be(have: Module, webapp: Any, given: dict[str, str], words: str) -> None:
    result = have(**given)
    assert result["failed"]
    assert words in result["msg"]
    assert webapp.projects == []


def test_more_projects_than_there_may_be(have: Module) -> None:
    for number in range(10):
        have(name=f"Project {number}")
    result = have()
    assert "400 (Failed to create project)" in result["msg"]
    assert "may hold 10 projects" in result["msg"]
