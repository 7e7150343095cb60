# SPDX-License-Identifier: MIT
"""What the role monitoring deploys on which host, what it reads there, and that no secret stands where it is seen."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from trigger_metrics.catalogue import METRICS

from testbed.common import ROOT
from tests.plays import render_cases
from tests.prometheus import RECORDING, alerts, metric_names, promtool, rules

SECRETS = {
    name: f"secret-{name}"
    for name in (
        *("monitoring_password", "monitoring_write_password", "postgres_password", "redis_password"),
        *("clickhouse_password", "object_store_access_key", "object_store_secret_key", "object_store_root_password"),
        *("session_secret", "magic_link_secret", "encryption_key", "managed_worker_secret"),
    )
}
BASE: dict[str, Any] = {
    "trigger_origin": "http://control.example.com:8030",
    "monitoring_enabled": True,
    "webapp_object_store": "seaweedfs",
    "__trigger_secret_file": {"secret_file": {"secrets": SECRETS}},
    "__monitoring_secret_file": {"secret_file": {"secrets": {"monitoring_write_password": "secret-write"}}},
    "__monitoring_hashes": {"htpasswd": {"content": ""}},
    "__trigger_engine": {"NCPU": 2, "MemTotal": 32 * 2**30},
    "__trigger_ca_root": {"stdout": "CERTIFICATE"},
}
EXTERNAL = {
    "webapp_postgres_url": "postgresql://tri%40gger@db.example.com:6432/main?sslmode=verify-full",
    "webapp_redis_host": "redis.example.com",
    "webapp_redis_username": "queue",
    "webapp_redis_tls_enabled": True,
    "webapp_clickhouse_url": "https://reader@click.example.com:8443",
    "webapp_metrics_password": "secret-metrics",
    "trigger_secrets": {"postgres_password": "secret-pg", "redis_password": "secret-redis"},
}
GATEWAY = {
    "trigger_gateway_enabled": True,
    "trigger_origin": "https://trigger.example.com",
    "gateway_tls": "internal",
}
RECEIVERS = [
    {"name": "hook", "webhook_url": "https://x.example.com/secret-hook", "webhook_token": "secret-token"},
    {"name": "team", "mail_to": "ops@example.com"},
]
CASES: dict[str, dict[str, Any]] = {
    "solo": {},
    "external": EXTERNAL,
    "alerts": {
        "monitoring_receivers": RECEIVERS,
        "monitoring_smtp_host": "mail.example.com",
        "monitoring_mail_from": "trigger@example.com",
        "monitoring_smtp_username": "trigger",
        "monitoring_smtp_password": "secret-smtp",
        "monitoring_retention_mib": 0,
    },
    "gateway": GATEWAY,
    "metrics": {**GATEWAY, "gateway_metrics_enabled": True, "webapp_metrics_password": "secret-metrics"},
    "off": {"monitoring_enabled": False},
    "elsewhere": {"webapp_otel_metric_exporter_url": "http://otel.example.com/v1/metrics"},
}
WANTED = {
    "definition": "__monitoring_definition",
    "environments": "__monitoring_environments",
    "files": "__monitoring_files",
    "folders": "__monitoring_folders | map(attribute='path') | list",
    "problems": "__monitoring_problems",
    "webapp": "__webapp_environments.webapp",
    "supervisor": "__supervisor_definition.services.supervisor.networks",
    "metrics_host": "__supervisor_settings.METRICS_HOST",
    "registry": "__registry_environments['trigger-registry']",
    "write_url": "__monitoring_write_url",
    "export": "__monitoring_export_text",
}
# Of one host that is both. Those of another host are rendered with another name for the control host.
CONTROL = {"prometheus", "alertmanager", "grafana", "node-exporter", "postgres-exporter", "redis-exporter"}
HARDENED = {"read_only": True}


def render(folder: Path, host: str, workers: tuple[str, ...], cases: dict[str, dict[str, Any]]) -> Any:
    roles = (
        "trigger",
        "compose_project",
        "webapp",
        "registry",
        "gateway",
        "runner_firewall",
        "supervisor",
        "monitoring",
    )
    given = {
        name: BASE | {"__runner_firewall_state": {"proof": "", "rules": ""}} | case for name, case in cases.items()
    }
    wanted = WANTED if workers == () else {key: WANTED[key] for key in ("definition", "files", "write_url")}
    return render_cases(folder, *roles, host=host, workers=workers, wanted=wanted, cases=given)


@pytest.fixture(scope="module")
def solo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One host that is control host and worker."""
    found: dict[str, dict[str, Any]] = render(tmp_path_factory.mktemp("solo"), "control.example.com", (), CASES)
    return found


