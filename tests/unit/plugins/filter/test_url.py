# SPDX-License-Identifier: MIT
from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.url import url
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOST = st.one_of(
    st.lists(LABEL, min_size=1, max_size=4).map(".".join), st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)
)


@given(
    scheme=st.sampled_from(["http", "https", "postgresql", "redis", "rediss"]),
    user=TEXT,
    password=st.none() | TEXT,
    host=HOST,
    port=st.none() | st.integers(1, 65535),
    path=st.none() | TEXT.filter(lambda text: not text.startswith("/")),
    query=st.dictionaries(TEXT, TEXT, max_size=4),
)
def test_parts_come_back(
    scheme: str,
    user: str,
    password: str | None,
    host: str,
    port: int | None,
    path: str | None,
    query: dict[str, str],
) -> None:
    text = url(
        {
            "scheme": scheme,
            "user": user,
            "password": password,
            "host": host,
            "port": port,
            "path": path,
            "query": query,
        }
    )
    parts = urlsplit(text)
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text
    assert parts.scheme == scheme
    assert unquote(parts.username or "") == user
    assert (None if parts.password is None else unquote(parts.password)) == password
    assert (parts.hostname, parts.port) == (host, port)
    assert unquote(parts.path) == ("" if path is None else f"/{path}")
    assert parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(query)) == {
        name: [value] for name, value in query.items()
    }
    assert parts.fragment == ""


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
