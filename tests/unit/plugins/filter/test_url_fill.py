# SPDX-License-Identifier: MIT
"""Filter url_fill."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.url_fill import url_fill

URL = "postgresql://trigger@db.example.com:5432/trigger?sslmode=verify-full"


def test_the_password_reaches_the_program_as_it_is() -> None:
    password = "p@ss/w:o%r?d#é &"
    parts = urlsplit(url_fill(URL, password))
    assert unquote(parts.password or "") == password
    assert (parts.username, parts.hostname, parts.port) == ("trigger", "db.example.com", 5432)
    assert (parts.path, parts.query) == ("/trigger", "sslmode=verify-full")


def test_without_a_password_the_user_stays() -> None:
    assert url_fill(URL) == URL


def test_a_password_for_nobody_in_particular() -> None:
    assert url_fill("http://ch.example.com:8123", "x") == "http://:x@ch.example.com:8123"


def test_parameters_fill_gaps_only() -> None:
    done = url_fill(URL, query={"schema": "public", "sslmode": "disable", "sslrootcert": None})
    assert urlsplit(done).query == "sslmode=verify-full&schema=public"


def test_only_named_parameters_stay() -> None:
    done = url_fill(f"{URL}&connection_limit=5", keep=["sslmode"])
    assert urlsplit(done).query == "sslmode=verify-full"


def test_a_parameter_that_went_is_not_filled_in_again() -> None:
    assert urlsplit(url_fill(f"{URL}&schema=a", query={"schema": "b"}, keep=["sslmode"])).query == "sslmode=verify-full"


def test_an_address_of_the_sixth_version() -> None:
    assert url_fill("http://a@[2001:db8::1]:8123/", "x") == "http://a:x@[2001:db8::1]:8123/"


def test_nothing_stays_nothing() -> None:
    assert url_fill("", "x", {"a": "b"}) == ""


@pytest.mark.parametrize("url", ["db.example.com", "postgresql://", "//host/x", "postgresql:///name"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(AnsibleFilterError, match="wants an address"):
        url_fill(url)


def test_a_password_inside_is_refused_and_not_shown() -> None:
    with pytest.raises(AnsibleFilterError, match="holds a password") as caught:
        url_fill("postgresql://trigger:hidden@db/x")
    assert "hidden" not in str(caught.value)
