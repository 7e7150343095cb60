# SPDX-License-Identifier: MIT
"""The repository as the consistency tests see it: its files, its roles, and what the roles render on their defaults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.expected_secrets import SECRET_NAMES
from tests.plays import run_plays, template, variable_files

ROOT = Path(__file__).resolve().parents[2]
# Every character that a URL, an env file, YAML or Compose could trip over; the name makes a leak readable.
NASTY = """{name} p@/ss?#w%o$r{{d}}"'\\ :é"""
SECRETS = {name: NASTY.format(name=name) for name in SECRET_NAMES} | {
    "encryption_key": "encryption_key $32 characters..."
}
TOKEN = "tr_wgt_" + "Aa0" * 13 + "Z"
ENGINE = {"NCPU": 2, "MemTotal": 4 * 2**30, "ServerVersion": "26.1.5"}

# Compose project -> the role that defines it, and its variables that hold the definition and the environments.
PROJECTS = {
    "trigger-webapp": ("webapp", "__webapp_definition", "__webapp_environments"),
    "trigger-registry": ("registry", "__registry_definition", "__registry_environments"),
    "trigger-supervisor": ("supervisor", "__supervisor_definition", "__supervisor_environment"),
}

# Passwords of external services; none for Redis.
GIVEN = {
    name: NASTY.format(name=f"given {name}")
    for name in ("postgres_password", "clickhouse_password", "object_store_access_key", "object_store_secret_key")
}
# The opposite of the defaults: nothing bundled, and whatever can be set is set.
OUTSIDE: dict[str, Any] = {
    "trigger_version": "v4.5.12",
    "trigger_secrets": GIVEN,
    "trigger_object_store_origin": "https://s3.example.com",
    "trigger_time_zone": "Europe/Vienna",
    "trigger_internal_api_origin": "http://10.0.0.1:8030",
    "trigger_log_options": {"max-size": "1m"},
    "webapp_postgres_url": "postgresql://trigger@db.example.com:5432/trigger?sslmode=verify-full",
    "webapp_postgres_direct_url": "postgresql://owner@db.example.com/trigger?schema=app&connection_limit=5",
    "webapp_postgres_read_replica_url": "postgresql://trigger@replica.example.com/trigger",
    "trigger_network_mtu": 1400,
    "webapp_redis_host": "redis.example.com",
    "webapp_redis_port": 6380,
    "webapp_redis_username": "trigger",
    "webapp_clickhouse_url": "https://trigger@clickhouse.example.com:8443",
    "webapp_object_store": "external",
    "webapp_object_store_region": "eu-central-1",
    "webapp_github_client_id": "github",
    "webapp_github_client_secret": "github $ecret",
    "webapp_google_client_id": "google",
    "webapp_google_client_secret": "google $ecret",
    "webapp_slack_client_id": "slack",
    "webapp_slack_client_secret": "slack $ecret",
    "webapp_email_transport": "smtp",
    "webapp_email_from": "Trigger <trigger@example.com>",
    "webapp_smtp_host": "mail.example.com",
    "webapp_smtp_implicit_tls_enabled": True,
    "webapp_smtp_username": "trigger",
    "webapp_smtp_password": "smtp pa$$word",
    "webapp_alert_email_transport": "smtp",
    "webapp_resend_api_key": "re_123",
    "webapp_aws_region": "eu-central-1",
    "webapp_aws_access_key_id": "AKIA",
    "webapp_aws_secret_access_key": "aws $ecret",
    "webapp_metrics_password": "metrics $ecret",
    "webapp_otel_trace_exporter_url": "https://otel.example.com/v1/traces",
    "webapp_otel_trace_exporter_auth_headers": '{"authorization": "Bearer $x"}',
    "webapp_otel_log_exporter_url": "https://otel.example.com/v1/logs",
    "webapp_otel_metric_exporter_url": "https://otel.example.com/v1/metrics",
    "webapp_otel_metric_exporter_auth_headers": '{"authorization": "Bearer $x"}',
    "webapp_machine_presets": {"machines": {"micro": {"cpu": 0.5}}},
    "webapp_whitelisted_emails": "@example.com$",
    "webapp_memory_reservation_mib": 512,
    "webapp_stop_timeout_seconds": 90,
    "registry_storage": "s3",
    "registry_s3_bucket": "trigger-images",
    "registry_s3_region": "eu-central-1",
    "registry_s3_endpoint": "https://s3.example.com:9000",
    "registry_s3_access_key": "0123456",
    "registry_s3_secret_key": NASTY.format(name="* registry_s3_secret_key #"),
    "registry_s3_root_directory": "images/trigger",
    "registry_users": [{"name": "anna", "password": NASTY.format(name="anna")}],
}


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> dict[str, str]:
    """Every text file that is or could be committed: path -> text."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    texts: dict[str, str] = {}
    for name in listed.stdout.splitlines():
        path = ROOT / name
        # `collections/` is a link to this very folder.
        if path.is_file() and not path.is_symlink() and not name.startswith("collections/") and path.suffix != ".png":
            texts[name] = path.read_text(encoding="utf-8")
    return texts


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """The secrets that the rendered projects were made with."""
    return SECRETS | {"worker_token": TOKEN}


def _playbook(folder: Path) -> list[dict[str, Any]]:
    """Make a play that renders every project from the roles' defaults and variables, and runs none of their tasks."""
    names = [
        "trigger",
        "docker_engine",
        "compose_project",
        "runner_firewall",
        *(role for role, _, _ in PROJECTS.values()),
    ]
    tasks = []
    for project, (role, definition, environments) in PROJECTS.items():
        rendered: Any = f"{{{{ {environments} }}}}"
        if role == "supervisor":
            rendered = {"supervisor": rendered}
        tasks.append(
            {
                "name": f"Render {project}",
                "ansible.builtin.copy": {
                    "dest": str(folder / f"{project}.json"),
                    "mode": "0600",
                    "content": "{{ {'text': text, 'environments': compose_project_environments} | to_json }}",
                },
                "vars": {
                    "text": template("compose_project/templates/compose.yml.j2"),
                    "compose_project_name": project,
                    "compose_project_directory": f"/opt/trigger/{role}",
                    "compose_project_role": role,
                    "compose_project_definition": f"{{{{ {definition} }}}}",
                    "compose_project_environments": rendered,
                },
            }
        )
    return [
        {
            "name": "Render every project",
            "hosts": "trigger_control",
            "connection": "local",
            "gather_facts": False,
            "vars_files": variable_files(*names),
            "tasks": tasks,
        }
    ]


