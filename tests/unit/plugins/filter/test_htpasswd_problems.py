# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.htpasswd_problems import htpasswd_problems

ANNA = {"name": "anna", "password": "hunter23"}


def test_good_users_are_no_problem() -> None:
    assert htpasswd_problems([]) == []
    assert htpasswd_problems([ANNA, {"name": "ben@example.com", "password": "ä" * 36}], reserved={"trigger": "x"}) == []


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ([ANNA, ANNA], ["registry_users", "anna", "more than once"]),
        ([{"name": "trigger", "password": "hunter23"}], ["registry_users", "trigger_registry_username", "already"]),
        ([{"name": "anna", "password": "hunter23" * 10}], ["registry_users", "anna", "72 bytes"]),
        ([{"name": "anna", "password": "hunter2"}], ["registry_users", "anna", "at least 8 characters"]),
        ([{"name": "anna", "password": ""}], ["registry_users", "anna", "not empty"]),
        ([{"name": "anna", "password": "hunter23\n"}], ["registry_users", "anna", "of one line"]),
        ([{"name": "anna", "password": " hunter23"}], ["registry_users", "anna", "without blanks"]),
        ([{"name": "anna", "password": "$apr1$hunter23$x"}], ["registry_users", "anna", "the hash of a password"]),
        ([{"name": "anna", "password": "${hunter23}"}], ["registry_users", "anna", "a placeholder"]),
        ([{"name": "anna", "password": 31415926}], ["registry_users", "anna", "a string"]),
        ([{"name": "an:na", "password": "hunter23"}], ["registry_users", "'an:na'", "colon"]),
        ([{"name": "#anna", "password": "hunter23"}], ["registry_users", "'#anna'", "no # in front"]),
        ([{"name": "an`na", "password": "hunter23"}], ["registry_users", "'an`na'", "backquote"]),
        ([{"name": "{anna}", "password": "hunter23"}], ["registry_users", "'{anna}'", "brace"]),
        ([{"name": ["anna"], "password": "hunter23"}], ["registry_users", "cannot be a user name"]),
        ([ANNA, {"name": "ben"}], ["registry_users", "entry 2", "a name and a password"]),
        ([{"name": "ben", "pass": "hunter23"}], ["registry_users", "entry 1"]),
        ([{**ANNA, "admin": True}], ["registry_users", "entry 1", "nothing else"]),
        (["anna:hunter23"], ["registry_users", "entry 1"]),
        ("anna:hunter23", ["registry_users", "a list"]),
        ({"anna": "hunter23"}, ["registry_users", "a list"]),
        (None, ["registry_users", "a list"]),
    ],
)
def test_a_problem_names_user_and_variable_and_never_the_password(users: object, words: list[str]) -> None:
    (problem,) = htpasswd_problems(users, reserved={"trigger": "trigger_registry_username"})
    assert [word for word in words if word not in problem] == [], problem
    assert "hunter23" not in problem
    assert "31415926" not in problem
    assert problem.endswith(".")


def test_every_user_is_looked_at() -> None:
    problems = htpasswd_problems([{"name": "", "password": "x"}, ANNA, {"name": "anna", "password": "other"}])
    assert len(problems) == 2


def test_the_variable_is_the_one_that_was_named() -> None:
    assert htpasswd_problems("x", variable="other_users")[0].startswith("other_users ")
