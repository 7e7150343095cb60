# SPDX-License-Identifier: MIT
"""A service of the control stack is one row: each row is complete, and nothing else lists the services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "roles/webapp/vars/main/services.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["__webapp_services"]
NEEDED = {"does", "without", "deployed", "memory", "container"}
OPTIONAL = {"external", "rules", "files", "environment"}
CONTAINER = {"image", "user", "networks", "healthcheck", "cpus", "memory_mib", "memory_reservation_mib"}
# `webapp` is the name of a role too.
NAMES = {name: re.compile(rf"(?<![\w-]){name}(?![\w-])") for name in SERVICES if name != "webapp"}


def lists(value: object) -> Iterator[str]:
    """Give each text, the items of each list and the keys of each dictionary, as one text each."""
    if isinstance(value, dict):
        yield "\n".join(map(str, value))
        for inner in value.values():
            yield from lists(inner)
    elif isinstance(value, list):
        yield "\n".join(item for item in value if isinstance(item, str))
        for inner in value:
            yield from lists(inner)
    elif isinstance(value, str):
        yield value


def listed(value: object) -> list[set[str]]:
    """Give the services of each place in a document that names more than one."""
    found = [{name for name, pattern in NAMES.items() if pattern.search(text)} for text in lists(value)]
    return [names for names in found if len(names) > 1]


@pytest.mark.parametrize("name", SERVICES)
def test_a_row_is_complete(name: str) -> None:
    row = SERVICES[name]
    assert NEEDED <= set(row) <= NEEDED | OPTIONAL
    assert set(row["container"]) >= CONTAINER
    settings = yaml.safe_load((ROOT / "roles/webapp/meta/settings.yml").read_text())["settings"]
    limit = row["memory"]["setting"]
    wanted = {limit, limit.replace("_memory_", "_memory_reservation_"), limit.replace("_memory_mib", "_image")}
    assert wanted | {limit.replace("_memory_mib", "_cpus")} <= set(settings)


def test_no_other_place_lists_services(files: dict[str, str]) -> None:
    found = {}
    for path, text in files.items():
        where = re.match(r"(roles/\w+/(vars|tasks|defaults|handlers)|playbooks)/.*[.]ya?ml$", path)
        # What is generated is no other place.
        written = text.split("\n")[1:2] and text.split("\n")[1].startswith("# Written by `make generate`")
        if where and not written and ROOT / path != FILE and (names := listed(yaml.safe_load(text))):
            found[path] = names
    assert found == {}


@pytest.mark.parametrize(
    "document",
    [
        {"a": {"trigger-redis": 1, "electric": 2}},
        {"a": ["trigger-redis", "trigger-minio"]},
        {"a": [{"b": "{{ names | difference(['electric', 'trigger-minio']) }}"}]},
    ],
)
def test_a_list_of_services_is_noticed(document: dict[str, Any]) -> None:
    assert len(listed(document)) == 1


def test_one_row_adds_a_service(tmp_path: Path) -> None:
    row = {
        "deployed": True,
        "memory": {"setting": "webapp_s2_memory_mib", "steps_mib": [64, 128, 256, 512]},
        "files": [{"path": "s2.conf", "content": "a", "mode": "0400"}],
        "environment": {"S2_ROOT": "/data"},
        "container": {
            "image": "docker.io/example/s2:1",
            "networks": ["trigger-data"],
            "volumes": ["trigger_s2_data:/data"],
            "memory_mib": "{{ __webapp_memory_mib['s2'] }}",
        },
    }
    document = yaml.safe_load(FILE.read_text())
    document["__webapp_services"]["s2"] = row
    (tmp_path / "services.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    given = {
        "trigger_origin": "http://control.example.com:8030",
        "webapp_s2_memory_mib": 0,
        "webapp_s2_memory_reservation_mib": 0,
        "__trigger_engine": {"NCPU": 2, "MemTotal": 32 * 2**30},
        "__webapp_passwords": dict.fromkeys(
            ("redis", "object_store_access_key", "object_store_secret_key"), "a password"
        ),
    }
    told = {"webapp_s2_memory_mib": 100, "webapp_s2_memory_reservation_mib": 200}
    outside = {"webapp_redis_host": "redis.example.com"}
    cases = render_cases(
        tmp_path,
        *("trigger", "compose_project", "webapp"),
        host="control.example.com",
        wanted={
            "project": "__webapp_definition",
            "memory": "__webapp_memory_mib",
            "environment": "__webapp_environments.s2",
            "files": "__webapp_project_files | map(attribute='path')",
            "problems": "__webapp_problems",
            "external": "__webapp_external_services",
        },
        cases={"shared": given, "told": given | told, "outside": given | outside},
        files=[tmp_path / "services.yml"],
    )
    shared = cases["shared"]
    services = shared["project"]["services"]
    assert services["webapp"]["depends_on"]["s2"] == {"condition": "service_healthy"}
    assert services["s2"]["memory_mib"] == shared["memory"]["s2"] > 64
    assert "trigger_s2_data" in shared["project"]["volumes"]
    assert shared["environment"] == {"S2_ROOT": "/data"}
    assert {"s2.conf", "redis.conf"} <= set(shared["files"])
    assert shared["problems"] == []
    assert cases["told"]["memory"]["s2"] == 100
    assert "must not exceed webapp_s2_memory_mib (100)" in cases["told"]["problems"][0]
    assert cases["outside"]["external"] == ["trigger-redis"]
    assert "redis.conf" not in cases["outside"]["files"]
    assert "trigger-redis" not in cases["outside"]["project"]["services"]["webapp"]["depends_on"]