def render(folder: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Render every project with settings on top of the defaults, for the host of ENGINE.

    Project -> text (of the Compose file), compose (the text, read), environments (service -> variables).
    """
    (folder / "secrets.json").write_text(json.dumps(SECRETS))
    (folder / "hosts.yml").write_text(
        yaml.safe_dump(
            {group: {"hosts": {"control.example.com": {}}} for group in ("trigger_control", "trigger_workers")}
        )
    )
    extra = {
        "ansible_python_interpreter": sys.executable,
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": "http://control.example.com:8030",
        "webapp_admin_emails": "^me@example\\.com$",
        "rendered_secrets": "{{ lookup('ansible.builtin.file', secrets_path) | from_json }}",
        "secrets_path": str(folder / "secrets.json"),
        # What tasks of the roles would have learnt from a host.
        "__trigger_engine": ENGINE,
        "__trigger_secret_file": {"secret_file": {"secrets": "{{ rendered_secrets }}"}},
        "__supervisor_secret_file": {"secret_file": {"secrets": "{{ rendered_secrets }}"}},
        "__worker_group_token": {"results": [{"item": "bootstrap", "worker_token": {"token": TOKEN}}]},
        "__supervisor_seen": {"stdout_lines": ["996", "", ""]},
        "__runner_firewall_state": "{{ __runner_firewall_outcome }}",
        # Inside the role these are found by their names alone.
        "__supervisor_proxy_config": template("supervisor/templates/haproxy.cfg.j2"),
        "__supervisor_proxy_program": (ROOT / "roles/supervisor/files/create_body.lua").read_text(),
    }
    (folder / "extra.json").write_text(json.dumps(extra | settings))
    done = run_plays(folder, _playbook(folder), "-i", "hosts.yml", "-e", "@extra.json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rendered = {name: json.loads((folder / f"{name}.json").read_text()) for name in PROJECTS}
    return {name: row | {"compose": yaml.safe_load(row["text"])} for name, row in rendered.items()}


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the roles render on their defaults, for secrets full of special characters."""
    return render(tmp_path_factory.mktemp("rendered"), {})


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the roles render where every data service is external, and every setting is given."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return render(folder, OUTSIDE | {"webapp_ca_file": str(folder / "ca.pem")})


@pytest.fixture(scope="session")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the roles render where the data services are bundled, and their switches stand the other way."""
    return render(
        tmp_path_factory.mktemp("chosen"),
        {
            "webapp_object_store": "minio",
            "webapp_minio_console_enabled": True,
            "webapp_minio_console_port": 9101,
            # As `-e name=5` gives a number.
            "webapp_clickhouse_open_files": "262144",
            "webapp_otel_metric_interval_seconds": "30",
            "webapp_electric_enabled": False,
            "webapp_run_replication_enabled": False,
            "webapp_telemetry_enabled": True,
            # Nothing that is bundled has a certificate of a private CA.
            "webapp_ca_file": str(ROOT / "LICENSE"),
        },
    )
