# SPDX-License-Identifier: MIT
"""What the program of metrics is told on a host, by the settings of an inventory."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.common import ROOT
from tests.plays import render_cases

FILES = ROOT / "roles/monitoring/files/trigger_metrics"
CONTROL = "control.example.com"
DEFAULTS = yaml.safe_load((ROOT / "roles/backup/defaults/main.yml").read_text())
CLEANER = yaml.safe_load((ROOT / "roles/task_images/defaults/main.yml").read_text())
COMMON = {
    "inventory_hostname": CONTROL,
    "trigger_origin": "https://trigger.example.com",
    "trigger_version": "v4.5.12",
    "trigger_registry_host": "registry.example.com",
    "gateway_tls": "acme",
    "backup_timer_enabled": True,
}
CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "external": {"__trigger_external_postgres_url": "postgres://user@db.example.com/main"},
    "plain": {"trigger_gateway_enabled": False, "trigger_origin": "http://localhost:8030"},
    "far": {
        "inventory_hostname": "w1",
        "__trigger_worker_hosts": ["w1"],
        "__trigger_worker_variables": [{"inventory_hostname": "w1"}],
        "trigger_clock_skew_max_seconds": 2,
        "status_schedule": "hourly",
        "__monitoring_secret_file": {"secret_file": {"secrets": {}}},
    },
    "far-plain": {
        "inventory_hostname": "w1",
        "__trigger_worker_hosts": ["w1"],
        "__trigger_worker_variables": [{"inventory_hostname": "w1"}],
        "trigger_gateway_enabled": False,
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": "http://10.0.0.1:8030",
    },
    "quiet": {"backup_timer_enabled": False, "runner_firewall_enabled": False, "task_images_clean_enabled": False},
    # The last supervisor of the host is being removed.
    "leaving": {"__trigger_supervisor_names": []},
    "several": {
        "inventory_hostname": "w1",
        "__trigger_worker_hosts": ["w1"],
        "__trigger_worker_variables": [
            {"inventory_hostname": "w1", "supervisor_instances": [{"name": "w1"}, {"name": "gpu.b"}]}
        ],
        "__monitoring_secret_file": {"secret_file": {"secrets": {}}},
    },
    "workers": {
        "__trigger_worker_hosts": ["w1", "w2"],
        "__trigger_worker_variables": [
            {
                "inventory_hostname": "w1",
                "supervisor_instances": [{"name": "a"}, {"name": "b", "group": "eu"}],
                "supervisor_heartbeat_interval_seconds": 5,
            },
            {"inventory_hostname": "w2", "supervisor_dequeue_enabled": False},
        ],
    },
    "own": {
        "gateway_tls": "internal",
        "gateway_https_port": 8443,
        "backup_age_max_hours": 8,
        "backup_verify_timer_enabled": True,
        "backup_verify_schedule": "daily",
        "task_images_clean_schedule": "weekly",
        "webapp_replication_lag_max_mib": 3,
        "status_schedule": "hourly",
        "trigger_disk_free_min_percent": 3,
    },
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = render_cases(
        tmp_path_factory.mktemp("metrics"),
        *("trigger", "webapp", "monitoring"),
        host=CONTROL,
        wanted={"settings": "__monitoring_metrics_settings"},
        cases={name: {**COMMON, "role_path": str(ROOT / "roles/monitoring"), **case} for name, case in CASES.items()},
    )
    return {name: case["settings"] for name, case in found.items()}


def test_all_on_one_host(told: dict[str, dict[str, Any]]) -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert told["usual"] == {
        "folder": "/opt/trigger/monitoring/textfile",
        "versions": {"collection_version": version, "trigger_version": "v4.5.12"},
        "hosts": [CONTROL],
        "postgres": {"container": "trigger-webapp-trigger-postgres-1", "user": "postgres", "database": "main"},
        "workers": [[CONTROL, "bootstrap", 30]],
        "slots": ["task_runs_to_clickhouse_v1", "electric_slot_default"],
        "slot_lag_max_bytes": 2**30,
        "disk_used_max_ratio": 0.9,
        "endpoints": {
            "names": ["trigger.example.com", "objects.trigger.example.com", "registry.example.com"],
            "address": "127.0.0.1",
            "port": 443,
        },
        "certificates": {},
        "clock": {},
        "supervisors": True,
        "environments": {CONTROL: "/opt/trigger/supervisor/supervisor.env"},
        "firewall": "/opt/trigger/firewall/runner_firewall.py",
        "cleaning": {"path": "/opt/trigger/supervisor/task_images.json", "age_max_seconds": 86400 + 900},
        "backup": {
            "directory": "/opt/trigger/backup",
            "age_max_hours": 30,
            "test_timer": "/etc/systemd/system/trigger-backup-verify.timer",
            "test_age_max_seconds": 0,
        },
        "status": {},
        "drift": {"directory": "/opt/trigger", "state": "/opt/trigger/monitoring/metrics/drift.json"},
    }


def test_an_external_database_is_not_asked(told: dict[str, dict[str, Any]]) -> None:
    assert (told["external"]["postgres"], told["external"]["slots"]) == ({}, [])


def test_workers_that_take_no_runs_need_no_heartbeat(told: dict[str, dict[str, Any]]) -> None:
    assert told["workers"]["workers"] == [["a", "bootstrap", 5], ["b", "eu", 5]]
    assert (told["workers"]["supervisors"], told["workers"]["environments"]) == (False, {})


def test_a_host_with_several_supervisors_knows_the_environment_of_each(told: dict[str, dict[str, Any]]) -> None:
    assert told["several"]["environments"] == {
        "w1": "/opt/trigger/supervisor/supervisor.env",
        "gpu.b": "/opt/trigger/supervisor-gpu-b/supervisor.env",
    }


def test_a_supervisor_that_was_removed_is_not_missed(told: dict[str, dict[str, Any]]) -> None:
    """The host is a worker of the inventory until the operator takes it out."""
    parts = ("supervisors", "firewall", "cleaning")
    assert [told["leaving"][part] for part in parts] == [False, "", {}]
    assert [bool(told["far"][part]) for part in parts] == [True, True, True]


def test_the_control_host_knows_which_hosts_there_are(told: dict[str, dict[str, Any]]) -> None:
    assert sorted(told["workers"]["hosts"]) == [CONTROL, "w1", "w2"]
    assert told["far"]["hosts"] == []


def test_without_a_gateway_there_is_no_certificate(told: dict[str, dict[str, Any]]) -> None:
    assert (told["plain"]["endpoints"], told["plain"]["certificates"]) == ({}, {})


def test_every_other_host_compares_its_clock_with_that_of_the_control_host(told: dict[str, dict[str, Any]]) -> None:
    assert told["far"]["clock"] == {"url": "https://trigger.example.com/healthcheck", "skew_max_seconds": 2}
    assert told["far-plain"]["clock"] == {"url": "http://10.0.0.1:8030/healthcheck", "skew_max_seconds": 5}


def test_what_is_off_is_not_missed(told: dict[str, dict[str, Any]]) -> None:
    assert told["quiet"]["backup"]["age_max_hours"] == 0
    assert (told["quiet"]["firewall"], told["quiet"]["cleaning"]) == ("", {})


def test_defaults_are_those_of_the_role_that_has_the_setting(tmp_path: Path) -> None:
    """Where an inventory sets nothing, the settings of other roles are not known here."""
    bare = {name: value for name, value in COMMON.items() if name != "backup_timer_enabled"}
    found = render_cases(
        tmp_path,
        *("trigger", "webapp", "monitoring"),
        host=CONTROL,
        wanted={
            "hours": "__monitoring_backup.age_max_hours",
            "schedule": "__trigger_clean_schedule",
            "tests": "__trigger_backup_test_schedule",
            "delay": "__trigger_backup_delay_seconds",
        },
        cases={"unset": {**bare}, "timed": {**bare, "backup_timer_enabled": True}},
    )
    assert int(found["unset"]["delay"]) == DEFAULTS["backup_random_delay_seconds"]
    assert found["unset"]["tests"] == DEFAULTS["backup_verify_schedule"]
    assert found["unset"]["schedule"] == CLEANER["task_images_clean_schedule"]
    assert bool(found["unset"]["hours"]) is DEFAULTS["backup_timer_enabled"]
    assert found["timed"]["hours"] == DEFAULTS["backup_age_max_hours"]


def test_settings_of_others_count(told: dict[str, dict[str, Any]]) -> None:
    assert told["own"]["endpoints"]["port"] == 8443
    assert told["own"]["certificates"] == {"/opt/trigger/ca.pem": "private CA"}
    assert told["own"]["backup"]["age_max_hours"] == 8
    assert told["own"]["slot_lag_max_bytes"] == 3 * 2**20
    assert told["own"]["disk_used_max_ratio"] == 0.97
    assert told["own"]["backup"]["test_age_max_seconds"] == 2 * 86400 + DEFAULTS["backup_random_delay_seconds"]
    assert told["own"]["cleaning"]["age_max_seconds"] == 8 * 86400
    assert told["own"]["status"] == {"directory": "/opt/trigger/status", "age_max_seconds": 7200}
    assert told["far"]["status"] == {}


def test_every_part_of_the_program_is_installed() -> None:
    listed = yaml.safe_load((ROOT / "roles/monitoring/vars/main/metrics.yml").read_text())["__monitoring_metrics_parts"]
    assert listed == sorted(path.stem for path in FILES.glob("*.py"))


@pytest.mark.parametrize("path", sorted(FILES.glob("*.py")), ids=lambda path: path.stem)
def test_the_program_needs_nothing_but_python(path: Path) -> None:
    # Some come from elsewhere; they must not bring the collection with them.
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not [each.name for each in node.names if each.name.startswith("ansible")]
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert not (node.module or "").startswith("ansible")


@pytest.mark.parametrize("role", ["backup", "runner_firewall", "task_images"])
def test_files_of_other_roles_are_where_these_put_them(role: str) -> None:
    texts = "".join(path.read_text() for path in (ROOT / f"roles/{role}/vars").rglob("*.yml"))
    wanted = {
        "backup": '__backup_directory: "{{ trigger_directory }}/backup"',
        "runner_firewall": '__runner_firewall_directory: "{{ trigger_directory }}/firewall"',
        "task_images": "/task_images.json",
    }
    assert wanted[role] in texts
