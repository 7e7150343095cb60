# SPDX-License-Identifier: MIT
"""What the bundled ClickHouse is told: it fits into its container, and keeps no logs of its own without end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.plays import render_cases

MIB = 2**20
EXTRA = "<clickhouse><profiles><default><max_threads>1</max_threads></default></profiles></clickhouse>"
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "small": {"webapp_clickhouse_memory_mib": 1024, "webapp_redis_memory_mib": 512, "webapp_clickhouse_cpus": 0.5},
    "extra": {"webapp_clickhouse_extra_users_config": EXTRA, "webapp_telemetry_enabled": True},
    "external": {"webapp_clickhouse_url": "http://trigger@clickhouse.example.com:8123"},
}
MINIMUM = ("clickhouse-config.xml:/etc/clickhouse-server/config.d/trigger.xml:ro",
           "clickhouse-users.xml:/etc/clickhouse-server/users.d/trigger.xml:ro")  # fmt: skip


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The files of each case, on a host with 4 processors and 16 GiB."""
    engine = {"NCPU": 4, "MemTotal": 16384 * MIB}
    return render_cases(
        tmp_path_factory.mktemp("clickhouse"),
        "trigger",
        "compose_project",
        "webapp",
        host="control.example.com",
        wanted={
            "files": "__webapp_clickhouse_files",
            "mounts": "__webapp_clickhouse_mounts",
            "memory": "__webapp_memory_mib",
            "script": "__webapp_clickhouse_validation",
            "redis": "__webapp_redis_maxmemory_mib",
        },
        cases={name: {"__trigger_engine": engine, **case} for name, case in CASES.items()},
    )


def document(rendered: dict[str, Any], name: str) -> ElementTree.Element:
    """Read one of the files."""
    (file,) = (file for file in rendered["files"] if file["path"] == name)
    assert (file["owner"], file["mode"]) == (101, "0400"), "its user reads it, and nobody else"
    root = ElementTree.fromstring(file["content"])
    assert root.tag == "clickhouse"
    return root


def number(root: ElementTree.Element, path: str) -> int:
    """Give the number at a path."""
    return int(str(root.findtext(path)))


@pytest.mark.parametrize("case", ["default", "small", "extra"])
def test_what_it_may_use_is_less_than_its_container_has(rendered: dict[str, dict[str, Any]], case: str) -> None:
    row = rendered[case]
    limit = row["memory"]["trigger-clickhouse"] * MIB
    server, users = document(row, "clickhouse-config.xml"), document(row, "clickhouse-users.xml")
    most = number(server, "max_server_memory_usage")
    assert 0.7 * limit < most < 0.9 * limit
    names = [element.tag for element in server if element.tag.endswith("_cache_size")]
    assert len(names) >= 5
    assert sum(number(server, name) for name in names) + number(server, "query_cache/max_size_in_bytes") < most / 3
    assert number(users, "profiles/default/max_memory_usage") < most
    assert number(users, "profiles/default/max_threads") == (1 if case == "small" else 2)


def test_its_own_logs_are_small_or_off(rendered: dict[str, dict[str, Any]]) -> None:
    server = document(rendered["default"], "clickhouse-config.xml")
    assert server.findtext("logger/level") == "warning"
    assert (server.findtext("logger/size"), server.findtext("logger/count")) == ("10M", "3")
    removed = {element.tag for element in server if element.get("remove") == "1"}
    assert {"query_log", "trace_log", "text_log", "metric_log", "asynchronous_metric_log", "part_log"} <= removed
    assert server.findtext("send_crash_reports/enabled") == "false"


def test_what_the_operator_adds_comes_last(rendered: dict[str, dict[str, Any]]) -> None:
    assert [file["content"] for file in rendered["extra"]["files"]][-1] == EXTRA
    places = [mount.split(":")[1] for mount in rendered["extra"]["mounts"] if "/users.d/" in mount]
    assert len(places) == 2
    assert places == sorted(places, key=lambda place: Path(place).name)
    assert places[-1].endswith("/trigger_extra.xml")
    assert document(rendered["extra"], "clickhouse-config.xml").findtext("send_crash_reports/enabled") == "true"


def test_the_engine_looks_at_the_files_where_it_will_find_them(rendered: dict[str, dict[str, Any]]) -> None:
    row = rendered["default"]
    assert [mount.removeprefix("/opt/trigger/webapp/") for mount in row["mounts"]] == list(MINIMUM)
    assert [word for word in MINIMUM if f'"$folder/{word}"' not in row["script"][2]] == []
    assert row["script"][3:] == ["sh", "%s", "docker.io/clickhouse/clickhouse-server:25.8.18.1"]


@pytest.mark.parametrize(
    ("docker", "code"),
    [
        pytest.param("exit 0", 0, id="taken"),
        pytest.param('case "$*" in *trigger.xml*) echo unknown setting >&2; exit 1;; esac', 1, id="refused"),
        pytest.param('test "$1" = image', 0, id="an image that cannot be asked"),
        pytest.param("exit 1", 0, id="no image"),
    ],
)
def test_only_what_the_engine_refuses_ends_the_run(
    rendered: dict[str, dict[str, Any]], tmp_path: Path, docker: str, code: int
) -> None:
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\n{docker}\n")
    program.chmod(0o755)
    done = subprocess.run(
        rendered["default"]["script"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        assert "unknown setting" in done.stdout
        assert "webapp_clickhouse_extra_users_config" in done.stdout


def test_somebody_elses_gets_nothing(rendered: dict[str, dict[str, Any]]) -> None:
    assert (rendered["external"]["files"], rendered["external"]["script"]) == ([], [])


@pytest.mark.parametrize("case", ["default", "small"])
def test_redis_refuses_writes_before_the_kernel_ends_it(rendered: dict[str, dict[str, Any]], case: str) -> None:
    """A rewrite of its file copies what changes meanwhile."""
    limit = rendered[case]["memory"]["trigger-redis"]
    assert 0.5 * limit < int(rendered[case]["redis"]) < 0.65 * limit
