# SPDX-License-Identifier: MIT
"""docs/settings.md against the roles, and generated files against their rows: every row tells the truth."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import load_rows, problems

from testbed.expected_secrets import SECRET_NAMES
from tests.additions import copy
from tests.plays import render_cases
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


@pytest.mark.parametrize("role", ["webapp", "supervisor"])
def test_a_value_that_is_a_setting_as_it_is_stands_in_its_row(root: Path, role: str) -> None:
    """So that a setting is one row: `environment` there, and no line by hand."""
    text = (root / f"roles/{role}/vars/main/environment.yml").read_text()
    by_hand = re.sub(r"  # Written by `make generate`.*?  # End of", "", text, flags=re.DOTALL)
    assert by_hand != text
    form = rf'^  (\w+): "{{{{ ({role}_\w+)(?: \| (?:int|bool|string|lower|float))* }}}}"'
    settings = load(root / f"roles/{role}/meta/settings.yml")["settings"]
    found = re.findall(form, by_hand, re.MULTILINE)
    repeated = [name for name, setting in found if "environment" not in settings[setting]]
    # What a run depends on is apart (__supervisor_connections); one of these settings has two variables.
    connections = {"TRIGGER_API_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "DOCKER_AUTOREMOVE_EXITED_CONTAINERS"}
    ports = {f"TRIGGER_WORKLOAD_API_PORT_{end}" for end in ("INTERNAL", "EXTERNAL")}
    assert set(repeated) == (connections | ports if role == "supervisor" else set())


def test_one_row_adds_a_setting(root: Path, tmp_path: Path) -> None:
    """The example of CONTRIBUTING.md: one file is changed, and everything else is generated."""
    changed = copy(tmp_path)
    example, *_ = re.findall(r"```yaml\n(.*?)```", (root / "CONTRIBUTING.md").read_text(), re.DOTALL)
    changed.add("roles/webapp/meta/settings.yml", f"\n{textwrap.indent(textwrap.dedent(example), '  ')}")
    assert changed.generate() == {
        "docs/settings.md",
        "roles/adopt/vars/main/names.yml",
        *(f"roles/webapp/{name}" for name in ("README.md", "defaults/main.yml", "meta/argument_specs.yml")),
        "roles/webapp/vars/main/environment.yml",
    }
    assert "| `EXAMPLE_LIMIT` | `webapp_example_limit` |" in changed.text("docs/settings.md")
    assert "| `webapp_example_limit` | int, 1 to 1000 | `100` |" in changed.text("roles/webapp/README.md")
    specs = changed.read("roles/webapp/meta/argument_specs.yml")["argument_specs"]
    assert specs["main"]["options"]["webapp_example_limit"]["type"] == "int"
    names = changed.read("roles/adopt/vars/main/names.yml")["__adopt_names"]
    assert names["EXAMPLE_LIMIT"] == {"to": "webapp_example_limit", "as": "int"}
    (row,) = [row for role in load_rows(tmp_path / "roles").values() for name, row in role.items() if "example" in name]
    assert list(problems("webapp_example_limit", 1001, row))
    base = {"trigger_origin": "http://localhost:8030", "__trigger_engine": {}}
    secrets = {"__trigger_secret_file": {"secret_file": {"secrets": dict.fromkeys(SECRET_NAMES, "x")}}}
    found = render_cases(
        tmp_path,
        *("trigger", "compose_project", "webapp"),
        host="control.example.com",
        wanted={"value": "__webapp_environment.EXAMPLE_LIMIT"},
        cases={"usual": base | secrets, "given": base | secrets | {"webapp_example_limit": "250"}},
        files=[tmp_path / f"roles/webapp/{name}.yml" for name in ("defaults/main", "vars/main/environment")],
    )
    assert found == {"usual": {"value": 100}, "given": {"value": 250}}
