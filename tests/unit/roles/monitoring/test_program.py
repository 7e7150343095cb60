# SPDX-License-Identifier: MIT
"""The program as a whole: its parts, its time, and the file that it writes."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_metrics import __main__ as program
from trigger_metrics import database, hosts
from trigger_metrics.catalogue import METRICS
from trigger_metrics.command import Completed
from trigger_metrics.exposition import Sample, replace_file, text, warn

from testbed.common import ROOT

NOTHING: dict[str, Any] = {
    "hosts": [],
    "postgres": {},
    "workers": [],
    "slots": [],
    "slot_lag_max_bytes": 0,
    "disk_used_max_ratio": 0.9,
    "endpoints": {},
    "certificates": {},
    "clock": {},
    "supervisors": False,
    "environments": {},
    "firewall": "",
    "cleaning": {},
    "backup": {},
    "status": {},
    "drift": {},
}
EVERYTHING = {
    **NOTHING,
    "postgres": {"container": "pg", "user": "postgres", "database": "main"},
    "endpoints": {"names": ["a"], "address": "127.0.0.1", "port": 1},
    "clock": {"url": "http://c", "skew_max_seconds": 5},
    "supervisors": True,
    "firewall": "/f.py",
    "cleaning": {"path": "/c.json", "age_max_seconds": 7},
    "backup": {"directory": "/b", "age_max_hours": 30, "test_age_max_seconds": 0, "test_timer": "/t"},
    "status": {"directory": "/s", "age_max_seconds": 7200},
    "drift": {"directory": "/d", "state": "/d/drift.json"},
}
DATABASE = {"container": "pg", "user": "postgres", "database": "main"}


def values(samples: Any) -> dict[tuple[str, ...], float]:
    return {(each.name.removeprefix("trigger_"), *each.labels.values()): float(each.value) for each in samples}


def refuse(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
    raise AssertionError(argv)


def answering(*rows: Any) -> Any:
    """Give a psql that answers one query after the other, and keeps them."""
    left, seen = list(rows), []

    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        seen.append((list(argv), stdin, timeout))
        return Completed(0, json.dumps(left.pop(0)), "")

    run.seen = seen  # type: ignore[attr-defined]
    return run


def test_parts_are_those_of_what_is_there() -> None:
    def none(*_: Any) -> Any:
        raise AssertionError

    assert set(program.parts(NOTHING, refuse, none)) == {"containers"}
    assert set(program.parts(EVERYTHING, refuse, none)) == {
        *("containers", "waiting", "ended", "workers", "slots", "certificates", "clock"),
        *("task_containers", "socket_proxies", "paused", "firewall", "cleaning", "backup", "status", "drift"),
    }


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


def test_a_part_that_fails_says_so_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Iterator[Sample]:
        yield Sample("trigger_backup_bytes", 5)
        raise OSError("it is broken")

    found = values(
        program.collect({"first": broken, "second": lambda: [Sample("trigger_images_cleaned_timestamp_seconds", 7)]})
    )
    assert found["metrics_part_success", "first"] == 0
    assert found["metrics_part_success", "second"] == 1
    assert found["backup_bytes",] == 5
    assert found["images_cleaned_timestamp_seconds",] == 7
    assert capsys.readouterr().err == "first: it is broken\n"


def test_what_fails_is_kept_by_the_journal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    warn("it is broken")
    # The unit keeps what is a notice (5) or worse.
    assert capsys.readouterr().err == "<4>it is broken\n"
    assert "LogLevelMax=notice" in (ROOT / "roles/monitoring/templates/trigger-metrics.service.j2").read_text()


def test_a_part_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def slow() -> list[Sample]:
        time.sleep(120)
        return []

    monkeypatch.setattr(program, "PART_SECONDS", 0.1)
    began = time.monotonic()
    found = values(program.collect({"slow": slow, "next": list}))
    assert time.monotonic() - began < 30
    assert found["metrics_part_success", "slow"] == 0
    assert found["metrics_part_success", "next"] == 1
    assert 0.1 <= found["metrics_part_duration_seconds", "slow"] < 30
    assert "slow: it takes too long" in capsys.readouterr().err


def test_all_parts_together_end_within_the_minute(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([0.0, 0.0, 44.0, 46.0, 46.0, 46.0])
    found = values(program.collect({"one": list, "two": list}, lambda: next(moments)))
    assert found["metrics_part_success", "one"] == 1
    assert found["metrics_part_success", "two"] == 0
    assert found["metrics_duration_seconds",] == 46
    assert "two: the parts before it have used up the time" in capsys.readouterr().err
    assert program.BUDGET_SECONDS + program.PART_SECONDS <= 60


def test_a_file_is_in_the_format_of_prometheus() -> None:
    labels = {"project": "p", "service": 'a "b"\n', "container": "c\\d"}
    written = text(
        [
            Sample("trigger_runs", 2, {"status": "PENDING"}),
            Sample("trigger_container_running", True, labels),
            Sample("trigger_container_restarts_total", 3, labels),
            Sample("trigger_runs", 3, {"status": "DELAYED"}),
            Sample("trigger_runs", 4, {"status": "PENDING"}),
        ]
    )
    assert written == (
        "# HELP trigger_container_running Whether a container runs.\n"
        "# TYPE trigger_container_running gauge\n"
        'trigger_container_running{project="p",service="a \\"b\\"\\n",container="c\\\\d"} 1.0\n'
        "# HELP trigger_container_restarts_total How often the engine has restarted it.\n"
        "# TYPE trigger_container_restarts_total counter\n"
        'trigger_container_restarts_total{project="p",service="a \\"b\\"\\n",container="c\\\\d"} 3.0\n'
        "# HELP trigger_runs Runs that have not ended, by status.\n"
        "# TYPE trigger_runs gauge\n"
        'trigger_runs{status="PENDING"} 4.0\n'
        'trigger_runs{status="DELAYED"} 3.0\n'
    )


def test_a_metric_that_is_not_listed_or_lacks_a_label_cannot_be_written() -> None:
    with pytest.raises(KeyError):
        Sample("trigger_new", 1)
    with pytest.raises(ValueError, match=r"trigger_runs has the labels \('status',\)"):
        Sample("trigger_runs", 1)


def test_counters_are_named_as_such() -> None:
    assert {name for name, metric in METRICS.items() if metric.counter} == {
        name for name in METRICS if name.endswith("_total")
    }


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "trigger.prom"
    file.write_text("old")
    seen = []

    def look(source: Path, target: Path) -> None:
        seen.append((file.read_text(), list(tmp_path.glob("*.prom")), source.read_text(), target))

    monkeypatch.setattr("os.replace", look)
    replace_file(file, "new")
    assert seen == [("old", [file], "new", file)]
    monkeypatch.undo()
    replace_file(file, "new")
    assert file.read_text() == "new"
    # Whoever node_exporter runs as.
    assert file.stat().st_mode & 0o777 == 0o644


def test_the_program_runs_where_there_is_nothing(tmp_path: Path) -> None:
    versions = {"collection_version": "1.2.3", "trigger_version": "v4.5.12"}
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({**NOTHING, "hosts": ["w1"], "folder": str(tmp_path), "versions": versions}))
    done = subprocess.run(
        [sys.executable, "-m", "trigger_metrics", settings],
        env={"PYTHONPATH": str(ROOT / "roles/monitoring/files"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "trigger.prom").read_text()
    assert 'trigger_info{collection_version="1.2.3",trigger_version="v4.5.12"} 1.0\n' in written
    assert 'trigger_metrics_part_success{part="containers"}' in written
    assert '\ntrigger_host_expected{expected="w1"} 1.0\n' in written
    assert "\ntrigger_disk_used_max_ratio 0.9\n" in written
    assert float(written.split("trigger_metrics_last_run_timestamp_seconds ")[-1].split()[0]) > 1.7e9


def test_the_database_is_asked_without_a_password_and_with_a_limit() -> None:
    run = answering([])
    database.Database(run, DATABASE).rows("SELECT 1 AS one")
    argv, stdin, timeout = run.seen[0]
    assert argv[:6] == ["docker", "exec", "-i", "-u", "postgres", "pg"]
    assert argv[-4:] == ["-U", "postgres", "-d", "main"]
    assert "SELECT 1" not in " ".join(argv)
    assert stdin.startswith("SET statement_timeout = 5000;\n")
    assert database.STATEMENT_TIMEOUT / 1000 < timeout < program.PART_SECONDS


def test_a_database_that_does_not_answer_is_told() -> None:
    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(1, "", "Error: No such container: pg")

    with pytest.raises(database.DatabaseError, match="in pg: Error: No such container"):
        database.Database(run, DATABASE).rows("SELECT 1")


def test_every_status_of_runs_has_a_number() -> None:
    run = answering(
        [{"status": "PENDING", "number": 4, "age": 61.5}, {"status": "DELAYED", "number": 1, "age": -0.5}],
        [{"status": "CRASHED", "number": 2}],
    )
    asked = database.Database(run, DATABASE)
    found = values([*database.waiting(asked), *database.ended(asked)])
    assert found["runs", "PENDING"] == 4
    assert found["runs_oldest_age_seconds", "PENDING"] == 61.5
    assert found["runs", "EXECUTING"] == found["runs_oldest_age_seconds", "EXECUTING"] == 0
    assert found["runs_oldest_age_seconds", "DELAYED"] == 0
    assert found["runs_ended_last_hour", "CRASHED"] == 2
    assert found["runs_ended_last_hour", "COMPLETED_SUCCESSFULLY"] == 0


def test_runs_that_wait_are_known_where_counting_those_that_have_ended_takes_too_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Alerts about runs that wait would be blind otherwise, when there are most."""

    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if "completedAt" in stdin:
            return Completed(1, "", "ERROR:  canceling statement due to statement timeout")
        return Completed(0, json.dumps([{"status": "PENDING", "number": 4, "age": 61.5}]), "")

    wanted = program.parts({**NOTHING, "postgres": DATABASE}, run, lambda *_: [])
    found = values(program.collect({name: wanted[name] for name in ("waiting", "ended")}))
    assert found["runs", "PENDING"] == 4
    assert (found["metrics_part_success", "waiting"], found["metrics_part_success", "ended"]) == (1, 0)
    assert "ended: the database in pg: ERROR:  canceling statement" in capsys.readouterr().err


