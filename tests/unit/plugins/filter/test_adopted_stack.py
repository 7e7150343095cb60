# SPDX-License-Identifier: MIT
"""What the variables of an old installation are here, and what cannot be adopted."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.filter import adopted_stack as module
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import load_rows

from testbed.common import ROOT

TABLE = yaml.safe_load((ROOT / "roles/adopt/vars/main/names.yml").read_text())
SERIES = yaml.safe_load((ROOT / "roles/trigger/vars/main/versions/4.5.yml").read_text())["__trigger_series_4_5"]
PUBLISHED = [*TABLE["__adopt_published"], *SERIES["refused_secrets"]]
NAMES: dict[str, dict[str, Any]] = TABLE["__adopt_names"]
ROLES = load_rows()
ROWS = {name: row for role in ROLES.values() for name, row in role.items()}
KEY = "0123456789abcdef0123456789abcdef"
PATH = "/opt/trigger.dev/hosting/docker"
MINIO = {"MINIO_ROOT_USER": "admin", "MINIO_ROOT_PASSWORD": "minio-password"}

Found = dict[str, Any]


@pytest.fixture(autouse=True)
def _rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the rows of all roles once."""
    monkeypatch.setattr(module, "load_rows", lambda: ROLES)


def container(service: str, image: str = "image:1", prefix: str = "", **environment: str) -> Found:
    name = f"trigger-{prefix}{service}-1"
    return {
        "name": name, "project": "trigger", "service": prefix + service, "image": image, "running": True,
        "networks": [], "mounts": {}, "environment": environment, "given": sorted(environment),
    }  # fmt: skip


def stack(prefix: str = "", without: str = "", **webapp: str) -> Found:
    """Give an installation; `prefix` stands before the names of its stores."""
    environment = {
        "ENCRYPTION_KEY": KEY,
        "DATABASE_URL": f"postgresql://postgres:pw@{prefix}postgres:5432/main?schema=public&sslmode=disable",
        "REDIS_HOST": f"{prefix}redis",
        "CLICKHOUSE_URL": f"http://default:ch%2Fpw@{prefix}clickhouse:8123?secure=false",
        "DEPLOY_REGISTRY_HOST": "localhost:5000",
        "DEPLOY_REGISTRY_NAMESPACE": "trigger",
        "OBJECT_STORE_BASE_URL": f"http://{prefix}minio:9000",
        **webapp,
    }
    rows = [
        container("webapp", "ghcr.io/triggerdotdev/trigger.dev:v4.2.0", **environment),
        container("supervisor", "ghcr.io/triggerdotdev/supervisor:v4.2.0"),
        container("postgres", prefix=prefix, POSTGRES_USER="postgres", POSTGRES_PASSWORD="pw"),
        container("redis", prefix=prefix),
        container("clickhouse", prefix=prefix),
        container("minio", prefix=prefix, **MINIO),
        container("registry", prefix=prefix),
    ]
    rows[-1]["mounts"] = {"/var/lib/registry": "/var/lib/docker/volumes/x/_data"}
    return {
        "projects": ["trigger"],
        "containers": [row for row in rows if row["service"] != without],
        "variables": {},
        "postgres": {"version": "14.19", "workers": ["supervisor-1"]},
        "runs": [],
    }


def translate(found: Found) -> dict[str, Any]:
    return module.adopted_stack(
        found,
        PATH,
        NAMES,
        TABLE["__adopt_meaningless"],
        PUBLISHED,
        range(14, 19),
        TABLE["__adopt_read_elsewhere"],
    )


def settings(**webapp: str) -> dict[str, Any]:
    result = translate(stack(**webapp))
    assert result["problems"] == []
    found = {**result["settings"], **result["secrets"]}
    found.pop("trigger_version", None)
    own: dict[str, Any] = found.pop("trigger_secrets", {})
    own.pop("encryption_key")
    return {**found, **{f"trigger_secrets.{name}": value for name, value in own.items()}}


