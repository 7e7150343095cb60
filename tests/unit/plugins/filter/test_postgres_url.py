# SPDX-License-Identifier: MIT
"""Filter postgres_url."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.postgres_url import postgres_url

URL = "postgresql://trigger@db.example.com:5432/trigger"
CA = "/etc/trigger/ca.pem"


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_both_readers_check_the_certificate(mode: str) -> None:
    """Prisma takes verify-full for prefer, and looks at no certificate unless it is told to."""
    strict = {"sslmode": "require", "schema": "public", "sslaccept": "strict"}
    assert query(postgres_url(f"{URL}?sslmode={mode}")) == strict
    assert query(postgres_url(f"{URL}?sslmode={mode}", "x", CA)) == {**strict, "sslcert": CA, "sslrootcert": CA}


@pytest.mark.parametrize(
    ("parameters", "mode"), [("", None), ("?sslmode=disable", "disable"), ("?sslmode=no-verify", "no-verify")]
)
def test_what_checks_nothing_stays(parameters: str, mode: str | None) -> None:
    found = query(postgres_url(URL + parameters, "x", CA))
    assert found.pop("schema") == "public"
    assert found == ({"sslmode": mode} if mode else {})


def test_own_parameters_stay() -> None:
    given = f"{URL}?schema=other&sslmode=verify-full&connection_limit=5&sslaccept=accept_invalid_certs"
    found = query(postgres_url(given))
    assert found == {
        "schema": "other",
        "sslmode": "require",
        "connection_limit": "5",
        "sslaccept": "accept_invalid_certs",
    }


def test_the_password_is_put_in_and_none_may_stand_there() -> None:
    assert unquote(urlsplit(postgres_url(URL, "p@ss/w")).password or "") == "p@ss/w"
    with pytest.raises(AnsibleFilterError) as error:
        postgres_url("postgresql://trigger:hunter2@db.example.com/trigger?sslmode=require")
    assert "hunter2" not in str(error.value)


def test_nothing_stays_nothing() -> None:
    assert postgres_url("", "x", CA) == ""
