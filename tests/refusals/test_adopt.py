# SPDX-License-Identifier: MIT
"""What an adoption refuses before anything changes, and what it writes and begins with otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from verification.deployment import Play

from tests.refusals.test_refusals import CHANGE, inventory, run_playbook
from tests.unit.plugins.filter.test_adopted_stack import KEY, stack, translate

PATH = "/opt/old"
OF_PATH = ["-e", f"adopt_path={PATH}"]
INSTALLATION = translate(stack())["installation"]
MINE = {"adopt_installation": INSTALLATION, "trigger_version": "v4.2.0", "trigger_secrets": {"encryption_key": KEY}}
# Playbook, what the old installation is, variables, words of the message.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    "settings-without-a-path": (
        "adopt_settings",
        {"adopt_path": ""},
        {},
        ["adopt_path is not set", "/opt/trigger-dev"],
    ),
    "settings-of-nothing": ("adopt_settings", {}, {"containers": []}, [PATH, "docker compose up"]),
    "settings-of-unknown-files": ("adopt_settings", {}, stack(without="webapp"), [PATH, "community stack"]),
    "settings-of-a-relative-path": ("adopt_settings", {"adopt_path": "old"}, {}, ["adopt_path", "'old'"]),
    "in-our-own-folder": ("adopt_settings", {"adopt_path": "/opt/trigger"}, {}, ["/opt/trigger", "trigger_directory"]),
    "below-our-own-folder": ("adopt", {**MINE, "adopt_path": "/opt/trigger/x"}, {}, ["trigger_directory"]),
    "without-settings": ("adopt", {}, {}, ["playbook adopt_settings", PATH]),
    "of-another-one": ("adopt", {**MINE, "adopt_installation": "0" * 16}, {}, ["another installation", "adopted.yml"]),
    "with-another-key": (
        "adopt",
        {**MINE, "trigger_secrets": {"encryption_key": "f" * 32}},
        {},
        ["trigger_secrets.encryption_key", "adopted_secrets.yml"],
    ),
    "without-a-version": ("adopt", {**MINE, "trigger_version": None}, {}, ["trigger_version is not set"]),
    "several-hosts": ("adopt", MINE, {"postgres": {"version": "17.2", "workers": ["a", "b"]}}, ["2 workers", "a, b"]),
    "later-postgres": ("adopt", MINE, {"postgres": {"version": "19.0", "workers": []}}, ["Postgres 19", "14 to 18"]),
    "taken-back": ("adopt", {**MINE, "adoption": "undoing"}, {}, ["being undone", "adopt-undo"]),
    "ports": ("adopt", {**MINE, "listeners": "8030 nginx"}, {}, ["8030 nginx", "webapp_port"]),
    "good": ("adopt", MINE, {}, [CHANGE]),
    "begun": ("adopt", {**MINE, "adoption": "begun"}, {"containers": []}, [CHANGE]),
}


def begin(folder: Path, playbook: str, values: dict[str, Any], old: dict[str, Any], *options: str) -> Play:
    """Run a playbook against a host that has an old installation."""
    answers: dict[str, Any] = {"stack": {**stack(), **old}}
    answers |= {key: values[key] for key in ("adoption", "listeners") if key in values}
    own = {key: value for key, value in values.items() if value is not None and key not in answers}
    inventory(folder, {"values": {"adopt_path": PATH, "answering_otherwise": answers, **own}})
    return run_playbook(folder, playbook, list(options))


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_reaches_the_first_change(name: str, tmp_path: Path) -> None:
    playbook, values, old, words = CASES[name]
    done = begin(tmp_path, playbook, values, old, "-e", json.dumps({"adopt_directory": str(tmp_path / "all")}))
    assert done.code != 0
    assert len(done.errors) == 1, done.ending()
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert done.changes == []
    assert (CHANGE in done.output) == (CHANGE in words)
    assert not (tmp_path / "all").exists()


def test_settings_are_written_once_and_secrets_shown_never(tmp_path: Path) -> None:
    old = stack(EMAIL_TRANSPORT="smtp", SMTP_HOST="m.test", SMTP_PASSWORD="of-the-mail", APP_ORIGIN="https://a.test")
    folder = tmp_path / "group_vars/all"
    tried = begin(tmp_path, "adopt_settings", {}, old, "--check", "--diff", "-vvv")
    assert tried.code == 0, tried.ending()
    assert not folder.exists()
    first = begin(tmp_path, "adopt_settings", {}, old, "--diff", "-vvv")
    assert first.code == 0, first.ending()
    settings = yaml.safe_load((folder / "adopted.yml").read_text())
    assert settings["trigger_origin"] == "https://a.test"
    assert settings["adopt_path"] == PATH
    secrets = yaml.safe_load((folder / "adopted_secrets.yml").read_text())
    assert secrets["webapp_smtp_password"] == "of-the-mail"
    assert (folder / "adopted_secrets.yml").stat().st_mode & 0o777 == 0o600
    assert "Without meaning here" in first.text
    (folder / "adopted.yml").write_text("---\nmine: 1\n")
    again = begin(tmp_path, "adopt_settings", {}, old)
    assert again.changes == []
    assert (folder / "adopted.yml").read_text() == "---\nmine: 1\n"
    for play in (tried, first, again):
        for secret in ("of-the-mail", KEY, "minio-password"):
            assert secret not in play.output.replace(f'"{KEY}"', KEY), play.ending()


def test_settings_are_translated_while_workers_elsewhere_run(tmp_path: Path) -> None:
    """They would have to stand still until everything else is decided."""
    done = begin(tmp_path, "adopt_settings", {}, {"postgres": {"version": "17.2", "workers": ["a", "b"]}}, "--check")
    assert done.code == 0, done.ending()
    assert "WARNING: 2 workers have called the webapp" in done.text


def test_a_file_that_would_hide_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("---\n{}\n")
    done = begin(tmp_path, "adopt_settings", {}, {})
    assert len(done.errors) == 1, done.ending()
    assert "group_vars/all.yml would hide" in done.message
    assert not (tmp_path / "group_vars/all").exists()
