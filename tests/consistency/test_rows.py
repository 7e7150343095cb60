# SPDX-License-Identifier: MIT
"""Rows of settings (roles/*/meta/settings.yml): each says which values are right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import FORMATS
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import KEYS, TYPES, Row, load_rows

from tools.tables import entries

ROWS: dict[str, Row] = {name: row for role in load_rows().values() for name, row in role.items()}
SECRET = re.compile(r"_(secret|secrets|password|token|key)$")


def inside(name: str, row: Row) -> Iterator[tuple[str, Row]]:
    """Give a row and all that it has inside."""
    yield name, row
    for key in ("elements", "values"):
        if key in row:
            yield from inside(f"{name}.{key}", row[key])
    for key, inner in row.get("options", {}).items():
        yield from inside(f"{name}.{key}", inner)


EVERY = dict(pair for name, row in ROWS.items() for pair in inside(name, row))


def test_every_role_has_rows(root: Path) -> None:
    assert set(load_rows()) == {
        path.name for path in (root / "roles").iterdir() if (path / "defaults/main.yml").exists()
    }


@pytest.mark.parametrize("name", EVERY)
def test_a_row_says_which_values_are_right(name: str) -> None:
    row = EVERY[name]
    assert set(row) <= KEYS
    assert row["type"] in TYPES
    assert len(row.get("description", "long enough")) > 4
    if row["type"] in ("int", "float"):
        low, high = row["range"]
        assert low <= high
    elif row["type"] in ("str", "path"):
        assert {"choices", "format", "reason", "length"} & set(row), (
            "neither choices nor a format, nor why any text is right"
        )
        assert row.get("format", "name") in FORMATS
    elif row["type"] == "list":
        assert "elements" in row
    elif row["type"] == "dict":
        assert {"options", "values"} & set(row)
    elif row["type"] == "raw":
        assert row["reason"]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_complete(name: str) -> None:
    row = ROWS[name]
    assert row["description"].endswith(".")
    assert ("default" in row) != bool(row.get("required")), "a setting has a default or is required"
    if SECRET.search(name) or (name.endswith("_extra_env") and name.startswith(("webapp", "gateway", "registry"))):
        assert row.get("secret"), "its name says that it is a secret"


def test_names_of_upstream_are_well_formed(root: Path) -> None:
    """A name has one answer: settings here, or the reason why there is none."""
    documents = {
        path.parents[1].name: yaml.safe_load(path.read_text()) for path in root.glob("roles/*/meta/settings.yml")
    }
    set_here = {name for row in ROWS.values() for name, _, _ in entries(row.get("also_known_as", []))}
    without = [entry for document in documents.values() for entry in entries(document.get("without_setting", []))]
    assert len(set_here) > 100
    for name, key, note in without:
        assert note, f"{name}: say why nothing sets it"
        assert not key, name
    everything = [name for name, _, _ in without]
    assert len(everything) == len(set(everything))
    assert set_here.isdisjoint(everything)
    for name in {*set_here, *everything}:
        assert re.fullmatch("[A-Z][A-Z0-9_]+|(?:http|https|no)_proxy", name), name


def test_every_reservation_is_held_against_its_limit(root: Path) -> None:
    rules = yaml.safe_load((root / "roles/registry/vars/main/rules.yml").read_text())["__registry_rules"]
    held = {name: rule["at_most"] for rule in rules if "at_most" in rule for name in rule["settings"]}
    # Those of the webapp follow from the rows of its services.
    services = yaml.safe_load((root / "roles/webapp/vars/main/services.yml").read_text())["__webapp_services"]
    for row in services.values():
        limit = row["memory"]["setting"]
        held[limit.replace("_memory_", "_memory_reservation_")] = limit
    wanted = {name: name.replace("_memory_reservation_", "_memory_") for name in ROWS if "_memory_reservation_" in name}
    assert wanted.items() <= held.items()
