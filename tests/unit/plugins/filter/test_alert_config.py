# SPDX-License-Identifier: MIT
"""Alertmanager's configuration holds no secret, and each receiver gets what it asks for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.filter.alert_config import (
    SLACK_TEXT,
    SLACK_TITLE,
    alert_config,
)

from tests.prometheus import amtool

SLACK = "https://hooks.slack.com/services/T0/B0/hunter2"
SMTP = {"host": "mail.example.com", "port": 587, "sender": "t@example.com", "username": "", "password": "", "tls": True}


@pytest.mark.parametrize(
    ("host", "told"), [("mail.example.com", "mail.example.com:587"), ("2001:db8::7", "[2001:db8::7]:587")]
)
def test_an_address_of_ipv6_stands_in_brackets_before_its_port(host: str, told: str) -> None:
    config = alert_config([], "/etc/alertmanager", SMTP | {"host": host})["config"]
    assert config["global"]["smtp_smarthost"] == told


@pytest.mark.parametrize(
    ("port", "tls", "starttls"),
    [(587, True, True), ("587", True, True), (25, False, False), (465, True, False), ("465", True, False)],
)
def test_starttls_is_demanded_where_tls_does_not_come_first(port: int | str, tls: bool, starttls: bool) -> None:
    config = alert_config([], "/etc/alertmanager", SMTP | {"port": port, "tls": tls})["config"]
    assert config["global"]["smtp_require_tls"] is starttls


def test_secrets_are_in_files() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "mail", "mail_to": ["a@example.com", "b@example.com"], "resolved": False},
        {"name": "chat", "slack_webhook_url": SLACK, "slack_channel": "#ops", "severities": ["critical", "warning"]},
        {"name": "hook", "webhook_url": "https://x.example.com/hunter2", "webhook_token": "hunter2"},
    ]
    smtp = SMTP | {"username": "trigger", "password": "hunter2"}
    found = alert_config(rows, "/etc/alertmanager", smtp, 5, 3)
    config = found["config"]
    assert "hunter2" not in str(config)
    assert found["files"] == {
        "smtp_password": "hunter2",
        "chat.url": SLACK,
        "hook.url": "https://x.example.com/hunter2",
        "hook.token": "hunter2",
    }
    assert config["global"]["smtp_auth_password_file"] == "/etc/alertmanager/smtp_password"
    assert config["receivers"][1]["email_configs"] == [{"to": "a@example.com, b@example.com", "send_resolved": False}]
    assert config["route"]["routes"][1] == {
        "receiver": "chat",
        "continue": True,
        "matchers": ['severity=~"critical|warning"'],
    }
    assert config["route"]["group_wait"] == "5s"
    assert config["route"]["repeat_interval"] == "3h"


def test_without_receivers_alerts_go_nowhere() -> None:
    found = alert_config([], "/etc/alertmanager", {})
    assert found["files"] == {}
    assert found["config"]["receivers"] == [{"name": "nobody"}]
    assert found["config"]["route"]["receiver"] == "nobody"


DISK = {
    "status": "firing",
    "labels": {"alertname": "TriggerDiskFull", "host": "c", "severity": "critical"},
    "annotations": {"summary": "A disk of c is full", "description": "97% are used.", "runbook_url": "https://x/#disk"},
}
BACKUP = {
    "status": "resolved",
    "labels": {"alertname": "TriggerBackupFailed", "host": "c", "severity": "warning"},
    "annotations": {"summary": "The last backup failed", "description": "It failed.", "runbook_url": "https://x/#b"},
}
OWN = {"status": "firing", "labels": {"alertname": "Own"}, "annotations": {}}


@pytest.mark.parametrize(
    ("alerts", "title", "lines"),
    [
        ([DISK], "1 wrong: c", ["*A disk of c is full* (critical)", "97% are used.", "<https://x/#disk|What to do>"]),
        (
            [DISK, BACKUP],
            "1 wrong: c",
            [
                *("*A disk of c is full* (critical)", "97% are used.", "<https://x/#disk|What to do>"),
                "Over: The last backup failed",
            ],
        ),
        ([BACKUP], "Over: c", ["Over: The last backup failed"]),
        ([OWN], "1 wrong", ["*Own*"]),
    ],
    ids=["firing", "both", "over", "own"],
)
def test_a_message_in_slack_says_what_is_wrong_and_where_the_cure_is(
    tmp_path: Path, alerts: list[dict[str, Any]], title: str, lines: list[str]
) -> None:
    """As Alertmanager's own tool fills in the templates."""
    firing = any(each["status"] == "firing" for each in alerts)
    labels = {"host": "c"} if "host" in alerts[0]["labels"] else {}
    data = tmp_path / "data.json"
    data.write_text(
        json.dumps({"status": "firing" if firing else "resolved", "commonLabels": labels, "alerts": alerts})
    )
    (tmp_path / "none.tmpl").touch()

    def filled(template: str) -> str:
        words = ("template", "render", f"--template.glob={tmp_path}/*.tmpl", f"--template.data={data}")
        argv = [str(amtool()), *words, f"--template.text={template}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).rstrip("\n")

    assert filled(SLACK_TITLE) == title
    assert filled(SLACK_TEXT).splitlines() == lines


def test_alertmanager_accepts_it(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "mail", "mail_to": "a@example.com"},
        {"name": "chat", "slack_webhook_url": SLACK, "slack_channel": "#ops", "severities": ["critical"]},
    ]
    # Without a webhook: Debian's amtool may be older than 0.26, from which on its address may be in a file.
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(alert_config(rows, str(tmp_path), SMTP)["config"]))
    done = subprocess.run([amtool(), "check-config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (slack,) = (
        row["slack_configs"][0] for row in yaml.safe_load(file.read_text())["receivers"] if row["name"] == "chat"
    )
    assert (slack["title"], slack["text"], slack["fallback"]) == (SLACK_TITLE, SLACK_TEXT, SLACK_TITLE)
