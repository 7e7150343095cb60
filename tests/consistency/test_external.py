# SPDX-License-Identifier: MIT
"""Each requirement of an external service says so when it is not met, and none of them when all are."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from tests.plays import run_plays, variable_files

Found = dict[str, dict[str, Any]]

GOOD: Found = {
    "postgres": {
        "version": "17.6",
        "wal_level": "logical",
        "max_replication_slots": 10,
        "free_replication_slots": 2,
        "replication_slots": [],
        "max_wal_senders": 10,
        "standby": False,
        "replication_allowed": True,
        "create_allowed": True,
        "schema_create_allowed": True,
        "foreign_tables": [],
    },
    "redis": {
        "version": "7.4.5",
        "role": "master",
        "maxmemory_policy": "noeviction",
        "aof_enabled": True,
        "cluster_enabled": False,
    },
    "clickhouse": {"version": "25.8.18.1", "missing_rights": []},
    "object_store": {"exists": True, "readable": True, "writable": True, "answer": ""},
}
OWN_SLOTS = ["electric_slot_default", "task_runs_to_clickhouse_v1"]
# What is found instead -> words of what is said. No words: that is good as well.
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("postgres", {}, []),
    ("postgres", {"version": "13.22"}, ["version is 13.22", "must be 14 or newer"]),
    ("postgres", {"standby": True}, ["standby", "webapp_postgres_url"]),
    ("postgres", {"wal_level": "replica"}, ["wal_level is replica, must be logical", "ALTER SYSTEM SET wal_level"]),
    ("postgres", {"free_replication_slots": 1}, ["1 of 10 replication slots are free, 2 are needed"]),
    ("postgres", {"free_replication_slots": 0, "replication_slots": OWN_SLOTS}, []),
    ("postgres", {"max_wal_senders": 1}, ["max_wal_senders is 1, must be at least 2"]),
    ("postgres", {"replication_allowed": False}, ['ALTER ROLE "tr@igger" REPLICATION', "rds_replication"]),
    ("postgres", {"create_allowed": False}, ['GRANT CREATE ON DATABASE "data" TO "tr@igger"']),
    ("postgres", {"schema_create_allowed": False}, ['GRANT CREATE ON SCHEMA public TO "tr@igger"']),
    ("postgres", {"foreign_tables": list("abcdef")}, ["does not own a, b, c, d, e and more in the schema public"]),
    ("redis", {"role": "slave"}, ["replica", "webapp_redis_host"]),
    ("redis", {"cluster_enabled": True}, ["cluster"]),
    ("redis", {"maxmemory_policy": "allkeys-lru"}, ["maxmemory-policy is allkeys-lru, must be noeviction"]),
    ("redis", dict.fromkeys(GOOD["redis"]), []),
    ("clickhouse", {"version": "25.3.1.1"}, ["version is 25.3.1.1", "v4.5.12 needs 25.8 or newer"]),
    ("clickhouse", {"missing_rights": ["CREATE DATABASE ON trigger_dev.*"]}, ["CREATE DATABASE ON trigger_dev.*"]),
    ("clickhouse", {"missing_rights": None}, []),
    ("object_store", {"exists": False, "writable": False, "readable": None}, ["no bucket packets at", "create it"]),
    ("object_store", {"writable": False, "readable": None, "answer": "AccessDenied"}, ["be put", "AccessDenied"]),
    ("object_store", {"readable": False, "answer": "AccessDenied"}, ["cannot be read", "s3:GetObject"]),
    ("object_store", {"exists": None, "writable": None, "readable": None}, []),
]  # fmt: skip


def case(service: str, values: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """Make the loop's item of a case."""
    found = deepcopy(GOOD)
    found[service] |= values
    return {"name": f"{service} {values}", "found": found, "words": words}


def test_every_requirement(tmp_path: Path) -> None:
    play = {
        "name": "Compare what is found with what is required",
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": variable_files("trigger", "webapp"),
        "tasks": [
            {
                "name": "Each requirement is told when it is not met",
                "ansible.builtin.assert": {
                    "that": [
                        "__webapp_external_faults | length == (1 if item.words else 0)",
                        "item.words | reject('in', __webapp_external_faults | join) | length == 0",
                    ],
                    "fail_msg": "{{ item.name }}: {{ __webapp_external_faults }}",
                },
                "loop": [case(*row) for row in CASES],
                "loop_control": {"label": "{{ item.name }}"},
                "vars": {
                    "__webapp_external_postgres": {"postgres_server": "{{ item.found.postgres }}"},
                    "__webapp_external_redis": {"redis_server": "{{ item.found.redis }}"},
                    "__webapp_external_clickhouse": {"clickhouse_server": "{{ item.found.clickhouse }}"},
                    "__webapp_external_object_store": {"object_store": "{{ item.found.object_store }}"},
                },
            }
        ],
    }
    settings = {
        "trigger_version": "v4.5.12",
        "trigger_origin": "http://control.example.com:8030",
        "webapp_postgres_url": "postgresql://tr%40igger@db.example.com/data?sslmode=require",
        "webapp_redis_host": "redis.example.com",
        "webapp_clickhouse_url": "https://trigger@clickhouse.example.com",
        "webapp_object_store": "external",
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    done = run_plays(tmp_path, [play], "-i", "localhost,", "-e", "@settings.json")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_every_requirement_has_a_case(root: Path) -> None:
    rules = yaml.safe_load((root / "roles/webapp/vars/main/rules.yml").read_text())
    found = [rule for service in GOOD for rule in rules[f"__webapp_{service}_rules"]]
    assert len(found) == len([words for _, _, words in CASES if words])
