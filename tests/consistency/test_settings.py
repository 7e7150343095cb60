# SPDX-License-Identifier: MIT
"""docs/settings.md against the roles, and generated files against their rows: every row tells the truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.settings import generated

PUBLIC = re.compile(r"(?<![\w.])(?:trigger_secrets\.[a-z_]+|(?:webapp|trigger|registry)_[a-z0-9_]+)")
INTERNAL = re.compile(r"(?<![\w.])(__(?:webapp|trigger|registry)_[a-z0-9_]+)((?:\.[a-z_]+)?)")


def load(path: Path) -> dict[str, Any]:
    """Read a YAML file."""
    content: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    return content


@pytest.fixture(scope="module")
def internal(root: Path) -> dict[str, Any]:
    """The internal variables of the roles of the control host, as they stand there."""
    found: dict[str, Any] = {}
    for role in ("trigger", "webapp", "registry"):
        for path in sorted((root / "roles" / role / "vars").rglob("*.yml")):
            found |= load(path)
    return found


@pytest.fixture(scope="module")
def public(root: Path) -> set[str]:
    """Every variable that an operator may set."""
    return set().union(*(load(path) for path in root.glob("roles/*/defaults/main.yml")))


@pytest.fixture(scope="module")
def rows(root: Path) -> dict[str, tuple[set[str], str]]:
    """Name of upstream's -> our variables and the words of its row."""
    found: dict[str, tuple[set[str], str]] = {}
    for line in (root / "docs/settings.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| `") else []
        for name in re.findall(r"`([A-Z][A-Za-z0-9_]*)`", cells[0]) if cells else []:
            assert name not in found, f"{name} has two rows"
            found[name] = (set(re.findall(r"`([a-z0-9_.]+)`", cells[1])), cells[2])
    return found


def variables(text: str, internal: dict[str, Any]) -> set[str]:
    """Name the public variables that decide an expression, through internal ones too."""
    found: set[str] = set()
    for expression in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL):
        bare = re.sub(r"'[^']*'|selfhosted\.trigger_dev\.\w+", "", expression)
        found |= set(PUBLIC.findall(bare))
        for name, key in INTERNAL.findall(bare):
            if name == "__trigger_secret_values":
                found.add(f"trigger_secrets{key}")
            elif name == "__webapp_memory_mib":
                # Unless it is set, the host decides, with all that shares it.
                found.add(internal["__webapp_services"][key[1:]]["memory"]["setting"])
            else:
                inner = internal.get(name, "")
                part = inner.get(key[1:], inner) if isinstance(inner, dict) else inner
                found |= (
                    variables(str(part), internal) if name not in ("__trigger_features", "__trigger_engine") else set()
                )
    return found


def test_every_name_has_a_row(rows: dict[str, tuple[set[str], str]], internal: dict[str, Any]) -> None:
    listed = (Path(__file__).parent / "upstream_names.txt").read_text().splitlines()
    wanted = {name for line in listed if not line.startswith("#") for name in line.split()}
    assert len(wanted) > 100
    wanted |= set(internal["__webapp_environment"])
    assert sorted(wanted - set(rows)) == []


def test_rows_name_what_decides_the_variable(
    rows: dict[str, tuple[set[str], str]], internal: dict[str, Any], public: set[str]
) -> None:
    for name, expression in internal["__webapp_environment"].items():
        wanted = {each for each in variables(str(expression), internal) if each in public or "." in each}
        assert rows[name][0] == wanted, f"{name}: {' '.join(f'`{each}`' for each in sorted(wanted))}"


def test_rows_name_variables_that_exist(
    rows: dict[str, tuple[set[str], str]], internal: dict[str, Any], public: set[str]
) -> None:
    secrets = {f"trigger_secrets.{name}" for name in internal["__trigger_secrets"]}
    services = {"webapp_extra_env." + name for name in internal["__webapp_services"]}
    for name, (named, words) in rows.items():
        assert named <= public | secrets | services, name
        assert named or words, f"{name} has no variable, and the row does not say why"


def test_every_variable_of_a_role_stands_in_the_document(root: Path, public: set[str]) -> None:
    """What upstream has no name for stands in the document as well."""
    text = (root / "docs/settings.md").read_text()
    roles = ("webapp_", "registry_", "runner_firewall_", "task_images_")
    missing = [name for name in sorted(public) if name.startswith(roles) and f"`{name}`" not in text]
    assert missing == []


def test_what_follows_from_the_rows_is_fresh(root: Path) -> None:
    stale = [str(path.relative_to(root)) for path, text in generated(root).items() if path.read_text() != text]
    assert stale == [], "run `make generate`"