def test_workers_have_their_heartbeats_and_those_of_the_inventory_an_interval() -> None:
    run = answering(
        [
            {"worker": "w1", "worker_group": "bootstrap", "heartbeat": 1000.5},
            {"worker": "old", "worker_group": "bootstrap", "heartbeat": None},
        ]
    )
    expected = [("w1", "bootstrap", 30.0)]
    assert values(database.workers(database.Database(run, DATABASE), expected)) == {
        ("worker_heartbeat_timestamp_seconds", "w1", "bootstrap"): 1000.5,
        ("worker_heartbeat_timestamp_seconds", "old", "bootstrap"): 0,
        ("worker_heartbeat_interval_seconds", "w1", "bootstrap"): 30,
    }


def test_slots_that_are_lost_missing_or_unread() -> None:
    run = answering(
        [
            {"name": "good", "active": True, "wal": "reserved", "lag": 56},
            {"name": "unread", "active": False, "wal": "extended", "lag": 2**30},
            {"name": "lost", "active": False, "wal": "lost", "lag": None},
        ]
    )
    wanted: dict[tuple[str, ...], float] = {
        ("replication_slot_lag_max_bytes",): 5,
        **{("replication_slot_present", name): 1 for name in ("good", "unread", "lost")},
        ("replication_slot_present", "missing"): 0,
        ("replication_slot_active", "good"): 1,
        ("replication_slot_active", "unread"): 0,
        ("replication_slot_active", "lost"): 0,
        ("replication_slot_lost", "good"): 0,
        ("replication_slot_lost", "unread"): 0,
        ("replication_slot_lost", "lost"): 1,
        ("replication_slot_lag_bytes", "good"): 56,
        ("replication_slot_lag_bytes", "unread"): 2**30,
    }
    assert values(database.slots(database.Database(run, DATABASE), ["good", "missing"], 5)) == wanted