# Name -> value of the old installation, and of the setting; what is not listed is tried with a text of its own below.
PINNED = f"docker.io/library/node:22@sha256:{'0a' * 32}"
VALUES: dict[str, tuple[str, Any]] = {
    "SESSION_SECRET": ("a" * 32, "a" * 32),
    "WHITELISTED_EMAILS": ("@acme.test", "(?:@acme.test)$"),
    "ADMIN_EMAILS": ("me@acme.test", "^(?:me@acme.test)$"),
    "MAGIC_LINK_SECRET": ("b" * 16, "b" * 16),
    "MANAGED_WORKER_SECRET": ("c" * 16, "c" * 16),
    "APP_ORIGIN": ("https://trigger.acme.test/", "https://trigger.acme.test"),
    "LOGIN_ORIGIN": ("https://login.acme.test", "https://login.acme.test"),
    "API_ORIGIN": ("https://api.acme.test/", "https://api.acme.test"),
    "STREAM_ORIGIN": ("https://stream.acme.test", "https://stream.acme.test"),
    "INTERNAL_API_ORIGIN": ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
    "OBJECT_STORE_BASE_URL": ("https://minio.acme.test/some/path", "https://minio.acme.test"),
    "DEPLOY_REGISTRY_HOST": ("registry.acme.test:5000", "registry.acme.test:5000"),
    "DEPLOY_REGISTRY_NAMESPACE": ("acme", "acme"),
    "TRIGGER_BOOTSTRAP_WORKER_GROUP_NAME": ("workers", "workers"),
    "TZ": ("Europe/Vienna", "Europe/Vienna"),
    "GHCR_IO_REGISTRY": ("ghcr.acme.test", "ghcr.acme.test"),
    "GLOBAL_REGISTRY": ("docker.acme.test/", "docker.acme.test"),
    "WEBAPP_PUBLISH_IP": ("192.0.2.1", "192.0.2.1"),
    "APP_LOG_LEVEL": ("debug", "debug"),
    "CLICKHOUSE_LOG_LEVEL": ("debug", "debug"),
    "RUN_REPLICATION_LOG_LEVEL": ("debug", "debug"),
    "OBJECT_STORE_REGION": ("eu-central-1", "eu-central-1"),
    "AWS_REGION": ("eu-central-1", "eu-central-1"),
    "DEPLOY_BASE_IMAGES": (f"node-22={PINNED}", {"node-22": PINNED}),
    "DEPLOY_IMAGE_PLATFORM": ("linux/arm64", "linux/arm64"),
    "DOCKER_PLATFORM": ("linux/arm64", "linux/arm64"),
    "EMAIL_TRANSPORT": ("smtp", "smtp"),
    "ALERT_EMAIL_TRANSPORT": ("resend", "resend"),
    "FROM_EMAIL": ("Trigger <trigger@acme.test>", "Trigger <trigger@acme.test>"),
    "REPLY_TO_EMAIL": ("help@acme.test", "help@acme.test"),
    "ALERT_FROM_EMAIL": ("alert@acme.test", "alert@acme.test"),
    "ALERT_REPLY_TO_EMAIL": ("help@acme.test", "help@acme.test"),
    "API_RATE_LIMIT_REFILL_INTERVAL": ("20s", "20s"),
    "API_RATE_LIMIT_JWT_WINDOW": ("2m", "2m"),
    "INTERNAL_OTEL_TRACE_EXPORTER_URL": ("https://otel.acme.test/v1/traces",) * 2,
    "INTERNAL_OTEL_LOG_EXPORTER_URL": ("https://otel.acme.test/v1/logs",) * 2,
    "INTERNAL_OTEL_METRIC_EXPORTER_URL": ("https://otel.acme.test/v1/metrics",) * 2,
    "INTERNAL_OTEL_TRACE_EXPORTER_AUTH_HEADERS": ('{"authorization": "x"}',) * 2,
    "INTERNAL_OTEL_METRIC_EXPORTER_AUTH_HEADERS": ('{"authorization": "x"}',) * 2,
    "TRIGGER_DEQUEUE_SCALING_STRATEGY": ("smooth", "smooth"),
    "RUN_REPLICATION_SLOT_NAME": ("a_slot", "a_slot"),
    "RUN_REPLICATION_PUBLICATION_NAME": ("a_publication", "a_publication"),
    "TRIGGER_DEQUEUE_SCALING_EWMA_ALPHA": ("0.25", 0.25),
    "TRIGGER_DEQUEUE_SCALING_DAMPING_FACTOR": ("0.25", 0.25),
    "METRICS_HOST": ("0.0.0.0", "0.0.0.0"),
    "METRICS_PORT": ("9999", 9999),
    "SMTP_HOST": ("mail.acme.test", "mail.acme.test"),
    "ALERT_SMTP_HOST": ("mail.acme.test", "mail.acme.test"),
}
OF_KIND = {
    "text": ("some-text", "some-text"),
    "int": ("77", 77),
    "float": ("1.25", 1.25),
    "bool": ("true", True),
    "mib": ("3G", 3072),
    "pairs": ("A=1,B=two", {"A": "1", "B": "two"}),
}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ENCRYPTION_KEY"])
def test_every_name_is_translated(name: str) -> None:
    row = NAMES[name]
    value, wanted = VALUES.get(name) or OF_KIND[row.get("as", "text")]
    if str(value) in map(str, row.get("unless", [])):
        value, wanted = "false", False
    needed = {}
    other = row.get("needs")
    while other:
        needed[other] = VALUES.get(other, ("needed",))[0]
        other = NAMES[other].get("needs") if NAMES[other].get("needs") != name else None
    found = settings(**{**needed, name: value})
    assert found[row["to"]] == wanted, found
    # What its file brings is no choice of an operator.
    for usual in row.get("unless", []):
        assert row["to"] not in settings(**{**needed, name: str(usual)})
    if "needs" in row:
        assert row["to"] not in settings(**{name: value, row["needs"]: ""})
    assert row["to"] not in settings(**{name: ""})


