# SPDX-License-Identifier: MIT
"""What follows from the rows of secrets: their lengths, where an installation shows them, which may not change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

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
            "rotations": "__trigger_secret_rotations",
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


SERVICES = {
    "webapp",
    "electric",
    "trigger-postgres",
    "trigger-redis",
    "trigger-clickhouse",
    "trigger-seaweedfs",
    "trigger-minio",
}


def test_every_secret_can_be_replaced(rendered: dict[str, dict[str, Any]], root: Path) -> None:
    """A new secret needs its row, its choice in the setting, and its words in the document."""
    names = set(rendered["bundled"]["lengths"])
    rows = rendered["bundled"]["rotations"]
    assert set(rows) == names
    for name, row in rows.items():
        assert set(row) <= {"services", "external", "setting", "workers", "effect"}, name
        assert set(row.get("services", [])) <= SERVICES, name
        assert row.get("workers", "paused") in ("paused", "together"), name
        assert ("external" in row) == ("setting" in row), name
        assert row.get("services") or name.startswith("registry_") or name == "backup_key", (
            f"nothing is brought to {name}"
        )
    settings = yaml.safe_load((root / "roles/secrets_rotate/meta/settings.yml").read_text())["settings"]
    assert set(settings["secrets_rotate_names"]["elements"]["choices"]) == names
    told = re.findall(r"^\| (`.*?) \|", (root / "docs/secrets.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(told))) == names


def test_readers_of_a_secret_start_anew_with_it(rendered: dict[str, dict[str, Any]], root: Path) -> None:
    """What is in the environment of the webapp is one of its secrets; a forgotten row would leave it the old one."""
    text = (root / "roles/webapp/vars/main/environment.yml").read_text()
    rows = rendered["bundled"]["rotations"]
    of_webapp = set(re.findall(r"__trigger_secret_values\.(\w+)", text))
    of_webapp |= {f"{name}_password" for name in ("postgres", "redis", "clickhouse")}
    of_webapp |= {"object_store_access_key", "object_store_secret_key"}
    assert {name for name in of_webapp if "webapp" not in rows[name]["services"]} == set()
    worker = (root / "roles/supervisor/tasks/secrets.yml").read_text()
    assert {name for name, row in rows.items() if "workers" in row and name != "registry_pull_password"} == set(
        re.findall(r"names: \[(\w+),", worker)
    )


def test_an_external_service_keeps_its_secret(rendered: dict[str, dict[str, Any]]) -> None:
    outside = {name for name, row in rendered["external"]["rotations"].items() if row.get("external")}
    assert outside == {"postgres_password"}
    assert not [name for name, row in rendered["bundled"]["rotations"].items() if row.get("external")]