@pytest.mark.parametrize(("code", "value"), [(0, 1), (1, 0), (124, 0)])
def test_the_firewall_is_in_force_when_its_program_says_so(code: int, value: float) -> None:
    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert argv == ["/usr/bin/env", "python3", "/f.py", "check"]
        assert timeout < program.PART_SECONDS
        return Completed(code, "", "")

    assert values(hosts.firewall(run, "/f.py")) == {("runner_firewall_in_force",): value}


def test_a_worker_is_paused_when_its_environment_says_so(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("drained", "usual", "silent", "new")}
    (tmp_path / "drained").write_text('A="b"\nTRIGGER_DEQUEUE_ENABLED="false"\nC="d"\n')
    (tmp_path / "usual").write_text('TRIGGER_DEQUEUE_ENABLED="true"\nNOTE="TRIGGER_DEQUEUE_ENABLED=false"\n')
    (tmp_path / "silent").write_text("")
    assert values(hosts.paused(files)) == {
        ("worker_paused", "drained"): 1,
        ("worker_paused", "usual"): 0,
        ("worker_paused", "silent"): 0,
    }
    # As the role that pauses one writes it.
    assert 'line: TRIGGER_DEQUEUE_ENABLED="false"\n' in (ROOT / "roles/supervisor/tasks/pause.yml").read_text()


