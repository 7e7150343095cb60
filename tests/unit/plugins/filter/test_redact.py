# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.redact import redact
from hypothesis import given
from hypothesis import strategies as st

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=4)


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%40", "%40"),
        quote_plus,
        json.dumps,
        lambda text: text.replace("$", "$$"),
    ],
)
def test_each_form(form: object) -> None:
    secret = 'p/ä@ "$1\\'
    assert callable(form)
    text = redact(f"begin {form(secret).strip(chr(34))} end", [secret])
    assert text == "begin *** end"


@given(SECRETS)
def test_no_form_survives(secret: str) -> None:
    for form in (
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    ):
        assert redact(f"<<{form}>>", [secret]) == "<<***>>"


def test_longest_first() -> None:
    assert redact("secretsecret", ["secret", "secretsecret"]) == "***"


def test_no_second_pass_over_masks() -> None:
    assert redact("abcd", ["abcd", "****"]) == "***"


def test_empty_short_and_null_are_passed_over() -> None:
    assert redact("a common text", ["", "a", "com", None]) == "a common text"


def test_a_document_is_masked_in_its_texts() -> None:
    given = {"secret": ["a secret", 1, {"b": "secret"}], "c": True}
    assert redact(given, ["secret"]) == {"secret": ["a ***", 1, {"b": "***"}], "c": True}


def test_one_string_is_not_a_list() -> None:
    with pytest.raises(AnsibleFilterError, match="list"):
        redact("text", "text")


def test_tokens_are_masked_though_nobody_lists_them() -> None:
    token = "tr_wgt_" + "aB3" * 13 + "x"
    assert redact(f"Token:\n{token}\nfor tr_wgt_ see", []) == "Token:\n***\nfor tr_wgt_ see"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Go to http://t.test/magic?token=aB%2Bc.D-e_1~ to log in", "Go to http://t.test/magic?token=*** to log in"),
        ('{"url":"/x?a=1&token=abc&b=2"}', '{"url":"/x?a=1&token=***&b=2"}'),
        (f'{{"jwt":"eyJ{"a" * 20}.eyJ{"b-_" * 8}.{"c" * 43}"}}', '{"jwt":"***"}'),
        ("/packets/1?X-Amz-Date=2&X-Amz-Signature=0a1b2c&x=1", "/packets/1?X-Amz-Date=2&X-Amz-Signature=***&x=1"),
        ("the token= of eyJhbGciOi is none", "the token= of eyJhbGciOi is none"),
    ],
)
def test_what_opens_something_is_masked_though_nobody_lists_it(text: str, masked: str) -> None:
    assert redact(text, []) == masked
