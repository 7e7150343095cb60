# SPDX-License-Identifier: MIT
"""Filter env_files."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.env_files import env_files


def test_each_service_with_an_environment_has_a_file() -> None:
    assert env_files({"a": {"X": "1"}, "b": {}}, ["a", "b", "c"], header="note") == [
        {"path": "a.env", "content": '# note\nX="1"\n'},
        {"path": "b.env", "content": "# note\n"},
    ]


def test_services_that_are_not_deployed_have_none() -> None:
    assert env_files({"a": {"X": "1"}}, ["b"], {"a": {"Y": "1"}}) == []


def test_what_is_empty_is_left_out_but_for_what_means_something() -> None:
    (file,) = env_files({"a": {"X": "", "Y": None, "Z": "", "N": 0}}, ["a"], allow_empty=["Z"])
    assert file["content"] == 'Z=""\nN="0"\n'


def test_the_operator_wins() -> None:
    (file,) = env_files({"a": {"X": "1", "Y": "2"}}, ["a"], {"a": {"X": "3", "W": "4"}})
    assert file["content"] == 'X="3"\nY="2"\nW="4"\n'


def test_the_operator_can_take_a_variable_away() -> None:
    (file,) = env_files({"a": {"X": "1"}}, ["a"], {"a": {"X": None}})
    assert file["content"] == ""


def test_a_service_with_nothing_but_the_operators_environment() -> None:
    (file,) = env_files({}, ["a"], {"a": {"X": "1"}})
    assert file["content"] == 'X="1"\n'


def test_an_empty_value_of_the_operator_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="X is empty"):
        env_files({}, ["a"], {"a": {"X": ""}})
