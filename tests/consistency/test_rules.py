# SPDX-License-Identifier: MIT
"""What the settings of a role need of each other stands in one file of the role, by the rules of setting_problems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.lookup.setting_problems import key_problem
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import load_rows

from testbed.common import ROOT
from tests.consistency.test_failures import TASKS, flat

FILES = sorted((ROOT / "roles").glob("*/vars/main/rules.yml"))
ROWS = {name: row for rows in load_rows().values() for name, row in rows.items()}


def names(value: str | list[str]) -> list[str]:
    """Give the settings that a key of a rule names."""
    return [value] if isinstance(value, str) else value


def rules(path: Path) -> Iterator[dict[str, Any]]:
    """Give the rules of a file. Lists that an expression makes are tested with what they are made of."""
    for name, value in yaml.safe_load(path.read_text()).items():
        if name.endswith("_rules") and isinstance(value, list):
            yield from value


def test_every_role_with_rules_is_there() -> None:
    roles = {path.parents[2].name for path in FILES}
    assert {"trigger", "webapp", "gateway", "registry", "registry_client", "supervisor"} <= roles


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.parents[2].name))
def test_rules_have_the_right_keys_and_name_settings(path: Path) -> None:
    found = list(rules(path))
    assert found
    for rule in found:
        assert key_problem(rule) == ""
        needed = [*rule.get("needs", []), *rule.get("needs_any", []), *rule.get("with", {})]
        # One entry of a setting is written with a dot.
        wanted = {name.partition(".")[0] for name in [*names(rule.get("settings", [])), *needed]}
        assert wanted <= ROWS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.parents[2].name))
def test_no_message_shows_a_secret(path: Path) -> None:
    for rule in rules(path):
        shown = [*rule.get("with", {}), *(names(rule["settings"]) if "at_most" in rule else [])]
        assert [name for name in shown if ROWS[name].get("secret")] == []
        # The keys of a dictionary are no secrets.
        secret = re.findall(r"{{ *(\w+)(?![\w.])", rule.get("message", ""))
        assert [name for name in secret if ROWS.get(name, {}).get("secret")] == []


def test_rules_stand_nowhere_else(files: dict[str, str]) -> None:
    others = [
        path
        for path, text in files.items()
        if path.startswith("roles/")
        and path.endswith(".yml")
        and not path.endswith("/vars/main/rules.yml")
        and re.search(r"^ *(- )?wrong:|trigger_dev[.]setting_problems", text, flags=re.MULTILINE)
    ]
    assert others == []


def test_problems_are_computed_once() -> None:
    """An assertion computes its message even where it passes, and with it the problems once more."""
    computed = re.compile(r"\b__\w+_(?:problems|faults)\b")
    found = [
        (path.relative_to(ROOT).as_posix(), task["name"])
        for path in TASKS
        for task in flat(yaml.safe_load(path.read_text()) or [])
        if (check := task.get("ansible.builtin.assert"))
        if {*computed.findall(str(check["that"]))} & {*computed.findall(check["fail_msg"])}
    ]
    # It has another condition too, which says itself what is wrong, and joins what is collected before.
    assert found == [("roles/webapp/tasks/settings.yml", "Check that settings and environment fit together")]
