# SPDX-License-Identifier: MIT
"""Rows and rules of the role webapp: what they let pass, and what they say of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.lookup.setting_problems import setting_problems
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils import _setting_rows as rows

ROLES = Path(__file__).resolve().parents[3] / "roles"
ROWS: dict[str, rows.Row] = {name: row for role in rows.load_rows().values() for name, row in role.items()}
EVERY_RULE: list[dict[str, Any]] = yaml.safe_load((ROLES / "webapp/vars/main/rules.yml").read_text())["__webapp_rules"]
# Without those whose expressions only a run can evaluate.
RULES = [rule for rule in EVERY_RULE if "settings" in rule]
DEFAULTS: dict[str, Any] = yaml.safe_load((ROLES / "webapp/defaults/main.yml").read_text())
SHARED: dict[str, Any] = yaml.safe_load((ROLES / "trigger/defaults/main.yml").read_text())
# Defaults that follow from other settings, as they come out where those are as they are.
PLAIN = {name: value for name, value in (SHARED | DEFAULTS).items() if "{{" not in str(value)}
FEATURES = ["google_login", "internal_api_origin", "object_store_role", "s2"]
MAIL = {"webapp_email_from": "me@example.com", "webapp_email_reply_to": "Me <me@example.com>"}
ALERTS = {"webapp_alert_email_from": "me@example.com", "webapp_alert_email_reply_to": "me@example.com"}
KEYS = {"trigger_secrets.object_store_access_key": "a", "trigger_secrets.object_store_secret_key": "b"}
# In the role a role of the machine counts as the keys.
ROLE = {
    "webapp_object_store": "external",
    "webapp_object_store_role_enabled": True,
    "webapp_object_store_region": "eu-central-1",
    "trigger_object_store_origin": "https://s3.eu-central-1.amazonaws.com",
}


def problems(settings: dict[str, Any], features: list[str] | None = None) -> list[str]:
    """What the rows say of settings, and the rules of these on top of the defaults."""
    judged = [
        text for name, value in settings.items() if name in ROWS for text in rows.problems(name, value, ROWS[name])
    ]
    known = FEATURES if features is None else features
    return judged + list(setting_problems(RULES, (PLAIN | settings).get, known, "v4.2.0"))


def test_rules_are_about_settings_that_exist() -> None:
    for rule in RULES:
        for name in [*rule["settings"], *rule.get("needs", []), *rule.get("needs_any", []), *rule.get("with", {})]:
            assert name in DEFAULTS | SHARED | KEYS, name


def test_numbers_all_have_a_range() -> None:
    numbers = {
        name for name, value in DEFAULTS.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    assert sorted(name for name in numbers if "range" not in ROWS[name]) == []


@pytest.mark.parametrize("features", [[], FEATURES])
def test_the_defaults_break_no_rule(features: list[str]) -> None:
    assert problems({}, features) == []


@pytest.mark.parametrize(
    "settings",
    [
        MAIL | {"webapp_email_transport": "smtp", "webapp_smtp_host": "mail.example.com"},
        MAIL | {"webapp_email_transport": "resend", "webapp_resend_api_key": "re_1"},
        MAIL | {"webapp_email_transport": "aws-ses", "webapp_aws_region": "eu-central-1"},
        ALERTS | {"webapp_alert_email_transport": "smtp", "webapp_alert_smtp_host": "m", "webapp_smtp_host": "m"},
        {"webapp_github_client_id": "a", "webapp_github_client_secret": "b"},
        {"webapp_google_client_id": "a", "webapp_google_client_secret": "b"},
        {"webapp_postgres_url": "postgresql://trigger@db.example.com:5432/trigger?sslmode=verify-full"},
        {"webapp_clickhouse_url": "https://trigger@clickhouse.example.com:8443"},
        {"webapp_redis_host": "2001:db8::1", "webapp_redis_port": 6380, "webapp_redis_username": "u"},
        {"webapp_object_store": "external", "trigger_object_store_origin": "https://s3.example.com"} | KEYS,
        KEYS | ROLE,
        KEYS | ROLE | {"webapp_object_store_bucket": "other"},
        {"webapp_deploy_image_platform": "linux/amd64,linux/arm64"},
        {"webapp_api_rate_limit_refill_interval": "500 ms"},
    ],
)
def test_what_passes(settings: dict[str, Any]) -> None:
    assert problems(settings) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"webapp_email_transport": "smtp"} | MAIL, "webapp_email_transport is smtp, so webapp_smtp_host"),
        ({"webapp_email_transport": "resend"} | MAIL, "so webapp_resend_api_key must be set"),
        ({"webapp_email_transport": "aws-ses"} | MAIL, "so webapp_aws_region must be set"),
        (
            {"webapp_email_transport": "resend", "webapp_resend_api_key": "k"},
            "webapp_email_transport is set, so webapp_email_from and webapp_email_reply_to must be set too",
        ),
        ({"webapp_alert_email_transport": "smtp"} | ALERTS, "so webapp_alert_smtp_host must be set"),
        ({"webapp_smtp_host": "mail"}, "webapp_smtp_host is set, but has no effect without webapp_email_transport"),
        ({"webapp_email_from": "Me"}, "webapp_email_from must be a mail address"),
        ({"webapp_github_client_id": "x"}, "so webapp_github_client_secret must be set"),
        ({"webapp_github_client_secret": "x"}, "so webapp_github_client_id must be set"),
        ({"webapp_google_client_id": "x"}, "so webapp_google_client_secret must be set"),
        ({"webapp_slack_client_id": "x"}, "so webapp_slack_client_secret must be set"),
        ({"webapp_postgres_url": "db.example.com"}, "webapp_postgres_url must be of the form postgresql://user@host"),
        ({"webapp_postgres_url": "postgresql://a@db"}, "webapp_postgres_url must be of the form"),
        ({"webapp_postgres_read_replica_url": "postgresql://a@b/c"}, "so webapp_postgres_url must be set"),
        ({"webapp_clickhouse_url": "http://a@ch:8123?secure=false"}, "webapp_clickhouse_url must be of the form"),
        ({"webapp_redis_host": "redis.example.com:6379"}, "webapp_redis_host must be a host name of lowercase letters"),
        ({"webapp_redis_port": 6380}, "so webapp_redis_host must be set"),
        ({"webapp_object_store": "external"}, "webapp_object_store is external, so trigger_object_store_origin"),
        (KEYS | {"webapp_object_store_bucket": "other"}, "so webapp_object_store_role_enabled must be set"),
        (KEYS | ROLE | {"webapp_object_store": "minio"}, "so webapp_object_store must be external"),
        (KEYS | ROLE | {"webapp_object_store_region": ""}, "so webapp_object_store_region must be set"),
        ({"webapp_minio_console_enabled": True}, "so webapp_object_store must be minio"),
        ({"webapp_object_store_bucket": "X"}, "webapp_object_store_bucket must be the name of a bucket"),
        ({"webapp_deploy_image_platform": "arm64"}, "webapp_deploy_image_platform must be linux/amd64"),
        ({"webapp_api_rate_limit_refill_interval": "10"}, "must be a number with a unit"),
        ({"webapp_otel_trace_exporter_url": "otel:4318"}, "webapp_otel_trace_exporter_url must be an http or https"),
        ({"webapp_otel_trace_exporter_auth_headers": "{}"}, "so webapp_otel_trace_exporter_url must be set"),
        ({"webapp_port": 65536}, "webapp_port must be from 1 to 65535, and is 65536"),
        ({"webapp_cpus": 0}, "webapp_cpus must be from 0.01"),
        ({"webapp_memory_mib": 6}, "webapp_memory_mib must be 0 or from 64"),
        ({"webapp_stop_timeout_seconds": 0}, "webapp_stop_timeout_seconds must be from 1"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], words: str) -> None:
    found = " ".join(problems(settings))
    assert words in found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webapp_google_client_id", "x"),
        ("trigger_internal_api_origin", "http://10.0.0.1:8030"),
        ("webapp_object_store_role_enabled", True),
    ],
)
def test_what_an_older_version_does_not_know(name: str, value: str) -> None:
    assert f"{name} exists from Trigger.dev 4.5 on, and trigger_version is v4.2.0" in " ".join(
        problems({name: value}, [])
    )


def test_a_password_inside_an_address_is_not_repeated() -> None:
    found = " ".join(
        problems({"webapp_postgres_url": "postgresql://a:hidden@db/x?x#y", "webapp_clickhouse_url": "hidden"})
    )
    assert "webapp_postgres_url must be" in found
    assert "hidden" not in found
