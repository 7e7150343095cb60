# SPDX-License-Identifier: MIT
"""What else of a host nobody exports: paused workers, firewall, proxies, cleaning, backups, page of the status."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from .command import Run
from .containers import SERVICE
from .engine import Ask
from .exposition import Sample

SECONDS = 8
PROXY_SERVICE, PROXY_NETWORK, PROXY_PORT = "docker-socket-proxy", "trigger-proxy", 2375
PROXY_SECONDS = 3
# As the role supervisor writes it into the environment of one.
PAUSED = re.compile(r'^TRIGGER_DEQUEUE_ENABLED="false"$', re.MULTILINE)
# Beside the file that it writes.
CLEANER = "task_images.py"
# Nothing of ours asks for them, and all modes refuse them.
REFUSED_PATH, REFUSED_STATUS = "/networks", 403
# What asks by this name is left out of the refusals that the playbook status counts.
AGENT = "trigger-verify"
# Kind of an attempt -> the row that a failure leaves, which the next success takes away.
ATTEMPTS = {"backup": "failed", "verification": "unverified", "point": "point_failed"}


def firewall(run: Run, program: str) -> Iterator[Sample]:
    """Let the firewall's own program compare its rules with the kernel's."""
    done = run(["/usr/bin/env", "python3", program, "check"], timeout=SECONDS)
    yield Sample("trigger_runner_firewall_in_force", done.code == 0)


def paused(environments: Mapping[str, str]) -> Iterator[Sample]:
    """Tell which supervisors are to take no runs: these send no heartbeat. One that was never deployed has no file."""
    for worker, path in environments.items():
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        yield Sample("trigger_worker_paused", bool(PAUSED.search(text)), {"worker": worker})


def refuses(address: str) -> bool:
    try:
        with closing(http.client.HTTPConnection(address, PROXY_PORT, timeout=PROXY_SECONDS)) as connection:
            connection.request("GET", REFUSED_PATH, headers={"User-Agent": AGENT})
            return connection.getresponse().status == REFUSED_STATUS
    except (OSError, http.client.HTTPException):
        return False


def proxies(ask: Ask) -> Iterator[Sample]:
    """Ask the proxy of each supervisor for what it must refuse."""
    wanted = {"label": [f"{SERVICE}={PROXY_SERVICE}"]}
    for row in ask("/containers/json", {"all": "true", "filters": json.dumps(wanted)}):
        networks = row["NetworkSettings"]["Networks"] or {}
        addresses = [
            each["IPAddress"]
            for name, each in networks.items()
            if name.startswith(PROXY_NETWORK) and each.get("IPAddress")
        ]
        labels = {"container": row["Names"][0].lstrip("/")}
        yield Sample("trigger_socket_proxy_refusing", any(map(refuses, addresses)), labels)


def read(path: Path) -> Any:
    """Read a file of JSON; nothing where it was never written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def written(path: Path) -> float | None:
    """Tell when a file was written; none where there is none."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def cleaning(told: Mapping[str, Any]) -> Iterator[Sample]:
    """Tell when the program of the role task_images looked last, and since when it is there."""
    path = Path(told["path"])
    found, installed = read(path), written(path.with_name(CLEANER))
    if installed is not None:
        yield Sample("trigger_images_cleaned_age_max_seconds", told["age_max_seconds"])
        yield Sample("trigger_images_cleaning_expected_since_timestamp_seconds", installed)
    if "looked" in found:
        yield Sample("trigger_images_cleaned_timestamp_seconds", found["looked"])


def backups(told: Mapping[str, Any]) -> Iterator[Sample]:
    """Tell what the program of the role backup has noted of its last attempts."""
    folder = Path(told["directory"])
    found = read(folder / "status.json")
    if told["age_max_hours"] and (folder / "plan.json").exists():
        yield Sample("trigger_backup_age_max_seconds", told["age_max_hours"] * 3600)
        yield Sample("trigger_backup_expected_since_timestamp_seconds", (folder / "trigger-backup").stat().st_mtime)
    tested_since = written(Path(told["test_timer"])) if told["test_age_max_seconds"] else None
    if tested_since is not None:
        yield Sample("trigger_backup_test_age_max_seconds", told["test_age_max_seconds"])
        yield Sample("trigger_backup_test_expected_since_timestamp_seconds", tested_since)
    good, verified = found.get("good"), found.get("verified")
    if good:
        yield Sample("trigger_backup_last_success_timestamp_seconds", good["time"])
        yield Sample("trigger_backup_bytes", good["bytes"])
        yield Sample("trigger_backup_seconds", good["seconds"])
    if verified:
        yield Sample("trigger_backup_last_verified_timestamp_seconds", verified["time"])
    for kind, row in ATTEMPTS.items():
        # One that is under way has no error yet.
        yield Sample("trigger_backup_failed", bool((found.get(row) or {}).get("error")), {"kind": kind})


def status_page(told: Mapping[str, Any]) -> Iterator[Sample]:
    """Tell when the program of the role status has written its page. It removes one that it cannot replace."""
    folder = Path(told["directory"])
    installed, page = written(folder / "trigger-status"), written(folder / "page/status.json")
    if installed is not None:
        yield Sample("trigger_status_page_age_max_seconds", told["age_max_seconds"])
        yield Sample("trigger_status_page_expected_since_timestamp_seconds", installed)
    if page is not None:
        yield Sample("trigger_status_page_written_timestamp_seconds", page)
