# SPDX-License-Identifier: MIT
"""What follows from the rows of secrets, and who holds one."""

from __future__ import annotations

from typing import Any

import yaml

from tools.secrets import adopted, holders, known_as, of_secrets, variables

ROWS: dict[str, dict[str, Any]] = {
    "one_key": {"environment": "ONE_KEY", "rotation": {"how": "it starts anew"}},
    "two_key": {"environment": "TWO_KEY", "rotation": {"how": "it starts anew"}},
    "three_key": {"rotation": {"how": "it starts anew", "effect": "Links are void."}},
}


def test_only_a_secret_with_a_variable_stands_in_the_environment() -> None:
    found = yaml.safe_load("\n".join(variables(ROWS)))
    assert found == {f"{name}_KEY": f"{{{{ __trigger_secret_values.{name.lower()}_key }}}}" for name in ("ONE", "TWO")}
    assert yaml.safe_load("\n".join(adopted(ROWS))) == {
        "ONE_KEY": {"to": "trigger_secrets.one_key"},
        "TWO_KEY": {"to": "trigger_secrets.two_key"},
    }


def test_a_name_with_a_note_is_not_told_twice() -> None:
    noted = {"names": ["TWO_KEY"], "key": "two_key", "note": "Of both."}
    assert known_as(ROWS, {"also_known_as": [noted]}) == [noted, {"names": ["ONE_KEY"], "key": "one_key"}]


def test_secrets_with_the_same_answers_share_a_row() -> None:
    assert of_secrets(ROWS).splitlines()[2:] == [
        "| `one_key`, `two_key` | it starts anew | Nothing. |",
        "| `three_key` | it starts anew | Links are void. |",
    ]


def test_a_secret_is_found_through_variables_and_only_by_the_key_that_is_read() -> None:
    values = "{{ __trigger_secret_values.%s }}"
    found = holders(
        {
            "direct": {"environment": {"A": values % "one_key"}, "container": {"x": values % "three_key"}},
            "through": {"environment": "{{ __webapp_environment }}"},
            "by-key": {"files": [{"content": "{{ __webapp_passwords.two }}"}]},
            "none": {"environment": {"A": "b"}},
            "itself": {"environment": "{{ __webapp_services.direct.memory }} {{ __webapp_loop }}"},
        },
        {
            "__webapp_environment": {"B": "{{ __webapp_inner }}"},
            "__webapp_inner": values % "three_key",
            "__webapp_passwords": {"one": values % "one_key", "two": values % "two_key"},
            "__webapp_services": {"direct": {"environment": {"A": values % "one_key"}}},
            "__webapp_loop": "{{ __webapp_loop }}",
        },
    )
    assert found == {
        "direct": ["one_key"],
        "through": ["three_key"],
        "by-key": ["two_key"],
        "none": [],
        "itself": [],
    }
