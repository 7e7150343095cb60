# SPDX-License-Identifier: MIT
"""What a rotation of secrets refuses, with one sentence that says where to change it, before any host is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.refusals.test_refusals import CHANGE, CONTROL, inventory, run_playbook

NAMES = "secrets_rotate_names"
GIVEN = "given-value-0123456789abcdef0123"
EXTERNAL = {
    "webapp_postgres_url": "postgresql://trigger@db.example.com/trigger",
    "trigger_secrets": {"postgres_password": GIVEN},
}
REDIS = {"webapp_redis_host": "redis.example.com"}
# Values of the inventory, the setting, words of the message.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "nothing-is-named": ({}, {}, [f"{NAMES} is empty", "redis_password", "backup_key"]),
    "a-secret-that-does-not-exist": (
        {},
        {NAMES: ["redis_pasword"]},
        [f"{NAMES} holds redis_pasword", "no such secret", "postgres_password", "backup_key"],
    ),
    "the-token-of-workers": (
        {},
        {NAMES: ["redis_password", "worker_token"]},
        ["worker_token,", "worker_token_rotate."],
    ),
    "a-setting": (
        {"webapp_metrics_password": GIVEN},
        {NAMES: ["webapp_metrics_password", "registry_client_password"]},
        [
            "webapp_metrics_password, registry_client_password",
            "inventory",
            "playbook site and the playbook registry_client",
        ],
    ),
    "a-secret-of-the-inventory": (
        {"trigger_secrets": {"session_secret": GIVEN}},
        {NAMES: ["session_secret", "redis_password"]},
        ["sets session_secret in trigger_secrets", "Change it there", "playbook site"],
    ),
    "a-key-of-the-inventory-that-site-cannot-change": (
        {"trigger_secrets": {"encryption_key": GIVEN}},
        {NAMES: ["encryption_key"]},
        ["sets encryption_key in trigger_secrets", "Take it out of the inventory", "/opt/trigger/secrets.json"],
    ),
    "an-external-postgres": (EXTERNAL, {NAMES: ["postgres_password"]}, ["postgres_password", "webapp_postgres_url"]),
    "an-external-redis": (REDIS, {NAMES: ["redis_password"]}, ["redis_password", "external", "webapp_redis_host"]),
    "a-key-that-no-backup-holds": (
        {"backup_include": ["redis"]},
        {NAMES: ["encryption_key"]},
        ["encryption_key", "backup_include", "secrets_rotate_backup_enabled"],
    ),
    "a-host-is-left-out": ({}, {NAMES: ["redis_password"]}, ["--limit leaves out", "worker.example.com"]),
    "everything-is-right": ({}, {NAMES: ["redis_password", "encryption_key"]}, [CHANGE]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_reaches_the_first_change(name: str, tmp_path: Path) -> None:
    values, asked, words = CASES[name]
    hosts: dict[str, Any] = {CONTROL: {}, "worker.example.com": {}}
    inventory(tmp_path, {"values": values, "workers": hosts})
    limit = ["--limit", CONTROL] if name == "a-host-is-left-out" else []
    done = run_playbook(tmp_path, "secrets_rotate", [*(["-e", json.dumps(asked)] if asked else []), *limit])
    assert done.code != 0
    assert CHANGE in words or len(done.errors) == 1, done.ending()
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert done.changes == []
    assert (CHANGE in done.output) == (CHANGE in words), done.ending()
    shown = GIVEN in done.output
    assert not shown, "a secret of the inventory is printed"
