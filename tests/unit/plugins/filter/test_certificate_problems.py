# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.certificate_problems import certificate_problems

Issue = Callable[..., Any]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = ["trigger.example.com", "registry.trigger.example.com"]


@pytest.fixture(scope="module")
def root(issue: Issue) -> Any:
    """A private authority."""
    return issue("root", ca=True, days=(-10, 3650))


@pytest.fixture(scope="module")
def middle(issue: Issue, root: Any) -> Any:
    """An authority below it."""
    return issue("middle", by=root, ca=True, days=(-5, 1000))


def problems(chain: str, key: str, authority: str = "", names: list[str] | None = None, **options: Any) -> list[str]:
    """Give kind and message of each."""
    found = certificate_problems(chain, key, names or NAMES, NOW.timestamp(), authority, **options)
    return [f"{row['kind']}: {row['message']}" for row in found]


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_chain_in_order_to_a_private_authority(issue: Issue, root: Any, middle: Any, kind: str) -> None:
    leaf = issue("leaf", NAMES, middle, kind=kind)
    assert problems(leaf.pem + middle.pem, leaf.key(), root.pem) == []
    # The root itself may stand at the end, and a public authority's chain ends without its root.
    assert problems(leaf.pem + middle.pem + root.pem, leaf.key(), root.pem) == []
    assert problems(leaf.pem + middle.pem, leaf.key()) == []


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (["*.example.com"], ["trigger.example.com"]),
        (["trigger.example.com", "*.trigger.example.com"], NAMES),
        (["TRIGGER.example.com"], ["trigger.example.com"]),
        (["10.0.0.7"], ["10.0.0.7"]),
        (["2001:db8::1"], ["2001:db8:0::1"]),
    ],
)
def test_names_that_are_covered(issue: Issue, middle: Any, held: list[str], wanted: list[str]) -> None:
    leaf = issue("leaf", held, middle)
    assert problems(leaf.pem, leaf.key(), names=wanted) == []


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        (["trigger.example.com"], "registry.trigger.example.com"),
        (["*.example.com"], "registry.trigger.example.com"),
        (["trigger.example.com", "*.com"], "registry.trigger.example.com"),
        (None, "trigger.example.com, registry.trigger.example.com"),
        (["example.com", "xtrigger.example.com"], "trigger.example.com, registry.trigger.example.com"),
    ],
)
def test_names_that_are_not_covered(issue: Issue, middle: Any, held: list[str] | None, missing: str) -> None:
    leaf = issue("trigger.example.com", held, middle)
    (problem,) = problems(leaf.pem, leaf.key())
    assert f"error: gateway_certificate_file is not valid for {missing};" in problem


def test_a_key_of_another_certificate(issue: Issue, middle: Any) -> None:
    leaf, other = issue("leaf", NAMES, middle), issue("other", NAMES, middle)
    (problem,) = problems(leaf.pem, other.key())
    assert "error: gateway_certificate_key_file does not belong to the first certificate" in problem


def test_certificates_in_another_order(issue: Issue, root: Any, middle: Any) -> None:
    leaf = issue("leaf", NAMES, middle)
    found = problems(leaf.pem + root.pem + middle.pem, leaf.key(), root.pem)
    assert any("CN=leaf was not signed by CN=root" in problem and "the order is" in problem for problem in found)


def test_an_authority_that_has_not_signed_it(issue: Issue, middle: Any) -> None:
    leaf = issue("leaf", NAMES, middle)
    stranger = issue("middle", ca=True, days=(-5, 1000))
    (problem,) = problems(leaf.pem + middle.pem, leaf.key(), stranger.pem)
    assert "was not signed by the authority in gateway_ca_file" in problem


def test_an_authority_that_is_none(issue: Issue, middle: Any) -> None:
    leaf = issue("leaf", NAMES, middle)
    found = problems(leaf.pem, leaf.key(), leaf.pem)
    assert any("gateway_ca_file: CN=leaf is not the certificate of an authority" in problem for problem in found)


@pytest.mark.parametrize("chained", [False, True])
def test_a_private_authority_has_to_be_named(issue: Issue, root: Any, chained: bool) -> None:
    leaf = issue("leaf", NAMES, root if chained else None)
    (problem,) = problems(leaf.pem + (root.pem if chained else ""), leaf.key())
    assert "has signed itself" in problem
    assert "set gateway_ca_file" in problem


@pytest.mark.parametrize(
    ("days", "words"),
    [((-90, -1), "has expired (2026-05-31"), ((2, 90), "is valid only from 2026-06-03"), ((-90, 0), "has expired")],
)
def test_times(issue: Issue, middle: Any, days: tuple[int, int], words: str) -> None:
    leaf = issue("leaf", NAMES, middle, days=days)
    (problem,) = problems(leaf.pem, leaf.key())
    assert problem.startswith("error: gateway_certificate_file: CN=leaf")
    assert words in problem


def test_an_expired_one_between(issue: Issue, root: Any) -> None:
    middle = issue("middle", by=root, ca=True, days=(-100, -1))
    leaf = issue("leaf", NAMES, middle)
    (problem,) = problems(leaf.pem + middle.pem, leaf.key(), root.pem)
    assert "CN=middle has expired" in problem


def test_an_end_that_is_near_is_a_warning(issue: Issue, middle: Any) -> None:
    leaf = issue("leaf", NAMES, middle, days=(-1, 20))
    (problem,) = problems(leaf.pem, leaf.key())
    assert problem == (
        "warning: gateway_certificate_file expires in 20 days (2026-06-21); put a new one there and deploy again."
    )
    assert problems(leaf.pem, leaf.key(), warn_days=19) == []


def test_what_is_no_certificate_and_no_key(issue: Issue, middle: Any) -> None:
    leaf = issue("leaf", NAMES, middle)
    for chain, key, authority, setting in (
        ("", leaf.key(), "", "gateway_certificate_file"),
        (
            "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n",
            leaf.key(),
            "",
            "gateway_certificate_file",
        ),
        (leaf.key(), leaf.key(), "", "gateway_certificate_file"),
        (leaf.pem, "", "", "gateway_certificate_key_file"),
        (leaf.pem, leaf.pem, "", "gateway_certificate_key_file"),
        (leaf.pem, leaf.key("secret"), "", "gateway_certificate_key_file"),
        (leaf.pem, leaf.key(), "rubbish", "gateway_ca_file"),
    ):
        (problem,) = problems(chain, key, authority)
        assert problem.startswith(f"error: {setting} "), problem
        assert "PRIVATE KEY-----\nM" not in problem


def test_a_key_with_a_passphrase_is_called_that(issue: Issue, middle: Any) -> None:
    leaf = issue("leaf", NAMES, middle)
    (problem,) = problems(leaf.pem, leaf.key("secret"))
    assert "has a passphrase" in problem


def test_everything_wrong_is_told_at_once(issue: Issue, middle: Any) -> None:
    leaf, other = issue("leaf", None, middle, days=(-9, -1)), issue("other")
    assert len(problems(leaf.pem, other.key())) == 3
