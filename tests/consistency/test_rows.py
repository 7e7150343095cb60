# SPDX-License-Identifier: MIT
"""Rows of settings (roles/*/meta/settings.yml): each says which values are right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import FORMATS
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import KEYS, TYPES, Row, load_rows

from tools.tables import entries, known_as

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


# Whom these lead to is not called from a container, or rules judge where they lead.
ANY_PLACE = {
    *("trigger_origin", "trigger_login_origin", "uninstall_confirm", "monitoring_grafana_origin"),  # browsers
    *("webapp_dev_otel_endpoint", "webapp_dev_engine_url"),  # the machine of a developer
    "gateway_ca_names.elements",
    # __trigger_inner_addresses
    *("trigger_api_origin", "trigger_stream_origin", "trigger_object_store_origin", "trigger_registry_host"),
}
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


ANYWHERE = ("host", "host_and_port", "origin", "telemetry", "url")


def test_what_containers_call_is_not_themselves() -> None:
    """Each address of another program has a format that refuses localhost, or stands above with its reason."""
    places = {name for name, row in EVERY.items() if row.get("format") in ANYWHERE}
    assert places == ANY_PLACE


def test_secrets_are_of_one_line() -> None:
    """A line break at the end comes from a block of YAML: the secret would be another one than the operator sees."""
    texts = {name for name, row in EVERY.items() if row["type"] == "str" and SECRET.search(name.partition(".")[0])}
    secret = {name for name, row in ROWS.items() if row["type"] == "str" and row.get("secret")}
    other = {name for name in texts | secret if EVERY[name].get("format") not in ("line", "header", "password")}
    # These are XML and JSON, and what roles give.
    fixed = {name for name in EVERY if re.search("_auth_headers$|^webapp_clickhouse_extra_", name)}
    assert other == fixed | {"compose_project_secrets.elements"}


def test_names_of_upstream_are_well_formed(root: Path) -> None:
    """A name has one answer: settings here, or the reason why there is none."""
    documents = {
        path.parents[1].name: yaml.safe_load(path.read_text()) for path in root.glob("roles/*/meta/settings.yml")
    }
    set_here = {name for row in ROWS.values() for name, _, _ in entries(known_as(row))}
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


def explained_keys(text: str) -> list[str]:
    """Give the keys that the comment at the top of a table of rows explains: a word and its meaning, in columns."""
    head, found, _ = text.partition("\n---\n")
    return re.findall(r"^#   ([a-z_]+):? {2,}\S", head if found else "", re.MULTILINE)


def halves(found: Any) -> Iterator[str]:
    """Give keys that are the second half of a text: `{a: one, and two}` has the key `and two`."""
    if isinstance(found, dict):
        yield from (str(key) for key, value in found.items() if value is None and " " in str(key))
    for inner in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from halves(inner)


def test_no_text_is_cut_at_its_comma(files: dict[str, str]) -> None:
    assert list(halves({"a": {"b": "one", "and two": None}})) == ["and two"]
    rows = [name for name in files if name.startswith("roles/") and name.endswith(".yml")]
    assert {name: found for name in rows if (found := list(halves(yaml.safe_load(files[name]))))} == {}


def test_comments_of_tables_explain_keys_that_rows_have(files: dict[str, str]) -> None:
    explained = {name: explained_keys(text) for name, text in files.items() if name.endswith(".yml")}
    assert len([name for name, keys in explained.items() if keys]) > 5
    for name, keys in explained.items():
        # The oldest of several files that share their keys explains them.
        folder = name.rpartition("/")[0] + "/"
        rows = "\n".join(text.partition("\n---\n")[2] for path, text in files.items() if path.startswith(folder))
        assert [key for key in keys if not re.search(rf"\b{key}:", rows)] == [], name