@pytest.mark.parametrize("name", NAMES)
def test_settings_exist_and_secrets_are_known(name: str) -> None:
    setting, _, key = NAMES[name]["to"].partition(".")
    assert setting in ROWS
    secrets = yaml.safe_load((ROOT / "roles/trigger/vars/main/secrets.yml").read_text())["__trigger_secrets"]
    assert not key or key in secrets


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:8030", "http://webapp:3000", "http://127.0.0.1:8030", "http://[::1]:8030", "http://host:1"],
)
def test_addresses_that_others_cannot_reach_are_left_out(origin: str) -> None:
    assert "trigger_api_origin" not in settings(API_ORIGIN=origin)
    assert "trigger_object_store_origin" not in settings(OBJECT_STORE_BASE_URL=origin)


def test_an_address_that_follows_from_another_one_is_left_out() -> None:
    found = settings(APP_ORIGIN="https://a.test", API_ORIGIN="https://a.test", STREAM_ORIGIN="https://a.test")
    assert found == {"trigger_origin": "https://a.test"}


def test_secrets_are_apart_from_settings() -> None:
    result = translate(stack(EMAIL_TRANSPORT="smtp", SMTP_HOST="m.test", SMTP_PASSWORD="mail-password"))
    assert result["secrets"]["webapp_smtp_password"] == "mail-password"
    assert "mail-password" not in result["files"]["settings"]
    assert "mail-password" in result["files"]["secrets"]
    told = json.dumps([result["report"], result["warnings"], result["meaningless"]])
    for secret in ("mail-password", KEY, "minio-password", "ch/pw"):
        assert secret not in told
        assert secret not in result["files"]["settings"]


@pytest.mark.parametrize("name", ["SESSION_SECRET", "MAGIC_LINK_SECRET", "MANAGED_WORKER_SECRET"])
def test_published_secrets_are_replaced(name: str) -> None:
    for value in PUBLISHED:
        result = translate(stack(**{name: value}))
        assert set(result["secrets"]["trigger_secrets"]) == {"encryption_key"}
        assert any(name in line and "published" in line for line in result["warnings"])


def test_a_short_secret_is_replaced() -> None:
    result = translate(stack(SESSION_SECRET="short"))
    assert set(result["secrets"]["trigger_secrets"]) == {"encryption_key"}
    assert any("trigger_secrets.session_secret must have 16 to" in line for line in result["warnings"])


def test_a_published_encryption_key_is_kept_and_named() -> None:
    published = "f686147ab967943ebbe9ed3b496e465a"
    result = translate(stack(ENCRYPTION_KEY=published))
    assert result["secrets"]["trigger_secrets"]["encryption_key"] == published
    assert any("ENCRYPTION_KEY has a published value" in line for line in result["report"])


def test_what_is_not_known_goes_on_as_it_is() -> None:
    result = translate(stack(RUN_ENGINE_TIMEOUT_EXECUTING="60000", NODE_MAX_OLD_SPACE_SIZE="4096"))
    assert result["secrets"]["webapp_extra_env"] == {"webapp": {"RUN_ENGINE_TIMEOUT_EXECUTING": "60000"}}
    assert any("NODE_MAX_OLD_SPACE_SIZE" in row["names"] for row in result["meaningless"])


