# SPDX-License-Identifier: MIT
"""What the end of a worker or an installation leaves behind, and what is said when a worker comes back too soon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases

LOGS = {
    "refused": "Error: 401 Invalid or missing worker token",
    "removed": "connect: Internal Server Error",
    "quiet": "",
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is said of each log."""
    return render_cases(
        tmp_path_factory.mktemp("removed"),
        *("trigger", "supervisor"),
        host="one.example.com",
        wanted={"said": "__supervisor_removed_lately"},
        cases={name: {"__supervisor_log": {"stdout": text, "stderr": ""}} for name, text in LOGS.items()},
    )


def test_a_worker_that_comes_back_too_soon_is_told_so(rendered: dict[str, dict[str, Any]]) -> None:
    assert {name: bool(case["said"]) for name, case in rendered.items()} == {
        "refused": False,
        "removed": True,
        "quiet": False,
    }
    for words in ("one.example.com", "10 minutes", "docker restart trigger-webapp-webapp-1"):
        assert words in rendered["removed"]["said"]


@pytest.mark.parametrize("entry", ["absent", "decommissioned"])
def test_the_gateway_closes_to_a_worker_that_goes(root: Path, entry: str) -> None:
    tasks = root / "roles/supervisor/tasks"
    last = yaml.safe_load((tasks / f"{entry}.yml").read_text())[-1]
    assert "unregister" in str(last)
    assert last["when"] == "__supervisor_staying | length == 0"
    (row,) = yaml.safe_load((tasks / "unregister.yml").read_text())
    assert row["ansible.builtin.include_role"]["tasks_from"] == "client_absent"


def test_secrets_and_the_ca_stay_with_the_data(tmp_path: Path) -> None:
    """A folder is no regular expression: + and . in its name stand for themselves."""
    folders = ["/opt/trigger", "/opt/trigger+prod", "/srv/a.b"]
    kept = render_cases(
        tmp_path,
        *("trigger", "uninstall"),
        host="one.example.com",
        wanted={"kept": "__uninstall_kept", "named": "__uninstall_named"},
        cases={folder: {"trigger_directory": folder} for folder in folders},
    )
    for folder in folders:
        assert {f"{folder}/secrets.json", f"{folder}/secrets.json.previous"} < set(kept[folder]["kept"])
        assert any(path.startswith(f"{folder}/ca") for path in kept[folder]["kept"])
        # Without its record the data from before an upgrade is a volume that nobody knows.
        records = ("postgres_upgrade", "object_store_moved", "adopt", "upgrade", "restore")
        assert {f"{folder}/backup/{name}.json" for name in records} < set(kept[folder]["kept"])
        assert not any("/backup/" in path for path in kept[folder]["named"])
    elsewhere = {"trigger_directory": "/srv/a.b", "trigger_secrets_file": "/srv/a-b/secrets.json"}
    other = render_cases(
        tmp_path,
        *("trigger", "uninstall"),
        host="one.example.com",
        wanted={"kept": "__uninstall_kept"},
        cases={"elsewhere": elsewhere},
    )
    assert not [path for path in other["elsewhere"]["kept"] if path.startswith("/srv/a-b/")]