def content(case: dict[str, Any], path: str) -> str:
    """Give the content of a file that is written."""
    (found,) = (row["content"] for row in case["files"] if row["path"] == path)
    return str(found)


def jobs(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give what Prometheus reads, by the name of the job."""
    config = yaml.safe_load(content(case, "prometheus/prometheus.yml"))
    return {row["job_name"]: row for row in config["scrape_configs"]}


@pytest.mark.parametrize("case", [name for name in CASES if name != "off"])
def test_containers_are_hardened(solo: dict[str, dict[str, Any]], case: str) -> None:
    definition = solo[case]["definition"]
    assert set(definition["services"]) == CONTROL
    for name, row in definition["services"].items():
        assert row["read_only"] is True, name
        assert row["user"].partition(":")[0] not in ("", "0"), name
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(row), name
        assert {"image", "healthcheck", "cpus", "memory_mib"} <= set(row), name
        assert row["image"].startswith("docker.io/"), name
        assert "docker.sock" not in str(row.get("volumes", "")), name
    assert set(definition["volumes"]) == {"trigger_prometheus_data", "trigger_alertmanager_data"}
    published = {name: row["ports"] for name, row in definition["services"].items() if "ports" in row}
    assert published == {"prometheus": ["127.0.0.1:9095:9090"], "grafana": ["127.0.0.1:3003:3000"]}


@pytest.mark.parametrize("case", [name for name in CASES if name != "off"])
def test_secrets_are_in_files_of_their_program_alone(solo: dict[str, dict[str, Any]], case: str) -> None:
    found = solo[case]
    assert "secret-" not in json.dumps(found["definition"])
    assert "secret-" not in json.dumps(found["environments"])
    for row in found["files"]:
        assert row["mode"] == "0400", row["path"]
        assert Path(row["path"]).parent == Path() or str(Path(row["path"]).parent) in found["folders"], row["path"]
    configs = [row for row in found["files"] if row["path"].endswith((".yml", "htpasswd"))]
    assert "secret-" not in json.dumps(configs)


def test_disks_that_are_mounted_later_are_seen(solo: dict[str, dict[str, Any]]) -> None:
    assert "/:/host:ro,rslave" in solo["solo"]["definition"]["services"]["node-exporter"]["volumes"]


def test_targets(solo: dict[str, dict[str, Any]]) -> None:
    found = jobs(solo["solo"])
    assert set(found) == {
        *("prometheus", "alertmanager", "grafana", "webapp", "postgres", "redis", "clickhouse", "registry", "node"),
        "supervisor",
    }
    (supervisor,) = found["supervisor"]["static_configs"]
    assert supervisor == {
        "targets": ["supervisor-metrics:9090"],
        "labels": {"host": "control.example.com", "instance": "control.example.com"},
    }
    assert "authorization" not in found["webapp"]
    assert set(jobs(solo["gateway"])) == {*found, "gateway"}
    assert "FORMAT Prometheus" in found["clickhouse"]["params"]["query"][0]


def test_external_stores_are_read_where_they_are(solo: dict[str, dict[str, Any]]) -> None:
    case = solo["external"]
    assert case["environments"]["postgres-exporter"] == {
        "DATA_SOURCE_URI": "db.example.com:6432/main?sslmode=verify-full",
        "DATA_SOURCE_USER": "tri@gger",
        "DATA_SOURCE_PASS_FILE": "/etc/exporter/password",
    }
    redis = case["environments"]["redis-exporter"]
    assert redis["REDIS_ADDR"] == "rediss://redis.example.com:6379"
    # The queues of all worker groups, and what the rules read is the count of just these.
    (queues,) = (rule["expr"] for rule in rules(RECORDING) if rule["record"] == "worker_groups:with_waiting_runs:count")
    assert redis["REDIS_EXPORTER_COUNT_KEYS"] == "db0=engine:runqueue:workerQueue:*"
    assert f'redis_keys_count{{key="{redis["REDIS_EXPORTER_COUNT_KEYS"].removeprefix("db0=")}"}}' in queues
    assert json.loads(content(case, "redis/passwords.json")) == {
        "rediss://queue@redis.example.com:6379": "secret-redis"
    }
    assert content(case, "postgres/password") == "secret-pg"
    for name in ("postgres-exporter", "redis-exporter"):
        assert case["definition"]["services"][name]["networks"] == ["trigger-monitoring"]
    clickhouse = jobs(case)["clickhouse"]
    assert clickhouse["scheme"] == "https"
    assert clickhouse["static_configs"][0]["targets"] == ["click.example.com:8443"]
    assert jobs(case)["webapp"]["authorization"] == {"credentials_file": "/etc/prometheus/webapp"}
    assert content(case, "prometheus/webapp") == "secret-metrics"


def test_alerts_go_to_receivers(solo: dict[str, dict[str, Any]]) -> None:
    config = yaml.safe_load(content(solo["alerts"], "alertmanager/alertmanager.yml"))
    assert [row["name"] for row in config["receivers"]] == ["nobody", "hook", "team"]
    assert content(solo["alerts"], "alertmanager/smtp_password") == "secret-smtp"
    assert content(solo["alerts"], "alertmanager/hook.token") == "secret-token"
    command = solo["alerts"]["definition"]["services"]["prometheus"]["command"]
    assert "--storage.tsdb.retention.time=15d" in command
    # An alert links to its expression: in the container there is a name that nobody can open.
    assert "--web.external-url=http://localhost:9095" in command
    assert not [flag for flag in command if "retention.size" in flag]
    assert "--storage.tsdb.retention.size=8192MB" in solo["solo"]["definition"]["services"]["prometheus"]["command"]


def test_the_webapp_sends_its_metrics(solo: dict[str, dict[str, Any]]) -> None:
    webapp = solo["solo"]["webapp"]
    assert webapp["INTERNAL_OTEL_METRIC_EXPORTER_ENABLED"] == "1"
    assert webapp["INTERNAL_OTEL_METRIC_EXPORTER_URL"] == "http://prometheus:9090/api/v1/otlp/v1/metrics"
    headers = json.loads(webapp["INTERNAL_OTEL_METRIC_EXPORTER_AUTH_HEADERS"])
    assert headers["Authorization"].startswith("Basic ")
    assert solo["off"]["webapp"]["INTERNAL_OTEL_METRIC_EXPORTER_ENABLED"] == "0"
    own = solo["elsewhere"]["webapp"]
    assert own["INTERNAL_OTEL_METRIC_EXPORTER_URL"] == "http://otel.example.com/v1/metrics"
    assert not own["INTERNAL_OTEL_METRIC_EXPORTER_AUTH_HEADERS"]


def test_a_supervisor_serves_its_metrics_where_no_task_is(solo: dict[str, dict[str, Any]]) -> None:
    assert solo["off"]["metrics_host"] == "127.0.0.1"
    assert "trigger-metrics" not in solo["off"]["supervisor"]
    assert solo["solo"]["metrics_host"] == "supervisor-metrics"
    assert solo["solo"]["supervisor"] == {
        "trigger-egress": {},
        "trigger-proxy": {},
        "trigger-runner": {},
        "trigger-metrics": {"aliases": ["supervisor-metrics"]},
    }


def test_the_registry_serves_metrics_with_it(solo: dict[str, dict[str, Any]]) -> None:
    assert solo["solo"]["registry"]["REGISTRY_HTTP_DEBUG_ADDR"] == ":5001"
    assert not [name for name in solo["off"]["registry"] if "DEBUG" in name]


def test_settings_fit_together(solo: dict[str, dict[str, Any]]) -> None:
    assert {name: case["problems"] for name, case in solo.items() if case["problems"]} == {}


@pytest.mark.parametrize(
    ("case", "webapp"),
    [
        ("solo", {"scheme": "http"}),
        ("external", {"scheme": "http", "authorization": {"credentials_file": "webapp_metrics_password"}}),
        ("gateway", None),
        (
            "metrics",
            {
                "scheme": "https",
                "authorization": {"credentials_file": "webapp_metrics_password"},
                "tls_config": {"ca_file": "ca.pem"},
            },
        ),
    ],
)
def test_the_export_is_a_configuration_whose_targets_answer(
    solo: dict[str, dict[str, Any]], tmp_path: Path, case: str, webapp: dict[str, Any] | None
) -> None:
    text = solo[case]["export"]
    assert "secret-" not in text
    found = {row["job_name"]: row for row in yaml.safe_load(text)["scrape_configs"]}
    assert set(found) == {"postgres", "redis", "node"} | (set() if webapp is None else {"webapp"})
    assert ("gateway_metrics_enabled" in text) is (webapp is None)
    if webapp is not None:
        left = {key: value for key, value in found["webapp"].items() if key not in ("job_name", "static_configs")}
        assert left == webapp
    file = tmp_path / "scrape.yml"
    file.write_text(text)
    # As the README says.
    for name in ("webapp_metrics_password", "ca.pem"):
        (tmp_path / name).write_text("of the operator")
    done = subprocess.run([promtool(), "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_other_hosts_must_reach_the_port_that_they_send_their_metrics_to(tmp_path: Path) -> None:
    """A check tries it before a deployment, as it does with all addresses that workers call."""
    far = {"inventory_hostname": "w1", "monitoring_prometheus_port": 9195}
    cases = {
        "far": far,
        "control": {},
        "off": {**far, "monitoring_enabled": False},
        "gateway": {**far, **GATEWAY},
    }
    found = render_cases(
        tmp_path,
        *("trigger", "monitoring"),
        host="control.example.com",
        workers=["w1"],
        wanted={"called": "__trigger_called_addresses", "url": "__monitoring_published_url"},
        cases={name: BASE | case for name, case in cases.items()},
    )
    assert {name: case["called"].get("monitoring_prometheus_port") for name, case in found.items()} == {
        "far": "http://control.example.com:9195",
        "control": None,
        "off": None,
        "gateway": None,
    }
    assert found["far"]["url"] == "http://control.example.com:9195/api/v1/write"


def test_alerts_that_need_no_program_of_ours_are_told() -> None:
    """By what their expressions read, with what is recorded from it."""
    recorded = {rule["record"]: metric_names(rule["expr"]) for rule in rules(RECORDING)}
    # It has a default for where the program is not.
    recorded["host:disk_used_max:ratio"] = set()
    free = set()
    for name, alert in alerts().items():
        names = metric_names(alert.rule["expr"])
        read = names.union(*(recorded.get(each, set()) for each in names))
        if not read & set(METRICS):
            free.add(name)
    text = (ROOT / "docs/monitoring.md").read_text().partition("## Your own Prometheus")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(Trigger\w+)`", text)) == free
