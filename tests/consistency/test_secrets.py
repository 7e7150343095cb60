# SPDX-License-Identifier: MIT
"""What follows from the rows of secrets: their lengths, where an installation shows them, which may not change."""

from __future__ import annotations

import ast
import base64
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import load_rows

from testbed.expected_secrets import SECRET_NAMES, VARIABLES
from tests.additions import copy
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
    """Its row says how, and somebody has it."""
    names = set(rendered["bundled"]["lengths"])
    rows = rendered["bundled"]["rotations"]
    assert set(rows) == names
    for name, row in rows.items():
        assert set(row) <= {"how", "external", "setting", "workers", "effect"}, name
        assert row["how"], name
        assert row.get("effect", ".").endswith("."), name
        assert row.get("workers", "paused") in ("paused", "together"), name
        assert ("external" in row) == ("setting" in row), name
    held = {secret for names in holders(root).values() for secret in names}
    for name in names - held:
        assert roles_that_read(root, name), f"{name} is generated, and no role reads it"
    assert set(told(root, "# Secrets")) == names


def roles_that_read(root: Path, name: str) -> set[str]:
    """Name the roles that read a secret."""
    paths = [
        path for kind in ("vars", "tasks", "templates") for path in root.glob(f"roles/*/{kind}/**/*") if path.is_file()
    ]
    found = {path.relative_to(root).parts[1] for path in paths if re.search(rf"\b{name}\b", path.read_text())}
    return found - {"trigger", "secrets_rotate"}


def told(root: Path, heading: str) -> dict[str, str]:
    """Give the first cell of each row of the table below a heading of the document, by name: how it is replaced."""
    _, found, text = f"\n{(root / 'docs/secrets.md').read_text()}".partition(f"\n{heading}")
    assert found, heading
    rows = re.findall(r"^\| (`.*?) \| (.*?) \| .* \|$", text.partition("\n## ")[0], re.MULTILINE)
    names = [(name, how) for cell, how in rows for name in re.findall(r"`(\w+)`", cell)]
    assert len(names) == len(dict(names)), "a secret stands twice in the table"
    return dict(names)


def test_every_other_secret_is_refused_with_what_replaces_it(root: Path, tmp_path: Path) -> None:
    """Settings that are secret, and the worker token: nothing is missing in the document, and both say the same."""
    roles = {path.parents[1].name: yaml.safe_load(path.read_text()) for path in root.glob("roles/*/meta/settings.yml")}
    settings = {
        name
        for document in roles.values()
        if not document.get("internal")
        for name, row in document["settings"].items()
        # What trigger_secrets has stands in the other table.
        if row.get("secret") and name != "trigger_secrets"
    }
    assert len(settings) > 20
    ways = told(root, "## Other secrets")
    assert set(ways) == settings | {"worker_token"}
    # Playbooks of the document -> what they replace.
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, how in ways.items():
        words = re.findall(r"`(\w+)`", how.replace("as above", "`site`"))
        groups.setdefault(tuple(word for word in words if word != name), []).append(name)
    parts = ("named_others", "named_settings", "named_deployers", "unknown")
    asked = {"-".join(playbooks): names for playbooks, names in groups.items()}
    found = render_cases(
        tmp_path,
        *("trigger", "webapp", "secrets_rotate"),
        host="one.example.com",
        wanted={name: f"__secrets_rotate_{name}" for name in parts},
        cases={
            case: {"secrets_rotate_names": names}
            for case, names in {**asked, "known": ["redis_password"], "misspelt": ["redis_pasword"]}.items()
        },
    )
    assert found["known"] == {"named_others": {}, **{key: [] for key in parts[1:]}}
    assert found["misspelt"]["unknown"] == ["redis_pasword"]
    for playbooks, names in groups.items():
        row = found["-".join(playbooks)]
        assert row["unknown"] == []
        assert sorted([*row["named_others"], *row["named_settings"]]) == sorted(names)
        assert [*row["named_others"].values(), *row["named_deployers"]] == list(playbooks), names
        assert (root / "playbooks" / f"{playbooks[0]}.yml").is_file()