def test_a_value_that_is_wrong_here_is_named_and_left_out() -> None:
    result = translate(stack(APP_LOG_LEVEL="loud", SMTP_HOST="m.test", EMAIL_TRANSPORT="smtp", SMTP_PORT="many"))
    assert "webapp_log_level" not in result["settings"]
    assert "webapp_smtp_port" not in result["settings"]
    assert len([line for line in result["warnings"] if line.startswith("Not taken over")]) == 2


@pytest.mark.parametrize(
    ("value", "logins", "administrators"),
    [
        ("@acme.test", "(?:@acme.test)$", "^[^@]+(?:@acme.test)$"),
        ("^a@acme.test", "(?:^a@acme.test)$", "^(?:a@acme.test)$"),
        ("a@acme.test$|b@acme.test$", "a@acme.test$|b@acme.test$", "^(?:a@acme.test$|b@acme.test$)$"),
        ("^a@acme.test$", "^a@acme.test$", "^a@acme.test$"),
        ("acme.test", "@(?:acme.test)$", "^[^@]+(?:@(?:acme.test)$)$"),
        ("acme.test|acme.org$", "@(?:acme.test|acme.org)$", "^[^@]+(?:@(?:acme.test|acme.org)$)$"),
    ],
)
def test_patterns_of_mail_addresses_fit_no_other_domain(value: str, logins: str, administrators: str) -> None:
    result = translate(stack(WHITELISTED_EMAILS=value, ADMIN_EMAILS=value))
    assert result["settings"]["webapp_whitelisted_emails"] == logins
    assert result["settings"]["webapp_admin_emails"] == administrators
    told = {line.partition(" ")[0] for line in result["warnings"] if "gets anchors" in line}
    patterns = {"WHITELISTED_EMAILS": logins, "ADMIN_EMAILS": administrators}
    assert told == {name for name, pattern in patterns.items() if pattern != value}


def test_one_value_for_all_secrets_is_not_that_of_workers() -> None:
    """Who has a worker would know the key of the sessions."""
    names = ("SESSION_SECRET", "MAGIC_LINK_SECRET", "ENCRYPTION_KEY", "MANAGED_WORKER_SECRET")
    result = translate(stack(**dict.fromkeys(names, "0123456789abcdef0123456789abcdef")))
    given = yaml.safe_load(result["files"]["secrets"])["trigger_secrets"]
    assert {"session_secret", "magic_link_secret", "encryption_key"} <= set(given)
    assert "managed_worker_secret" not in given
    assert any("MANAGED_WORKER_SECRET" in line for line in result["warnings"])


def test_a_limit_of_logins_that_is_wrong_ends_the_adoption() -> None:
    """Left out, it would let everyone in."""
    (problem,) = translate(stack(WHITELISTED_EMAILS="^.*acme.test"))["problems"]
    assert "webapp_whitelisted_emails" in problem
    assert "Correct WHITELISTED_EMAILS" in problem


def test_templates_in_values_stay_texts() -> None:
    result = translate(stack(WHITELISTED_EMAILS="{{[]|random}}"))
    assert "!unsafe" in result["files"]["settings"]


@pytest.mark.parametrize(
    ("image", "version", "warned"),
    [
        ("ghcr.io/triggerdotdev/trigger.dev:v4.5.12", "v4.5.12", False),
        ("ghcr.io/triggerdotdev/trigger.dev:4.2.1@sha256:0", "v4.2.1", False),
        ("ghcr.io/triggerdotdev/trigger.dev:v4.0.4", "v4.2.0", True),
        ("ghcr.io/triggerdotdev/trigger.dev:v4-beta", None, True),
        ("ghcr.io/triggerdotdev/trigger.dev:latest", None, True),
    ],
)
def test_the_version_is_that_of_the_image(image: str, version: str | None, warned: bool) -> None:
    found = stack()
    found["containers"][0]["image"] = image
    result = translate(found)
    assert result["settings"].get("trigger_version") == version
    assert bool(result["warnings"]) == warned


@pytest.mark.parametrize("prefix", ["", "trigger-"])
def test_the_program_is_told_where_the_data_is(prefix: str) -> None:
    source = translate(stack(prefix))["source"]
    assert source["webapp"] == "trigger-webapp-1"
    assert source["readers"] == ["trigger-supervisor-1"]
    assert set(source["stores"]) == {"postgres", "redis", "clickhouse", "objects", "images"}
    assert source["stores"]["postgres"]["container"] == f"trigger-{prefix}postgres-1"
    assert source["stores"]["postgres"]["database"] == "main"
    assert source["stores"]["clickhouse"]["password"] == "ch/pw"
    assert source["stores"]["objects"]["secret_key"] == "minio-password"
    assert source["stores"]["images"]["folder"] == "/var/lib/docker/volumes/x/_data"
    assert source["references"] == {"from": "localhost:5000/trigger/"}
    assert source["token_path"] == "/home/node/shared/worker_token"


