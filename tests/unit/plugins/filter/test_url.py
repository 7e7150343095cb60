# SPDX-License-Identifier: MIT
from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.url import url
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXT, TEXT, TEXT)
def test_parts_come_back(user: str, password: str, value: str) -> None:
    parts = urlsplit(
        url({"scheme": "http", "user": user, "password": password, "host": "db", "port": 5432, "query": {"q": value}})
    )
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert (parts.hostname, parts.port) == ("db", 5432)
    assert parse_qs(parts.query, keep_blank_values=True, strict_parsing=True) == {"q": [value]}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {
                "scheme": "postgresql",
                "user": "postgres",
                "password": "a/b#c?d@e:%",
                "host": "trigger-postgres",
                "port": 5432,
                "path": "main",
                "query": {"schema": "public", "sslmode": "disable", "unset": None},
            },
            "postgresql://postgres:a%2Fb%23c%3Fd%40e%3A%25@trigger-postgres:5432/main?schema=public&sslmode=disable",
        ),
        ({"scheme": "http", "host": "ch", "port": 8123, "query": {"secure": "false"}}, "http://ch:8123?secure=false"),
        ({"scheme": "redis", "password": "p", "host": "r"}, "redis://:p@r"),
        ({"scheme": "https", "host": "::1", "path": "/a/b"}, "https://[::1]/a/b"),
        ({"scheme": "https", "host": "x", "user": None, "password": "", "query": {}}, "https://x"),
    ],
)
def test_examples(parts: dict[str, object], expected: str) -> None:
    assert url(parts) == expected


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"scheme": "http"}, "host must be given"),
        ({"host": "x"}, "scheme must be given"),
        ({"scheme": "http", "host": "x", "hots": "y"}, "unknown parts hots"),
        ({"scheme": "http", "host": "x", "query": {"secure": False}}, "secure is a boolean"),
        ({"scheme": "http", "host": "x", "query": "a=b"}, "query must be a dictionary"),
    ],
)
def test_errors(parts: dict[str, object], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        url(parts)
