# SPDX-License-Identifier: MIT
"""What follows from the rows of secrets: their lengths, where an installation shows them, which may not change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plays import render_cases


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The rows as the secrets file needs them, with the bundled Postgres and with an external one."""
    return render_cases(
        tmp_path_factory.mktemp("secrets"),
        *("trigger", "webapp"),
        host="one.example.com",
        wanted={
            "lengths": "__trigger_secret_lengths",
            "in_use": "__trigger_secrets_in_use",
            "fixed": "__trigger_immutable_secrets",
        },
        cases={
            "bundled": {"trigger_origin": "http://localhost:8030"},
            "external": {
                "trigger_origin": "http://localhost:8030",
                "webapp_postgres_url": "postgresql://trigger@db.example.com/trigger",
            },
        },
    )


def test_the_encryption_key_has_the_length_that_the_webapp_takes(rendered: dict[str, dict[str, Any]]) -> None:
    assert rendered["bundled"]["lengths"]["encryption_key"] == 32


def test_a_secret_that_is_shown_has_its_place_and_the_loss(rendered: dict[str, dict[str, Any]]) -> None:
    in_use = rendered["bundled"]["in_use"]
    assert set(in_use) < set(rendered["bundled"]["lengths"])
    assert {frozenset(use) for use in in_use.values()} == {frozenset({"path", "starts", "loss"})}
    assert in_use["encryption_key"]["path"] == "/opt/trigger/webapp/webapp.env"
    assert in_use["registry_password"]["starts"] == "trigger:"


def test_only_an_external_postgres_takes_another_password(rendered: dict[str, dict[str, Any]]) -> None:
    assert set(rendered["bundled"]["fixed"]) == {"postgres_password", "encryption_key"}
    assert set(rendered["external"]["fixed"]) == {"encryption_key"}
