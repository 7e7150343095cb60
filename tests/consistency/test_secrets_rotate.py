# SPDX-License-Identifier: MIT
"""What the playbook secrets_rotate does follows from the secrets that are replaced, and from how far it has come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.common import ROOT
from tests.plays import render_cases, run_plays

HOST = "one.example.com"
BASE: dict[str, Any] = {
    "trigger_origin": "http://localhost:8030",
    "trigger_requirements": "ignore",
    "webapp_object_store": "seaweedfs",
    "__trigger_host": {"host": {"cpus": 8, "memory_mib": 32768, "mtu": 1500}},
}


def case(
    *names: str,
    found: str = "none",
    stage: str = "begun",
    repository: bool = True,
    added: tuple[str, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    """The rotation as the module tells it, for the host itself, whose variables the others read."""
    resumed = [name for name in names if name not in added] if found != "none" else []
    told = {"names": list(names), "found": found, "stage": stage, "resumed": resumed, "secrets": {}}
    return {
        **BASE,
        "__secrets_rotate_found": told,
        "__secrets_rotate_repository": {"stat": {"exists": repository}},
        "ansible_check_mode": False,
        **more,
    }


CASES = {
    "redis": case("redis_password"),
    "postgres": case("postgres_password"),
    "session": case("session_secret"),
    "objects": case("object_store_access_key"),
    "minio": case("object_store_access_key", webapp_object_store="minio"),
    "worker": case("managed_worker_secret"),
    "worker-again": case("managed_worker_secret", found="begun"),
    "worker-last": case("managed_worker_secret", found="switched", stage="switched"),
    "switched-and-more": case(
        "managed_worker_secret",
        found="switched",
        stage="switched",
        secrets_rotate_names=["managed_worker_secret", "redis_password"],
    ),
    "pull": case("registry_pull_password"),
    "pull-last": case("registry_pull_password", found="switched", stage="switched"),
    "push": case("registry_password"),
    "encryption": case("encryption_key"),
    "encryption-again": case("encryption_key", found="begun"),
    "encryption-unsaved": case("encryption_key", secrets_rotate_backup_enabled=False),
    "encryption-added": case("encryption_key", "redis_password", found="begun", added=("encryption_key",)),
    "backup": case("backup_key"),
    "backup-never-made": case("backup_key", repository=False),
}
WANTED = {
    name: f"__secrets_rotate_{name}"
    for name in (
        *(
            "services",
            "workers",
            "updates_workers",
            "found_steps",
            "coming",
            "backs_up",
            "waits",
            "missed",
            "replaces_key",
        ),
        *("accept", "prepare", "revoke", "effects"),
    )
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return render_cases(
        tmp_path_factory.mktemp("rotation"),
        *("trigger", "webapp", "secrets_rotate"),
        host=HOST,
        wanted=WANTED,
        cases=CASES,
    )


@pytest.mark.parametrize(
    ("name", "services"),
    [
        ("redis", {"trigger-redis", "webapp"}),
        ("postgres", {"trigger-postgres", "electric", "webapp"}),
        ("session", {"webapp"}),
        ("objects", {"trigger-seaweedfs", "webapp"}),
        ("minio", {"trigger-minio", "webapp"}),
        ("pull", set()),
        ("backup", set()),
    ],
)
def test_only_services_that_are_there_start_anew(
    rendered: dict[str, dict[str, Any]], name: str, services: set[str]
) -> None:
    assert set(rendered[name]["services"]) == services


@pytest.mark.parametrize(
    ("name", "steps", "updates", "file"),
    [
        ("redis", [], False, ".next"),
        # All workers are tried before anything is taken away from them; later they may be refused already.
        ("worker", ["together"], True, ".next"),
        ("worker-again", ["together"], False, ".next"),
        ("worker-last", ["together"], False, ""),
        ("pull", ["paused", "registry"], True, ".next"),
        ("pull-last", [], False, ""),
        ("push", ["registry"], False, ".next"),
    ],
)
def test_steps_of_workers_and_registry(
    rendered: dict[str, dict[str, Any]], name: str, steps: list[str], updates: bool, file: str
) -> None:
    found = rendered[name]
    assert found["found_steps"] == steps
    assert found["updates_workers"] is updates
    assert found["coming"] == f"/opt/trigger/secrets.json{file}"


def test_a_backup_is_made_once_before_the_encryption_key(rendered: dict[str, dict[str, Any]]) -> None:
    found = {name: row["backs_up"] for name, row in rendered.items() if row["backs_up"] not in (False, "False")}
    assert set(found) == {"encryption", "encryption-added"}


def test_a_rotation_that_needs_a_backup_waits_for_an_unfinished_one(rendered: dict[str, dict[str, Any]]) -> None:
    """Until that is complete, backups are refused."""
    assert [name for name, row in rendered.items() if row["waits"] is True] == ["encryption-added"]


def test_a_secret_that_had_to_wait_is_named(rendered: dict[str, dict[str, Any]]) -> None:
    """Services had the new secrets of an earlier rotation, which takes no more."""
    assert {name: row["missed"] for name, row in rendered.items() if row["missed"]} == {
        "switched-and-more": ["redis_password"]
    }


def test_the_key_of_a_repository_is_replaced_where_there_is_one(rendered: dict[str, dict[str, Any]]) -> None:
    assert [row["name"] for row in rendered["backup"]["accept"]] == ["backup_key"]
    assert [row["name"] for row in rendered["backup"]["revoke"]] == ["backup_key"]
    assert rendered["backup-never-made"]["accept"] == rendered["backup-never-made"]["revoke"] == []


def test_minio_forgets_the_former_user(rendered: dict[str, dict[str, Any]]) -> None:
    (row,) = rendered["minio"]["revoke"]
    assert row["name"] == "object_store_access_key"
    assert row["argv"][:4] == ["docker", "exec", "-i", "trigger-webapp-trigger-minio-1"]
    assert "mc admin user remove" in row["argv"][-1]
    assert rendered["objects"]["revoke"] == []
    for name in ("minio", "objects"):
        assert {row["name"] for row in rendered[name]["prepare"]} == {
            "object_store_access_key",
            "object_store_secret_key",
        }


def test_people_are_told_what_they_notice(rendered: dict[str, dict[str, Any]]) -> None:
    assert rendered["session"]["effects"] == ["All users are logged out."]
    assert rendered["redis"]["effects"] == []


def test_new_secrets_are_stored_after_every_worker_was_tried() -> None:
    """From then on `site` is refused until the rotation is complete, which takes all workers."""
    plays = [row["name"] for row in yaml.safe_load((ROOT / "playbooks/secrets_rotate.yml").read_text())]
    wanted = ["Update all workers to the present secrets", "Check that every worker was updated"]
    first = plays.index(wanted[0])
    assert plays[first : first + 3] == [*wanted, "Generate the new secrets"]


@pytest.mark.parametrize("failing", ["worker2", "none"])
def test_a_worker_that_failed_ends_the_rotation_before_anything_is_replaced(tmp_path: Path, failing: str) -> None:
    """Ansible goes on with the other hosts. The play that checks is the playbook's own."""
    rows = yaml.safe_load((ROOT / "playbooks/secrets_rotate.yml").read_text())
    (check,) = [row for row in rows if row["name"] == "Check that every worker was updated"]
    fails = {"name": "Fail", "ansible.builtin.fail": {}, "when": f"inventory_hostname == '{failing}'"}
    update = {"name": "Update the workers", "hosts": "trigger_workers", "gather_facts": False, "tasks": [fails]}
    replace = {"name": "Replace a secret", "ansible.builtin.debug": {}}
    after = {"name": "Replace", "hosts": "all", "gather_facts": False, "tasks": [replace]}
    values = {"trigger_origin": "http://localhost:8030", "trigger_api_origin": "http://c.rotate.test:8030"}
    hosts = {"trigger_control": ["c.rotate.test"], "trigger_workers": ["worker1", "worker2"]}
    inventory = {group: {"hosts": dict.fromkeys(names, values)} for group, names in hosts.items()}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    local = {"ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    done = run_plays(tmp_path, [update, check, after], "-i", "hosts.json", "-c", "local", **local)
    assert ("TASK [Replace a secret]" in done.stdout) == (failing == "none"), done.stdout
    assert ("worker2 could not be updated" in done.stdout) == (failing == "worker2"), done.stdout
