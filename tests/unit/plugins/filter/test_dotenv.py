# SPDX-License-Identifier: MIT
from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.dotenv import FilterModule, dotenv
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def read(text: str) -> dict[str, str]:
    """Read the file by the rules measured on Compose 2.26 and 2.40: escapes first, then `$$`."""
    values = {}
    for name, body in re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE):
        plain = re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), body)
        assert not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", plain), "a single $ would be interpolated"
        values[name] = plain.replace("$$", "$")
    return values


@given(VALUES)
def test_any_value_comes_back(value: str) -> None:
    assert read(dotenv({"KEY": value}, allow_empty=["KEY"])) == {"KEY": value}


@given(VALUES)
def test_a_value_stays_on_its_line(value: str) -> None:
    text = dotenv({"KEY": value, "NEXT": "1"}, allow_empty=["KEY"])
    assert len(text.split("\n")) == 3
    assert "\r" not in text


def test_exact_escapes() -> None:
    assert dotenv({"A": 'a\\ "b" $c\n\r #'}) == 'A="a\\\\ \\"b\\" $$c\\n\\r #"\n'


def test_order_null_and_numbers() -> None:
    assert dotenv({"B": 8030, "UNSET": None, "A": "1"}) == 'B="8030"\nA="1"\n'


def test_header_becomes_comments() -> None:
    assert dotenv({"A": "1"}, header="one\n\n# two") == '# one\n#\n# two\nA="1"\n'


def test_vault_strings_of_older_ansible_are_read() -> None:
    class Vaulted:
        __ENCRYPTED__ = True

        def __str__(self) -> str:
            return "clear"

    assert dotenv({"A": Vaulted()}) == 'A="clear"\n'


@pytest.mark.parametrize("value", [True, False, 1.5, ["x"], {"x": 1}])
def test_other_types_name_the_key(value: object) -> None:
    with pytest.raises(AnsibleFilterError, match="REDIS_TLS_DISABLED"):
        dotenv({"REDIS_TLS_DISABLED": value})


def test_empty_names_the_key_unless_allowed() -> None:
    with pytest.raises(AnsibleFilterError, match="EMAIL_TRANSPORT is empty"):
        dotenv({"EMAIL_TRANSPORT": ""})
    assert dotenv({"EMAIL_TRANSPORT": ""}, allow_empty=["EMAIL_TRANSPORT"]) == 'EMAIL_TRANSPORT=""\n'


@pytest.mark.parametrize("name", ["A B", "1A", "", "A=B", "Ä", "A\n", 3])
def test_bad_names(name: object) -> None:
    with pytest.raises(AnsibleFilterError, match="not the name"):
        dotenv({name: "x"})  # type: ignore[dict-item]


def test_errors_do_not_print_values() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        dotenv({"KEY": "hidden\0value"})
    assert "hidden" not in str(caught.value)
    with pytest.raises(AnsibleFilterError) as caught:
        dotenv({"KEY": ["hidden"]})
    assert "hidden" not in str(caught.value)


def test_not_a_dictionary() -> None:
    with pytest.raises(AnsibleFilterError, match="dictionary"):
        dotenv(["A=1"])  # type: ignore[arg-type]


def test_it_is_offered_under_its_name() -> None:
    assert FilterModule().filters() == {"dotenv": dotenv}


def test_errors_begin_with_the_variable_that_they_come_from() -> None:
    with pytest.raises(AnsibleFilterError, match=r"^gateway_extra_env: 'A B' is not the name"):
        dotenv({"A B": "x"}, where="gateway_extra_env")