def test_clickhouse_of_the_community_stack_has_its_login_elsewhere() -> None:
    found = stack("trigger-", CLICKHOUSE_URL="http://trigger-clickhouse:8123")
    next(row for row in found["containers"] if "clickhouse" in row["service"])["environment"] = {
        "CLICKHOUSE_USER": "default",
        "CLICKHOUSE_PASSWORD": "of-the-service",
    }
    assert translate(found)["source"]["stores"]["clickhouse"]["password"] == "of-the-service"


def test_external_objects_and_images_stay_in_use() -> None:
    found = stack(
        without="minio",
        OBJECT_STORE_BASE_URL="https://s3.acme.test",
        OBJECT_STORE_ACCESS_KEY_ID="access",
        OBJECT_STORE_SECRET_ACCESS_KEY="a-secret-key",
        DEPLOY_REGISTRY_HOST="ghcr.io",
    )
    found["containers"] = [row for row in found["containers"] if row["service"] != "registry"]
    found["variables"] = {"DOCKER_REGISTRY_USERNAME": "robot", "DOCKER_REGISTRY_PASSWORD": "of-the-robot"}
    result = translate(found)
    assert result["problems"] == []
    assert result["settings"]["webapp_object_store"] == "external"
    assert result["settings"]["trigger_object_store_origin"] == "https://s3.acme.test"
    assert result["settings"]["registry_enabled"] is False
    assert result["settings"]["trigger_registry_host"] == "ghcr.io"
    assert result["secrets"]["trigger_secrets"]["object_store_secret_key"] == "a-secret-key"
    assert result["secrets"]["trigger_secrets"]["registry_password"] == "of-the-robot"
    assert set(result["source"]["stores"]) == {"postgres", "redis", "clickhouse"}


def changed(**parts: Any) -> Found:
    return {**stack(), **parts}


REFUSED: dict[str, tuple[Found, list[str]]] = {
    "nothing-there": (changed(containers=[]), ["adopt_path", PATH, "docker compose up"]),
    "unknown-files": (
        stack(without="webapp"),
        ["0 containers of a service webapp", "hosting/docker", "community stack"],
    ),
    "ours": (changed(projects=["trigger-webapp"]), ["trigger-webapp", "one of this collection"]),
    "external-database": (
        stack(DATABASE_URL="postgresql://a:b@db.acme.test/main"),
        ["db.acme.test", "webapp_postgres_url"],
    ),
    "no-redis": (stack(without="redis"), ["REDIS_HOST", "External stores are not moved"]),
    "another-schema": (stack(DATABASE_URL="postgresql://a:b@postgres/main?schema=other"), ["schema other"]),
    "a-later-postgres": (changed(postgres={"version": "19.1", "workers": []}), ["Postgres 19", "14 to 18"]),
    "an-older-postgres": (changed(postgres={"version": "13.9", "workers": []}), ["Postgres 13", "14 to 18"]),
    "short-key": (stack(ENCRYPTION_KEY="short"), ["ENCRYPTION_KEY", "32 characters"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_adopted_is_refused(name: str) -> None:
    found, words = REFUSED[name]
    result = translate(found)
    assert len(result["problems"]) == 1, result["problems"]
    assert [word for word in words if word not in result["problems"][0]] == []
    assert result["settings"] == result["secrets"] == result["files"] == {}


def test_workers_elsewhere_keep_it_from_being_adopted_and_not_from_being_translated() -> None:
    result = translate(changed(postgres={"version": "17.2", "workers": ["a", "b"]}))
    assert result["problems"] == []
    (sentence,) = result["strangers"]
    assert [word for word in ("2 workers", "a, b", "inventory") if word not in sentence] == []
    assert f"WARNING: {sentence}" in result["report"]
    assert result["settings"]
    assert translate(stack())["strangers"] == []


def test_release_three_is_refused() -> None:
    found = stack()
    found["containers"][0]["image"] = "ghcr.io/triggerdotdev/trigger.dev:v3.3.17"
    assert "v3.3.17" in translate(found)["problems"][0]
