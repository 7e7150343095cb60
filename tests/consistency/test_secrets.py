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


def test_every_secret_can_be_replaced(rendered: dict[str, dict[str, Any]], root: Path) -> None:
    """A new secret needs its row, its choice in the setting, its words in the document, and somebody who has it."""
    names = set(rendered["bundled"]["lengths"])
    rows = rendered["bundled"]["rotations"]
    assert set(rows) == names
    for name, row in rows.items():
        assert set(row) <= {"external", "setting", "workers", "effect"}, name
        assert row.get("workers", "paused") in ("paused", "together"), name
        assert ("external" in row) == ("setting" in row), name
    held = {secret for service in services(root).values() for secret in service.get("secrets", [])}
    assert names - held == {"registry_password", "registry_pull_password", "backup_key"}
    assert held <= names
    settings = yaml.safe_load((root / "roles/secrets_rotate/meta/settings.yml").read_text())["settings"]
    assert set(settings["secrets_rotate_names"]["elements"]["choices"]) == names
    told = re.findall(r"^\| (`.*?) \|", (root / "docs/secrets.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(told))) == names


def services(root: Path) -> dict[str, Any]:
    text = (root / "roles/webapp/vars/main/services.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["__webapp_services"]
    return found


# Parts of expressions that hold a secret, and which.
READERS = {f"__webapp_passwords.{name}": f"{name}_password" for name in ("postgres", "redis", "clickhouse")} | {
    f"__webapp_passwords.{name}": name for name in ("object_store_access_key", "object_store_secret_key")
}


def test_a_service_names_the_secrets_that_it_holds(rendered: dict[str, dict[str, Any]], root: Path) -> None:
    """One that is forgotten would leave the service with the old value, or the webapp running meanwhile."""
    folder = root / "roles/webapp/vars/main"
    variables: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yml")):
        variables |= yaml.safe_load(path.read_text())
    readers = READERS | {f"__trigger_secret_values.{name}": name for name in rendered["bundled"]["lengths"]}
    readers["__webapp_passwords.object_store_root"] = "object_store_root_password"

    def held(value: object, seen: frozenset[str] = frozenset({"__webapp_passwords"})) -> set[str]:
        """Follow the names of variables down to the secrets."""
        text = yaml.safe_dump(value)
        found = {secret for words, secret in readers.items() if re.search(rf"{re.escape(words)}\b", text)}
        for name in set(re.findall(r"\b__webapp_\w+", text)) & set(variables) - seen:
            found |= held(variables[name], seen | {name})
        return found

    for name, row in services(root).items():
        parts = {key: row[key] for key in ("environment", "files") if key in row}
        assert held(parts, frozenset({"__webapp_passwords", "__webapp_services"})) == set(row.get("secrets", [])), name


def test_workers_are_moved_with_the_secrets_that_they_read(rendered: dict[str, dict[str, Any]], root: Path) -> None:
    rows = rendered["bundled"]["rotations"]
    worker = (root / "roles/supervisor/tasks/secrets.yml").read_text()
    assert {name for name, row in rows.items() if "workers" in row and name != "registry_pull_password"} == set(
        re.findall(r"names: \[(\w+),", worker)
    )


def test_an_external_service_keeps_its_secret(rendered: dict[str, dict[str, Any]]) -> None:
    outside = {name for name, row in rendered["external"]["rotations"].items() if row.get("external")}
    assert outside == {"postgres_password"}
    assert not [name for name, row in rendered["bundled"]["rotations"].items() if row.get("external")]
