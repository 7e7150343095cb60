# SPDX-License-Identifier: MIT
"""What follows from a row whose value a program reads as it is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tools.plain import SETTINGS, adopted, fill, variables

BEGIN = "  # Written by `make generate` from the rows of settings. Change these.\n"
END = "  # End of what is written from the rows of settings.\n"


def document(**row: Any) -> dict[str, Any]:
    return {"settings": {"role_thing": row, "role_other": {"type": "int"}}}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("str", "{{ role_thing }}"),
        ("path", "{{ role_thing }}"),
        ("int", "{{ role_thing | int }}"),
        ("float", "{{ role_thing | float | string }}"),
        ("bool", "{{ role_thing | bool | string | lower }}"),
    ],
)
def test_a_value_has_the_form_that_programs_read(kind: str, value: str) -> None:
    (line,) = variables(document(type=kind, environment="THING")["settings"])
    assert yaml.safe_load(line) == {"THING": value}


def test_a_value_that_has_no_usual_form_is_refused() -> None:
    with pytest.raises(ValueError, match=r"role_thing: write the value of THING in environment\.yml, as it is a dict"):
        list(variables(document(type="dict", environment="THING")["settings"]))


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"type": "int"}, {}),
        ({"type": "int", "environment": "THING"}, {"THING": {"to": "role_thing", "as": "int"}}),
        ({"type": "str", "environment": "THING"}, {"THING": {"to": "role_thing"}}),
        ({"type": "str", "environment": "MEANINGLESS"}, {}),
        ({"type": "dict", "adopt": {"OLD": {}}}, {"OLD": {"to": "role_thing", "as": "pairs"}}),
        (
            {"type": "int", "environment": "THING", "adopt": {"OLD": {"as": "mib"}, "THING": {"unless": ["1"]}}},
            {
                "THING": {"to": "role_thing", "as": "int", "unless": ["1"]},
                "OLD": {"to": "role_thing", "as": "mib"},
            },
        ),
    ],
)
def test_an_old_name_leads_to_its_setting(row: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = yaml.safe_load("\n".join(adopted({"role": document(**row)}, {"MEANINGLESS"}))) or {}
    assert found == wanted
    assert list(found) == list(wanted)


def test_what_all_share_comes_first() -> None:
    row = {"type": "str", "adopt": {"NAME": {}}}
    documents = {role: {"settings": {f"{role}_name": row}} for role in ("backup", "trigger", "webapp")}
    found = [yaml.safe_load(line)["NAME"]["to"] for line in adopted(documents, set())]
    assert found == ["trigger_name", "webapp_name", "backup_name"]


def test_only_the_lines_between_the_comments_are_replaced() -> None:
    text = f"a:\n  OWN: 1\n{BEGIN}  OLD: 1\n{END}\nb: 2\n"
    assert fill(text, ["NEW: 2"], SETTINGS) == f"a:\n  OWN: 1\n{BEGIN}  NEW: 2\n{END}\nb: 2\n"
    for broken in (text + BEGIN, text.replace(END, ""), "a:\n"):
        with pytest.raises(ValueError, match="not once in the file"):
            fill(broken, ["NEW: 2"], SETTINGS)
