# SPDX-License-Identifier: MIT
"""What is masked in logs is what rows mark as secret."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.selfhosted.trigger_dev.plugins.filter.redact import redact
from ansible_collections.selfhosted.trigger_dev.plugins.lookup import secret_values
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import Row, load_rows


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(__file__).parents[4]


def values(variables: dict[str, object]) -> list[str]:
    """Run the lookup on a host with these variables."""
    templar = Templar(loader=DataLoader(), variables=variables)
    return secret_values.LookupModule(loader=DataLoader(), templar=templar).run([], variables)


def test_every_secret_row_is_masked() -> None:
    rows = {
        name: row for role, all_of in load_rows().items() if role != "compose_project" for name, row in all_of.items()
    }
    secret = {name: f"value of {name}" for name, row in rows.items() if row.get("secret")}
    assert len(secret) > 15
    assert sorted(values({**secret, "webapp_port": 8030, "foreign": "x"})) == sorted(secret.values())


def test_an_invented_row_is_masked_by_its_mark_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row: Row = {"description": "Key of something new.", "type": "str", "default": "", "secret": True, "reason": "Any."}
    path = tmp_path / "roles/webapp/meta/settings.yml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"settings": {"webapp_new_thing": row, "webapp_name": {**row, "secret": False}}}))
    monkeypatch.setattr(secret_values, "load_rows", lambda: load_rows(tmp_path / "roles"))
    given = values({"webapp_new_thing": "hunter2-hunter2", "webapp_name": "not-secret"})
    assert redact("log: hunter2-hunter2 not-secret", given) == "log: *** not-secret"


def test_every_text_that_is_redacted_is_redacted_of_all_secret_settings(root: Path) -> None:
    redacted = []
    for path in root.glob("roles/*/tasks/*.yml"):
        named = dict(re.findall(r"^ *(__\w+): (.*)$", path.read_text(), re.MULTILINE))
        for found in re.findall(r"trigger_dev[.]redact\((.*)\)", path.read_text()):
            assert "secret_values" in named.get(found, found), path.name
            redacted.append(path.name)
    assert redacted


def test_values_are_those_that_expressions_come_to() -> None:
    found = values(
        {
            "webapp_smtp_password": trust_as_template("{{ vault }}"),
            "webapp_extra_env": {"webapp": {"S2_ACCESS_TOKEN": trust_as_template("{{ vault }}-2"), "PORT": "3000"}},
            "webapp_metrics_password": trust_as_template("{{ nothing }}"),
            "vault": "hunter2-hunter2",
        }
    )
    assert found == ["hunter2-hunter2", "hunter2-hunter2-2"]