def test_a_test_logs_in_with_each_secret_that_it_replaces(rendered: dict[str, dict[str, Any]], root: Path) -> None:
    """By a dictionary SECRET_LOGINS, or by a tuple SECRET_REQUESTS; `Life.works` refuses names that are in neither."""
    tried: set[object] = set()
    for path in root.glob("molecule/*/tests/*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [ast.unparse(name) for name in getattr(node, "targets", [getattr(node, "target", None)]) if name]
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and {"SECRET_LOGINS", "SECRET_REQUESTS"} & set(names):
                values = node.value.keys if isinstance(node.value, ast.Dict) else ast.walk(node)
                tried |= {value.value for value in values if isinstance(value, ast.Constant)}
    every = set(rendered["bundled"]["lengths"])
    assert tried <= every
    # These the test of rotations looks for in the environment of the webapp.
    assert every - tried <= set(VARIABLES), "no test tells whether these open anything"
    assert every == set(SECRET_NAMES)
    assert len(tried) >= 16, "a secret opened something, and no test logs in with it any more"


def holders(root: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = yaml.safe_load((root / "roles/webapp/vars/main/holders.yml").read_text())[
        "__webapp_secret_holders"
    ]
    return found


def test_a_service_holds_the_secrets_that_its_rendered_files_show(root: Path, tmp_path: Path) -> None:
    """One that is forgotten would leave the service with the old value, or the webapp running meanwhile."""
    values = {name: f"value-of-{name}." for name in SECRET_NAMES}
    base = {
        "trigger_origin": "http://localhost:8030",
        "monitoring_enabled": True,
        "__trigger_secret_file": {"secret_file": {"secrets": values}},
        "__docker_engine_answer": {"stdout": json.dumps({"NCPU": 2, "MemTotal": 32 * 2**30})},
    }
    deployed = "selfhosted.trigger_dev.column('{}', __webapp_deployed) | to_json"
    found = render_cases(
        tmp_path,
        *("trigger", "compose_project", "webapp"),
        host="one.example.com",
        wanted={part: f"__webapp_services | {deployed.format(part)}" for part in ("environment", "files")},
        cases={store: base | {"webapp_object_store": store} for store in ("seaweedfs", "minio")},
    )
    seen: dict[str, set[str]] = {}
    for parts in found.values():
        for service, part in ((service, part) for text in parts.values() for service, part in json.loads(text).items()):
            texts = json.dumps(part)
            # The login for metrics is a header.
            texts += "".join(base64.b64decode(word).decode() for word in re.findall(r"Basic ([\w+/]+=*)", texts))
            seen.setdefault(service, set()).update(name for name, value in values.items() if value in texts)
    assert {name: set(names) for name, names in holders(root).items()} == seen


def test_a_secret_that_a_role_reads_has_a_row(rendered: dict[str, dict[str, Any]], root: Path) -> None:
    """A misspelt one would be empty only where it is used."""
    read = {
        name
        for path in root.glob("roles/*/[vtd]*/**/*")
        if path.suffix in (".yml", ".j2")
        for name in re.findall(r"\b(?:__trigger_secret_values|secret_file[.]secrets)[.](\w+)\b(?!\()", path.read_text())
    }
    assert len(read) >= 14
    assert read - {"worker_token"} <= set(rendered["bundled"]["lengths"])


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


def test_one_row_adds_a_secret(root: Path, tmp_path: Path) -> None:
    """The example of CONTRIBUTING.md: one file is changed, and everything else is generated."""
    changed = copy(tmp_path)
    example = next(
        block
        for block in re.findall(r"```yaml\n(.*?)```", (root / "CONTRIBUTING.md").read_text(), re.DOTALL)
        if "rotation" in block
    )
    path = "roles/trigger/vars/main/secrets.yml"
    changed.add(path, textwrap.indent(textwrap.dedent(example), "  "), before="\n__trigger_webapp_environment_file:")
    assert changed.generate() == {
        "docs/secrets.md",
        "docs/settings.md",
        "roles/adopt/vars/main/names.yml",
        "roles/webapp/vars/main/environment.yml",
        "roles/webapp/vars/main/holders.yml",
    }
    assert "| `example_secret` | the webapp starts with it | Earlier examples are void. |" in changed.text(
        "docs/secrets.md"
    )
    assert "| `EXAMPLE_SECRET` | `trigger_secrets.example_secret` |" in changed.text("docs/settings.md")
    names = changed.read("roles/adopt/vars/main/names.yml")["__adopt_names"]
    assert names["EXAMPLE_SECRET"] == {"to": "trigger_secrets.example_secret"}
    told = {"names": ["example_secret"], "found": "none", "stage": "begun", "resumed": [], "secrets": {}}
    given = {
        "trigger_origin": "http://localhost:8030",
        "__trigger_secret_file": {"secret_file": {"secrets": {"example_secret": "the value"}}},
        "__secrets_rotate_found": told,
        "__secrets_rotate_repository": {"stat": {"exists": False}},
        "secrets_rotate_names": ["example_secret"],
    }
    found = render_cases(
        tmp_path,
        *("trigger", "webapp", "secrets_rotate"),
        host="one.example.com",
        wanted={
            "length": "__trigger_secret_lengths.example_secret",
            "value": "__webapp_environment.EXAMPLE_SECRET",
            "services": "__secrets_rotate_services",
            "effects": "__secrets_rotate_effects",
            "unknown": "__secrets_rotate_unknown",
        },
        cases={"new": given},
        files=[
            tmp_path / path,
            *(tmp_path / f"roles/webapp/vars/main/{name}.yml" for name in ("environment", "holders")),
        ],
    )
    assert found["new"] == {
        "length": 32,
        "value": "the value",
        "services": ["webapp"],
        "effects": ["Earlier examples are void."],
        "unknown": [],
    }


def test_the_diagnosis_masks_every_variable_that_operators_add(tmp_path: Path) -> None:
    """Whatever its name says; the gateway's are in a file that is secret as a whole."""
    settings = {name for rows in load_rows().values() for name in rows if name.endswith("_extra_env")}
    flat = settings - {"gateway_extra_env", "webapp_extra_env"}
    assert len(flat) > 1
    given: dict[str, Any] = {name: {f"OF_{name.upper()}": "value"} for name in flat}
    given["webapp_extra_env"] = {"webapp": {"OF_WEBAPP": "value"}, "trigger-redis": {"OF_REDIS": "value"}}
    told = render_cases(
        tmp_path,
        "diagnose",
        host="one.example.com",
        wanted={"names": "__diagnose_secret_names"},
        cases={"given": given, "none": {}},
    )
    assert set(told["given"]["names"]) == {"OF_WEBAPP", "OF_REDIS"} | {f"OF_{name.upper()}" for name in flat}
    assert told["none"]["names"] == []
