# SPDX-License-Identifier: MIT
"""What is broken is diagnosed, too: the archive has what could be collected, and the run says what could not."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from verification.deployment import Play

from tests.refusals.test_refusals import CHANGE, CONTROL, inventory, run_playbook

WORKER = "worker.example.com"
ROW = {"what": "memory", "ok": True, "detail": "enough"}
CHECKS: dict[str, Any] = {"checks": [], "failed": False}
# Every part of a status is answered.
GOOD: dict[str, Any] = {
    **dict.fromkeys(("replication_slot_info", "task_run_info", "redis_queue_info", "backup_info"), CHECKS),
    "worker_instance_info": {"worker_instances": [{"last_contact_age_seconds": 1, "connected_last": False}]},
    "socket_proxy_info": {"checks": [{"what": "socket proxy", "ok": True, "detail": "refuses"}]},
    "host_health_info": {
        "checks": [ROW],
        "clock": {"asked_at": 1.0, "began_at": 1.0, "ended_at": 2_000_000_000_000.0},
    },
}
FAULT: dict[str, Any] = {"failed": True, "msg": "Postgres does not answer"}
# Host -> what it answers otherwise; hosts whose status is incomplete, and what the table says of them.
CASES: dict[str, tuple[dict[str, dict[str, Any]], dict[str, str]]] = {
    "good": ({}, {}),
    # What was found before stays.
    "broken": (
        {CONTROL: {"replication_slot_info": FAULT}, WORKER: {"host_health_info": FAULT}},
        {CONTROL: FAULT["msg"], WORKER: FAULT["msg"]},
    ),
    "lost-control-host": ({CONTROL: {"unreachable": True}}, {CONTROL: "unreachable or failed"}),
    "lost-worker": ({WORKER: {"unreachable": True}}, {WORKER: "unreachable or failed"}),
}


# What a host knows as secret, and another one tells.
KNOWN_TO_ONE = {CONTROL: "known-to-the-control-host", WORKER: "known-to-the-worker"}


def run(folder: Path, playbook: str, otherwise: dict[str, dict[str, Any]], *options: str) -> Play:
    answers = {host: {"answering_otherwise": GOOD | otherwise.get(host, {})} for host in (CONTROL, WORKER)}
    inventory(folder, {"control": {CONTROL: answers[CONTROL]}, "workers": {WORKER: answers[WORKER]}})
    return run_playbook(folder, playbook, ["-e", json.dumps({"diagnose_directory": str(folder / "told")}), *options])


@pytest.mark.parametrize("name", CASES)
def test_what_could_be_collected_is_in_the_archive(name: str, tmp_path: Path) -> None:
    otherwise, incomplete = CASES[name]
    done = run(tmp_path, "diagnose", otherwise)
    lost = {host for host, answers in otherwise.items() if answers.get("unreachable")}
    with tarfile.open(tmp_path / "told.tar.gz") as archive:
        names = {path.removeprefix("told/") for path in archive.getnames()}
        assert names == {
            *("told", "status", "status/table.txt", "status/report.json", "status/report.html"),
            *(f"{host}.txt" for host in {CONTROL, WORKER} - lost),
        }
        table, document = (archive.extractfile(f"told/status/{file}") for file in ("table.txt", "report.json"))
        assert table
        assert document
        lines = table.read().decode().splitlines()
        found = {host["name"]: host["checks"] for host in json.load(document)["hosts"]}
    for host in (CONTROL, WORKER):
        told = [line for line in lines if line.startswith(host)]
        assert any("memory" in line for line in told) == (host not in incomplete), told
        assert len(told) == len(found[host])
        for text in [incomplete[host]] if host in incomplete else []:
            assert any(text in line for line in told), told
        if host == WORKER and host not in lost:
            assert any("socket proxy" in line for line in told), told
    # The run says at its end what could not be collected, with the reason above.
    assert (done.code == 0) == (incomplete == {}), done.ending()
    for host, text in incomplete.items():
        assert f"{host}: {text if host in lost else 'collection of the status'}" in done.message, done.ending()
        assert "told.tar.gz is written" in done.message
        assert CHANGE not in done.message
    assert f"{tmp_path}/told.tar.gz has one text for each host" in done.text


def test_secrets_of_each_host_are_taken_out_of_what_all_hosts_tell(tmp_path: Path) -> None:
    """A host may tell one of another, and does not know it."""
    told = f"it says {' and '.join(KNOWN_TO_ONE.values())}"
    health = {**GOOD["host_health_info"], "checks": [{**ROW, "what": "told by a host", "detail": told}]}
    answers = {
        host: {"host_health_info": health, "text": told, "secrets": [secret]} for host, secret in KNOWN_TO_ONE.items()
    }
    done = run(tmp_path, "diagnose", answers)
    assert done.code == 0, done.ending()
    with tarfile.open(tmp_path / "told.tar.gz") as archive:
        for file in ("status/table.txt", "status/report.json", "status/report.html", f"{CONTROL}.txt", f"{WORKER}.txt"):
            part = archive.extractfile(f"told/{file}")
            assert part
            text = part.read().decode()
            assert "it says *** and ***" in text, file
            assert [secret for secret in KNOWN_TO_ONE.values() if secret in text] == [], file
    assert [secret for secret in KNOWN_TO_ONE.values() if secret in done.text] == []


@pytest.mark.parametrize("name", ["good", "broken"])
def test_a_dry_run_writes_nothing_and_does_not_say_so(name: str, tmp_path: Path) -> None:
    otherwise, incomplete = CASES[name]
    done = run(tmp_path, "diagnose", otherwise, "--check")
    assert (done.code == 0) == (incomplete == {}), done.ending()
    assert not any(tmp_path.glob("told*"))
    assert "told.tar.gz" not in done.text
    assert done.changes == []
    for host in incomplete:
        assert f"{host}: collection of the status" in done.message, done.ending()
        assert "Nothing is written in a dry run." in done.message


def test_the_status_of_workers_is_told_without_the_control_host(tmp_path: Path) -> None:
    """Their tasks call it, and a host that cannot be reached by one takes that one out of the play."""
    done = run(tmp_path, "status", {CONTROL: {"unreachable": True}})
    assert done.code != 0
    assert f"{CONTROL}: unreachable or failed" in done.message, done.ending()
    assert f"{WORKER}: unreachable or failed" not in done.message
    assert "the control host cannot be reached or has failed, so this was not checked" in done.text
