# SPDX-License-Identifier: MIT
"""Receivers of alerts: one sentence for each mistake, never with a secret."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.alert_receiver_problems import alert_receiver_problems

SLACK = "https://hooks.slack.com/services/T0/B0/hunter2"
HOOK = "https://chat.example.com/hunter2"
DISCORD = "https://discord.com/api/webhooks/1/hunter2"


@pytest.mark.parametrize(
    "row",
    [
        {"name": "team", "mail_to": ["ops@example.com"]},
        {"name": "team", "mail_to": "ops@example.com", "severities": ["critical"], "resolved": False},
        {"name": "team", "slack_webhook_url": SLACK, "slack_channel": "#ops"},
        {"name": "team", "webhook_url": "http://chat.example.com/hook", "webhook_token": "hunter2"},
        {"name": "team", "slack_webhook_url": f"{DISCORD}/slack"},
        {
            "name": "team",
            "webhook_url": "https://discord.example.com/api/webhooks/1",
            "webhook_token": "bearer-hunter2",
        },
    ],
)
def test_a_receiver_is_accepted(row: dict[str, Any]) -> None:
    assert alert_receiver_problems([row], "mail.example.com") == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("ops@example.com", "must be a list"),
        ([{"mail_to": "ops@example.com"}], "entry 1 needs a name"),
        (["team"], "entry 1 needs a name"),
        ([{"name": "a/b", "webhook_url": HOOK}], "entry 1 needs a name"),
        ([{"name": "team"}], "the receiver team has no address. It needs exactly one of mail_to"),
        ([{"name": "team", "webhook_url": HOOK, "mail_to": "a@example.com"}], "has mail_to and webhook_url"),
        ([{"name": "team", "webhook_url": HOOK, "slack_channel": "x"}], "has slack_channel, which do not belong"),
        ([{"name": "team", "webhook_url": "hunter2"}], "webhook_url must be an http or https address"),
        ([{"name": "team", "webhook_url": HOOK, "webhook_token": "hunter2\n"}], "webhook_token that is no text, or"),
        ([{"name": "team", "webhook_url": HOOK, "webhook_token": ""}], "webhook_token that is no text, or is not of"),
        ([{"name": "team", "webhook_url": HOOK, "webhook_token": "hunter2\u20ac"}], "ASCII"),
        ([{"name": "nobody", "webhook_url": HOOK}], "names nobody, which is a receiver of its own"),
        ([{"name": "team", "webhook_url": HOOK, "webhook_token": 7}], "webhook_token that is no text"),
        ([{"name": "team", "slack_webhook_url": SLACK, "slack_channel": " #ops"}], "slack_channel that is no text, or"),
        ([{"name": "team", "webhook_url": SLACK}], "webhook_url that is an address of Slack"),
        ([{"name": "team", "webhook_url": DISCORD}], "webhook_url that is an address of Discord"),
        ([{"name": "team", "slack_webhook_url": DISCORD}], "with /slack at its end"),
        ([{"name": "team", "webhook_url": "http://host.docker.internal/hunter2"}], "Docker Desktop"),
        ([{"name": "team", "webhook_url": HOOK, "webhook_token": "Bearer hunter2"}], "begins with Bearer"),
        ([{"name": "team", "webhook_url": HOOK, "webhook_token": "hunter2 x"}], "has blanks in it"),
        ([{"name": "team", "webhook_url": HOOK, "webhook_token": "${hunter2}"}], "webhook_token that is a placeholder"),
        ([{"name": "team", "mail_to": ["nobody"]}], "'nobody' in mail_to is no mail address"),
        ([{"name": "team", "webhook_url": HOOK, "severities": ["loud"]}], "has severities that are no list"),
        ([{"name": "team", "webhook_url": HOOK, "severities": "critical"}], "has severities that are no list"),
        ([{"name": "team", "webhook_url": HOOK, "resolved": "no"}], "neither true nor false"),
        ([{"name": "team", "webhook_url": HOOK}] * 2, "names team more than once"),
    ],
)
def test_a_mistake_is_one_sentence_without_a_secret(rows: Any, said: str) -> None:
    (problem,) = alert_receiver_problems(rows, "mail.example.com")
    assert said in problem
    assert problem.startswith("monitoring_receivers")
    assert "hunter2" not in problem


def test_mail_needs_a_server() -> None:
    (problem,) = alert_receiver_problems([{"name": "team", "mail_to": "ops@example.com"}])
    assert "monitoring_smtp_host and monitoring_mail_from must be set" in problem