class Proxy(http.server.BaseHTTPRequestHandler):
    status = 403
    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["User-Agent"]))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(("status", "value"), [(403, 1), (200, 0)])
def test_a_proxy_is_asked_for_what_it_must_refuse(status: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    handler = type("Handler", (Proxy,), {"status": status, "asked": asked})
    networks = {"trigger-runner": {"IPAddress": "192.0.2.1"}, "trigger-proxy-b": {"IPAddress": "127.0.0.1"}}
    rows = [
        {"Names": ["/trigger-supervisor-docker-socket-proxy-1"], "NetworkSettings": {"Networks": networks}},
        {"Names": ["/stopped"], "NetworkSettings": {"Networks": {"trigger-proxy": {"IPAddress": ""}}}},
    ]
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(hosts, "PROXY_PORT", server.server_port)
        found = values(hosts.proxies(lambda path, query=None: rows))
        server.shutdown()
    assert found == {
        ("socket_proxy_refusing", "trigger-supervisor-docker-socket-proxy-1"): value,
        ("socket_proxy_refusing", "stopped"): 0,
    }
    # That name is left out where refusals are counted.
    assert asked == [("/networks", "trigger-verify")]
    assert 'AGENT = "trigger-verify"' in (ROOT / "plugins/modules/socket_proxy_info.py").read_text()


def test_the_last_cleaning(tmp_path: Path) -> None:
    file = tmp_path / "task_images.json"
    told = {"path": str(file), "age_max_seconds": 7}
    assert values(hosts.cleaning(told)) == {}
    program = tmp_path / "task_images.py"
    program.touch()
    os.utime(program, (900, 900))
    expected: dict[tuple[str, ...], float] = {
        ("images_cleaning_expected_since_timestamp_seconds",): 900,
        ("images_cleaned_age_max_seconds",): 7,
    }
    assert values(hosts.cleaning(told)) == expected
    file.write_text('{"looked": 1000.5, "used": {}}')
    assert values(hosts.cleaning(told)) == {**expected, ("images_cleaned_timestamp_seconds",): 1000.5}
    assert (ROOT / "roles/task_images/files/task_images.py").is_file()


def test_the_page_of_the_status(tmp_path: Path) -> None:
    told = {"directory": str(tmp_path), "age_max_seconds": 7200}
    assert values(hosts.status_page(told)) == {}
    program = tmp_path / "trigger-status"
    program.touch()
    os.utime(program, (900, 900))
    expected: dict[tuple[str, ...], float] = {
        ("status_page_age_max_seconds",): 7200,
        ("status_page_expected_since_timestamp_seconds",): 900,
    }
    assert values(hosts.status_page(told)) == expected
    (tmp_path / "page").mkdir()
    page = tmp_path / "page/status.json"
    page.touch()
    os.utime(page, (1000, 1000))
    assert values(hosts.status_page(told)) == {**expected, ("status_page_written_timestamp_seconds",): 1000}
    # As the program that writes it names them.
    text = (ROOT / "roles/status/files/trigger_status/__main__.py").read_text()
    assert 'replace(folder / "status.json"' in text
    assert "path: trigger-status\n" in (ROOT / "roles/status/vars/main/schedule.yml").read_text()


GOOD = {"time": 1000.0, "bytes": 5, "seconds": 2.5}


@pytest.mark.parametrize(
    ("found", "failed"),
    [
        ({"good": GOOD}, {}),
        ({"good": GOOD, "failed": {"time": 1.0, "error": ""}}, {}),
        ({"good": GOOD, "failed": {"time": 1.0, "error": "no"}}, {"backup": 1}),
        ({"good": GOOD, "unverified": {"time": 1.0, "error": "no"}}, {"verification": 1}),
        ({"good": GOOD, "point_failed": {"time": 1.0, "error": "no"}}, {"point": 1}),
    ],
)
def test_backups_by_what_their_program_has_noted(tmp_path: Path, found: Any, failed: dict[str, int]) -> None:
    (tmp_path / "status.json").write_text(json.dumps({**found, "verified": {"time": 2000.0}}))
    wanted: dict[tuple[str, ...], float] = {
        ("backup_last_success_timestamp_seconds",): 1000,
        ("backup_bytes",): 5,
        ("backup_seconds",): 2.5,
        ("backup_last_verified_timestamp_seconds",): 2000,
    }
    wanted |= {("backup_failed", kind): failed.get(kind, 0) for kind in ("backup", "verification", "point")}
    told = {"directory": str(tmp_path), "age_max_hours": 0, "test_age_max_seconds": 0, "test_timer": "/t"}
    assert values(hosts.backups(told)) == wanted


def test_the_first_backup_is_waited_for_since_the_program_was_installed(tmp_path: Path) -> None:
    told = {"directory": str(tmp_path), "age_max_hours": 30, "test_age_max_seconds": 0, "test_timer": "/t"}
    assert ("backup_age_max_seconds",) not in values(hosts.backups(told))
    (tmp_path / "trigger-backup").touch()
    (tmp_path / "plan.json").touch()
    found = values(hosts.backups(told))
    assert found["backup_age_max_seconds",] == 30 * 3600
    assert abs(found["backup_expected_since_timestamp_seconds",] - time.time()) < 60
    assert ("backup_last_success_timestamp_seconds",) not in found


def test_the_first_test_of_a_backup_is_waited_for_since_its_timer_was_written(tmp_path: Path) -> None:
    timer = tmp_path / "verify.timer"
    told = {"directory": str(tmp_path), "age_max_hours": 0, "test_age_max_seconds": 9, "test_timer": str(timer)}
    assert ("backup_test_age_max_seconds",) not in values(hosts.backups(told))
    timer.touch()
    os.utime(timer, (900, 900))
    found = values(hosts.backups(told))
    assert found["backup_test_age_max_seconds",] == 9
    assert found["backup_test_expected_since_timestamp_seconds",] == 900
    assert ("backup_test_age_max_seconds",) not in values(hosts.backups({**told, "test_age_max_seconds": 0}))
