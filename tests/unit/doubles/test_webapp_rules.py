# SPDX-License-Identifier: MIT
"""The webapp's rule table against what the real program did when it was started with these values."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles import rules
from doubles.webapp import migrate
from doubles.webapp.clickhouse import ClickHouseError

from testbed.expected_secrets import PUBLISHED_WORKER_SECRET

TABLE = rules.load(Path(migrate.__file__).with_name("rules.yml"))
NEWER = rules.load(Path(migrate.__file__).with_name("rules.yml"), "4.5")
STAGES = ("wait", "postgres", "clickhouse", "node", "server")
DATABASE = "postgresql://postgres:secret@trigger-postgres:5432/main?schema=public"
GOOD = {
    "NODE_ENV": "production",
    "DATABASE_HOST": "trigger-postgres:5432",
    "DATABASE_URL": DATABASE,
    "DIRECT_URL": DATABASE,
    "REDIS_HOST": "trigger-redis",
    "REDIS_PORT": "6379",
    "REDIS_TLS_DISABLED": "true",
    "CLICKHOUSE_URL": "http://u:p@trigger-clickhouse:8123?secure=false",
    "RUN_REPLICATION_ENABLED": "1",
    "RUN_REPLICATION_CLICKHOUSE_URL": "http://u:p@trigger-clickhouse:8123",
    "SESSION_SECRET": "s",
    "MAGIC_LINK_SECRET": "m",
    "ENCRYPTION_KEY": "0123456789abcdef0123456789abcdef",
    "DEPLOY_REGISTRY_HOST": "control.lab:5000",
    "TRIGGER_BOOTSTRAP_ENABLED": "1",
    "TRIGGER_BOOTSTRAP_WORKER_GROUP_NAME": "bootstrap",
}


def ends(environment: dict[str, str], table: list[rules.Rule] = TABLE) -> str | None:
    """The first stage that ends the container; the entry point leaves out one of them without an address."""
    stages = [stage for stage in STAGES if stage != "clickhouse" or environment.get("CLICKHOUSE_URL")]
    return next((stage for stage in stages if rules.fatal(table, environment, stage)), None)


def test_a_complete_environment_starts_without_quirks() -> None:
    assert ends(GOOD) is None
    assert rules.quirks(TABLE, GOOD) == set()


EMPTY_ENDS_AT_VALIDATION = [
    "EMAIL_TRANSPORT",
    "ALERT_EMAIL_TRANSPORT",
    "RUN_REPLICATION_INSERT_STRATEGY",
    "EVENTS_CLICKHOUSE_INSERT_STRATEGY",
    "EVENT_REPOSITORY_DEFAULT_STORE",
    "REALTIME_STREAM_VERSION",
    "REALTIME_STREAMS_DEFAULT_VERSION",
    "DEPLOY_REGISTRY_HOST",
    "DEPLOY_REGISTRY_NAMESPACE",
    "V4_DEPLOY_REGISTRY_HOST",
    "V4_DEPLOY_REGISTRY_NAMESPACE",
    "DEFAULT_DEV_ENV_EXECUTION_ATTEMPTS",
    "NODE_ENV",
    "ENCRYPTION_KEY",
    *(
        f"{name}_LOG_LEVEL"
        for name in (
            "RUN_ENGINE_WORKER",
            "RUN_ENGINE_RUN_QUEUE",
            "LEGACY_RUN_ENGINE_WORKER",
            "COMMON_WORKER",
            "BATCH_TRIGGER_WORKER",
            "ADMIN_WORKER",
            "ALERTS_WORKER",
            "SCHEDULE_ENGINE",
            "RUN_REPLICATION",
            "RUN_REPLICATION_CLICKHOUSE",
            "CLICKHOUSE",
            "EVENTS_CLICKHOUSE",
            "REQUEST_IDEMPOTENCY",
            "REALTIME_STREAMS_S2",
        )
    ),
]


@pytest.mark.parametrize("name", EMPTY_ENDS_AT_VALIDATION)
def test_empty_value_ends_the_process_at_validation(name: str) -> None:
    assert ends({**GOOD, name: ""}) == "node"


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"ENCRYPTION_KEY": "0" * 64}, "node"),  # openssl rand -hex 32
        ({"ENCRYPTION_KEY": "0" * 31}, "node"),
        ({"ENCRYPTION_KEY": "ü" * 32}, "node"),  # 64 bytes
        ({"WHITELISTED_EMAILS": "["}, "node"),
        ({"ADMIN_EMAILS": "("}, "node"),
        ({"ADMIN_EMAILS": "(?P<n>x)"}, "node"),
        ({"ADMIN_EMAILS": "(?i)x"}, "node"),
        ({"ADMIN_EMAILS": "a++"}, "node"),
        ({"ADMIN_EMAILS": "(?<=a+)b|(?<n>\\p{L})"}, None),
        ({"SMTP_PORT": "abc"}, "node"),
        ({"SMTP_PORT": '"587"'}, "node"),
        ({"DATABASE_URL": "postgresql://postgres:a/b@host:5432/main"}, "postgres"),
        ({"DATABASE_URL": "postgresql://postgres:a#b@host:5432/main"}, "postgres"),
        ({"DIRECT_URL": "postgresql://postgres:a?b@host:5432/main"}, "postgres"),
        ({"DIRECT_URL": "nonsense"}, "postgres"),
        ({"DATABASE_URL": ""}, "postgres"),
        ({"DATABASE_URL": "postgresql://postgres:x@host:5432/main?schema="}, "node"),
        ({"DIRECT_URL": "postgresql://postgres:x@host:5432/main?schema="}, "node"),
        ({"GITHUB_APP_ENABLED": "1"}, "node"),
        ({"GITHUB_APP_ENABLED": "true"}, "node"),
        ({"S2_ENABLED": "true"}, "node"),
        ({"EMAIL_TRANSPORT": "sendmail"}, "node"),
        ({"RUN_ENGINE_TIMEOUT_PENDING_EXECUTING": "1.5"}, "node"),
        ({"CLICKHOUSE_URL": ""}, "server"),
        ({"CLICKHOUSE_URL": "trigger-clickhouse"}, "clickhouse"),
        ({"MAGIC_LINK_SECRET": ""}, "server"),
        ({"REDIS_HOST": ""}, "server"),
        ({"REDIS_PORT": ""}, "server"),
        ({"EMAIL_TRANSPORT": "resend", "RESEND_API_KEY": ""}, "server"),
        ({"RUN_REPLICATION_CLICKHOUSE_URL": "http://u:p@trigger-clickhouse:8123?secure=false"}, "server"),
        ({"NODE_MAX_OLD_SPACE_SIZE": "4G"}, "node"),
        ({"CLICKHOUSE_URL": "http://u:p@trigger-clickhouse:8123"}, "clickhouse"),
        ({"CLICKHOUSE_URL": "http://u:p@trigger-clickhouse:8123?secure=true"}, "clickhouse"),
        ({"CLICKHOUSE_URL": "https://u:p@trigger-clickhouse:8443?secure=false"}, "clickhouse"),
        ({"DATABASE_HOST": "trigger-postgres"}, "wait"),
        ({"NODE_OPTIONS": "--max-old-space=4096"}, "node"),
    ],
)
def test_wrong_value_ends_the_container(changes: dict[str, str], stage: str) -> None:
    assert ends({**GOOD, **changes}) == stage


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("DATABASE_URL", "postgres"),
        ("DIRECT_URL", "postgres"),
        ("SESSION_SECRET", "node"),
        ("MAGIC_LINK_SECRET", "node"),
        ("ENCRYPTION_KEY", "node"),
        ("DEPLOY_REGISTRY_HOST", "node"),
        ("CLICKHOUSE_URL", "node"),
        ("REDIS_HOST", "server"),
        ("REDIS_PORT", "server"),
    ],
)
def test_missing_variable_ends_the_container(name: str, stage: str) -> None:
    assert ends({key: value for key, value in GOOD.items() if key != name}) == stage


@pytest.mark.parametrize(
    ("changes", "quirk"),
    [
        ({"AUTH_GITHUB_CLIENT_ID": "", "AUTH_GITHUB_CLIENT_SECRET": ""}, "dead_github_button"),
        ({"EMAIL_TRANSPORT": "smtp", "SMTP_HOST": ""}, "mail_fails"),
        ({"REDIS_TLS_DISABLED": "1"}, "redis_tls"),
        ({"REDIS_TLS_DISABLED": "True"}, "redis_tls"),
        ({"TRIGGER_BOOTSTRAP_ENABLED": "true"}, "no_bootstrap"),
        ({"TRIGGER_BOOTSTRAP_WORKER_GROUP_NAME": ""}, "no_bootstrap"),
        ({"RUN_REPLICATION_ENABLED": "true"}, "no_replication"),
        ({"TRIGGER_TELEMETRY_DISABLED": ""}, "telemetry_disabled"),
        ({"API_ORIGIN": ""}, "empty_origin"),
    ],
)
def test_wrong_value_is_silently_wrong(changes: dict[str, str], quirk: str) -> None:
    environment = {**GOOD, **changes}
    assert ends(environment) is None
    assert quirk in rules.quirks(TABLE, environment)


def test_redis_speaks_tls_when_the_flag_is_missing() -> None:
    environment = {key: value for key, value in GOOD.items() if key != "REDIS_TLS_DISABLED"}
    assert ends(environment) is None
    assert rules.quirks(TABLE, environment) == {"redis_tls"}


@pytest.mark.parametrize(
    "name",
    [
        "WHITELISTED_EMAILS",
        "ADMIN_EMAILS",
        "RESEND_API_KEY",
        "SMTP_HOST",
        "SMTP_USER",
        "SMTP_PASSWORD",
        "SMTP_PORT",
        "OBJECT_STORE_BASE_URL",
        "OBJECT_STORE_ACCESS_KEY_ID",
        "OBJECT_STORE_SECRET_ACCESS_KEY",
        "ELECTRIC_ORIGIN",
        "REDIS_USERNAME",
        "REDIS_PASSWORD",
        "APP_LOG_LEVEL",
        "GITHUB_APP_ENABLED",
        "NODE_MAX_OLD_SPACE_SIZE",
        "SESSION_SECRET",
        "RUN_ENGINE_TIMEOUT_PENDING_EXECUTING",
    ],
)
def test_empty_value_is_harmless(name: str) -> None:
    environment = {**GOOD, name: ""}
    assert ends(environment) is None
    assert rules.quirks(TABLE, environment) == set()


def test_empty_number_becomes_zero() -> None:
    assert rules.number({"SMTP_PORT": ""}, "SMTP_PORT", 587) == 0
    assert rules.number({}, "SMTP_PORT", 587) == 587


def test_every_rule_names_its_fact() -> None:
    assert all(rule.fact for rule in TABLE)


GOOD_NEWER = GOOD | {"MANAGED_WORKER_SECRET": "w"}


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ({}, None),
        ({"RUN_REPLICATION_CLICKHOUSE_URL": "http://u:p@trigger-clickhouse:8123?secure=false"}, None),
        ({"SESSION_SECRET": ""}, "node"),
        ({"MANAGED_WORKER_SECRET": ""}, "node"),
        ({"MANAGED_WORKER_SECRET": PUBLISHED_WORKER_SECRET}, "node"),
        ({"MANAGED_WORKER_SECRET": PUBLISHED_WORKER_SECRET, "ALLOW_INSECURE_DEFAULT_SECRETS": "1"}, None),
        ({"MANAGED_WORKER_SECRET": PUBLISHED_WORKER_SECRET, "ALLOW_INSECURE_DEFAULT_SECRETS": "true"}, None),
        ({"MANAGED_WORKER_SECRET": PUBLISHED_WORKER_SECRET, "ALLOW_INSECURE_DEFAULT_SECRETS": "yes"}, "node"),
        ({"OTLP_RATE_LIMIT_WINDOW": "60"}, "node"),
        ({"OBJECT_STORE_DEFAULT_PROTOCOL": "S3"}, "node"),
        ({"RUN_OPS_DATABASE_URL": "postgresql://db/main?schema="}, "node"),
        ({"MARQS_WORKER_COUNT": "many"}, None),
        ({"REALTIME_STREAMS_S2_SKIP_ACCESS_TOKENS": "1"}, "node"),
    ],
)
def test_the_newer_line_has_rules_of_its_own(change: dict[str, str], stage: str | None) -> None:
    assert ends(GOOD_NEWER | change, NEWER) == stage


def test_the_newer_line_requires_what_the_older_one_made_up() -> None:
    assert ends(GOOD) is None
    assert ends(GOOD, NEWER) == "node"


def test_only_the_newer_line_minds_an_old_clickhouse(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def query(_url: str, statement: str) -> str:
        asked.append(statement)
        return "25.5.2.47\n"

    monkeypatch.setattr(migrate, "query", query)
    migrate.migrate_clickhouse(GOOD)
    assert len(asked) > 1
    monkeypatch.setenv("DOUBLE_VERSION", "4.5.12")
    with pytest.raises(ClickHouseError, match=r"25\.5\.2"):
        migrate.migrate_clickhouse(GOOD)
