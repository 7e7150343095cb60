# SPDX-License-Identifier: MIT
"""What the roles render where the data services are external, and every setting is given."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

Projects = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def webapp(outside: Projects) -> dict[str, Any]:
    """The Compose project."""
    project: dict[str, Any] = outside["trigger-webapp"]["compose"]
    return project


@pytest.fixture(scope="session")
def environment(outside: Projects) -> dict[str, Any]:
    """The environment of the webapp."""
    environment: dict[str, Any] = outside["trigger-webapp"]["environments"]["webapp"]
    return environment


def test_what_is_somebody_elses_is_not_deployed(webapp: dict[str, Any], projects: Projects) -> None:
    """All others are, of which test_rendered.py says what they have to be."""
    usual = projects["trigger-webapp"]["compose"]
    stores = {"trigger-postgres", "trigger-redis", "trigger-clickhouse", "trigger-seaweedfs"}
    assert set(usual["services"]) - set(webapp["services"]) == stores
    assert set(webapp["services"]) < set(usual["services"])
    kept = "_(postgres|redis|clickhouse|seaweedfs)_"
    assert set(webapp.get("volumes", {})) == {name for name in usual["volumes"] if not re.search(kept, name)}
    assert set(webapp["services"]["webapp"]["depends_on"]) == set(webapp["services"]) - {"webapp"}
    assert "electric" in webapp["services"]
    assert "depends_on" not in webapp["services"]["electric"]


def test_every_network_of_ours_has_the_mtu(outside: Projects) -> None:
    for project, rendered in outside.items():
        for name, row in rendered["compose"].get("networks", {}).items():
            options = row.get("driver_opts", {})
            wanted = None if row.get("external") else "1400"
            assert options.get("com.docker.network.driver.mtu") == wanted, f"{project}: {name}"
    runner = outside["trigger-supervisor"]["compose"]["networks"]["trigger-runner"]["driver_opts"]
    assert "com.docker.network.bridge.name" in runner


def test_electric_reaches_a_database_outside_and_nobody_new_reaches_electric(webapp: dict[str, Any]) -> None:
    members = {name: set(row["networks"]) for name, row in webapp["services"].items()}
    assert members.pop("webapp") == {"trigger-data", "trigger-front", "trigger-realtime"}
    assert members.pop("electric") == {"trigger-realtime", "trigger-electric"}
    assert not [name for name, networks in members.items() if networks & {"trigger-realtime", "trigger-electric"}]
    assert {name for name, row in webapp["networks"].items() if row.get("internal")} == {
        "trigger-data",
        "trigger-realtime",
    }


@pytest.mark.parametrize(
    ("name", "user", "host", "query"),
    [
        (
            "DATABASE_URL",
            "trigger",
            "db.example.com",
            {
                "sslmode": ["require"],
                "schema": ["public"],
                "sslaccept": ["strict"],
                "sslcert": ["/etc/trigger/ca.pem"],
                "sslrootcert": ["/etc/trigger/ca.pem"],
            },
        ),
        (
            "DIRECT_URL",
            "owner",
            "db.example.com",
            {"schema": ["app"], "connection_limit": ["5"]},
        ),
        (
            "DATABASE_READ_REPLICA_URL",
            "trigger",
            "replica.example.com",
            {"schema": ["public"]},
        ),
    ],
)
def test_addresses_of_the_database(
    environment: dict[str, Any], name: str, user: str, host: str, query: dict[str, list[str]]
) -> None:
    parts = urlsplit(environment[name])
    assert (parts.username, parts.hostname, parts.path) == (user, host, "/trigger")
    assert unquote(parts.password or "").startswith("given postgres_password")
    assert parse_qs(parts.query) == query


def test_electric_gets_the_one_parameter_that_it_takes(outside: Projects) -> None:
    given = outside["trigger-webapp"]["environments"]["electric"]
    assert urlsplit(given["DATABASE_URL"]).query == "sslmode=require"
    assert given["ELECTRIC_DATABASE_CA_CERTIFICATE_FILE"] == "/etc/trigger/ca.pem"


def test_clickhouse_with_tls_needs_no_parameter(environment: dict[str, Any]) -> None:
    for name in ("CLICKHOUSE_URL", "RUN_REPLICATION_CLICKHOUSE_URL"):
        parts = urlsplit(environment[name])
        assert (parts.scheme, parts.hostname, parts.port, parts.query) == ("https", "clickhouse.example.com", 8443, "")
        assert unquote(parts.password or "").startswith("given clickhouse_password")


def test_redis_without_a_password_stays_without(environment: dict[str, Any]) -> None:
    assert (environment["REDIS_HOST"], int(environment["REDIS_PORT"])) == ("redis.example.com", 6380)
    assert environment["REDIS_USERNAME"] == "trigger"
    assert not environment["REDIS_PASSWORD"], "a generated password for an external Redis"
    assert environment["REDIS_TLS_DISABLED"] is None


def test_the_object_store(environment: dict[str, Any]) -> None:
    assert environment["OBJECT_STORE_BASE_URL"] == "https://s3.example.com"
    assert environment["OBJECT_STORE_REGION"] == "eu-central-1"
    assert environment["OBJECT_STORE_BUCKET"] is None, "it would be passed over: there is a key"
    assert environment["OBJECT_STORE_ACCESS_KEY_ID"].startswith("given object_store_access_key")
    assert environment["OBJECT_STORE_SECRET_ACCESS_KEY"].startswith("given object_store_secret_key")


def test_no_generated_password_of_a_bundled_service_is_left(outside: Projects, secrets: dict[str, str]) -> None:
    project = outside["trigger-webapp"]
    for service in project["compose"]["services"]:
        for name, value in project["environments"][service].items():
            for secret in ("postgres_password", "redis_password", "clickhouse_password", "object_store_secret_key"):
                # A given one ends with the generated text of its name, so the beginning tells them apart.
                assert not unquote(str(value)).startswith(secrets[secret]), f"{service} {name}"
                assert f":{secrets[secret]}@" not in unquote(str(value)), f"{service} {name}"


def test_files_that_are_asked_for_are_mounted_and_seen_by_compose(
    webapp: dict[str, Any], environment: dict[str, Any]
) -> None:
    for service in ("webapp", "electric"):
        row = webapp["services"][service]
        assert "/opt/trigger/webapp/ca.pem:/etc/trigger/ca.pem:ro" in row["volumes"]
        assert row["labels"]["dev.trigger.ansible/config"]
    assert environment["NODE_EXTRA_CA_CERTS"] == "/etc/trigger/ca.pem"
    assert environment["MACHINE_PRESETS_OVERRIDE_PATH"] == "/etc/trigger/machines.json"
    assert "/opt/trigger/webapp/machines.json:/etc/trigger/machines.json:ro" in webapp["services"]["webapp"]["volumes"]


def test_mail_and_alerts(environment: dict[str, Any]) -> None:
    assert environment["EMAIL_TRANSPORT"] == environment["ALERT_EMAIL_TRANSPORT"] == "smtp"
    for prefix in ("", "ALERT_"):
        assert environment[f"{prefix}SMTP_HOST"] == "mail.example.com"
        assert environment[f"{prefix}SMTP_SECURE"] == "true"
        assert environment[f"{prefix}FROM_EMAIL"] == environment[f"{prefix}REPLY_TO_EMAIL"]


def test_time_zone_log_rotation_reservation_and_stop(outside: Projects, webapp: dict[str, Any]) -> None:
    for project in outside.values():
        for row in project["compose"]["services"].values():
            assert row["environment"]["TZ"] == "Europe/Vienna"
            assert row["logging"]["options"] == {"max-size": "1m"}
    assert webapp["services"]["webapp"]["mem_reservation"] == "512m"
    assert webapp["services"]["webapp"]["stop_grace_period"] == "105s"
    assert "mem_reservation" not in webapp["services"]["electric"]


def test_no_secret_of_the_operator_is_in_a_compose_file(outside: Projects) -> None:
    for project in outside.values():
        for secret in ("$ecret", "$$ecret", "pa$$word", "Bearer", "re_123", "given "):
            assert secret not in project["text"]
