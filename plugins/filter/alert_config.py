# SPDX-License-Identifier: MIT
"""Filter alert_config: receivers of alerts as the configuration of Alertmanager, and the files with their secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._alert_receivers import NOBODY, kind, texts

# Alertmanager's own message in Slack has labels alone, without a text. Its mails and calls of webhooks have all
# annotations. Alerts of one's own rules may lack them.
SLACK_TITLE = (
    '{{ if eq .Status "firing" }}{{ len .Alerts.Firing }} wrong{{ else }}Over{{ end }}'
    "{{ with .CommonLabels.host }}: {{ . }}{{ end }}"
)
SLACK_TEXT = (
    "{{ range .Alerts.Firing }}*{{ or .Annotations.summary .Labels.alertname }}*"
    "{{ with .Labels.severity }} ({{ . }}){{ end }}\n"
    "{{ with .Annotations.description }}{{ . }}\n{{ end }}"
    "{{ with .Annotations.runbook_url }}<{{ . }}|What to do>\n{{ end }}{{ end }}"
    "{{ range .Alerts.Resolved }}Over: {{ or .Annotations.summary .Labels.alertname }}\n{{ end }}"
)

IMPLICIT_TLS_PORT = 465


def _smtp(smtp: Mapping[str, Any], folder: str, files: dict[str, str]) -> dict[str, Any]:
    if not smtp.get("host"):
        return {}
    host = str(smtp["host"])
    found: dict[str, Any] = {
        "smtp_smarthost": f"{f'[{host}]' if ':' in host else host}:{smtp['port']}",
        "smtp_from": smtp["sender"],
        # It means STARTTLS. On this port Alertmanager speaks TLS from the start, and servers do not offer it again.
        "smtp_require_tls": bool(smtp["tls"]) and int(smtp["port"]) != IMPLICIT_TLS_PORT,
    }
    if smtp.get("username"):
        files["smtp_password"] = str(smtp["password"])
        found |= {"smtp_auth_username": smtp["username"], "smtp_auth_password_file": f"{folder}/smtp_password"}
    return found


def _receiver(row: Mapping[str, Any], folder: str, files: dict[str, str]) -> dict[str, Any]:
    name, key, resolved = str(row["name"]), kind(row), bool(row.get("resolved", True))
    if key == "mail_to":
        return {"name": name, "email_configs": [{"to": ", ".join(texts(row[key])), "send_resolved": resolved}]}
    # The address of a webhook is a secret: it is all that a caller needs.
    files[f"{name}.url"] = str(row[key])
    place = f"{folder}/{name}.url"
    if key == "slack_webhook_url":
        config: dict[str, Any] = {"api_url_file": place, "send_resolved": resolved}
        config |= {"title": SLACK_TITLE, "text": SLACK_TEXT, "fallback": SLACK_TITLE}
        if row.get("slack_channel"):
            config["channel"] = str(row["slack_channel"])
        return {"name": name, "slack_configs": [config]}
    config = {"url_file": place, "send_resolved": resolved}
    if row.get("webhook_token"):
        files[f"{name}.token"] = str(row["webhook_token"])
        config["http_config"] = {"authorization": {"credentials_file": f"{folder}/{name}.token"}}
    return {"name": name, "webhook_configs": [config]}


def _route(row: Mapping[str, Any]) -> dict[str, Any]:
    severities = texts(row.get("severities") or [])
    matchers = {"matchers": [f'severity=~"{"|".join(severities)}"']} if severities else {}
    return {"receiver": str(row["name"]), "continue": True, **matchers}


def alert_config(
    receivers: Iterable[Mapping[str, Any]],
    folder: str,
    smtp: Mapping[str, Any],
    wait_seconds: int = 30,
    repeat_hours: int = 12,
) -> dict[str, Any]:
    """Give `config` for Alertmanager, and `files`: name in the folder -> secret."""
    files: dict[str, str] = {}
    rows = list(receivers)
    config = {
        "global": _smtp(smtp, folder, files),
        "route": {
            "receiver": NOBODY,
            "group_by": ["host"],
            "group_wait": f"{wait_seconds}s",
            "repeat_interval": f"{repeat_hours}h",
            "routes": [_route(row) for row in rows],
        },
        "receivers": [{"name": NOBODY}, *(_receiver(row, folder, files) for row in rows)],
    }
    return {"config": config, "files": files}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"alert_config": alert_config}
