# SPDX-License-Identifier: MIT
"""What comes between a backup and its end: another backup, and a repository that vanishes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from trigger_backup.create import PAUSED, WEBAPP_PORT
from trigger_backup.plan import write_json

from tests.debian import unpacked
from tests.unit.roles.backup.control import KEY, Control, plan

# Answers as restic does, with one backup at most, and notes when it stores one.
RESTIC = """
case "$*" in
  *"cat config"*)
    if [ -e {folder}/gone ]; then
      echo 'Fatal: Head "http://s3": dial tcp: connect: connection refused' >&2
      exit 1
    fi ;;
  snapshots*|*" snapshots "*) echo '[]' ;;
  backup*)
    touch {folder}/storing
    while [ -e {folder}/wait ]; do sleep 0.05; done
    if [ -e {folder}/vanishes ]; then
      touch {folder}/gone
      echo 'Save(<data/1>) returned error: dial tcp: connect: connection refused' >&2
      exit 1
    fi
    echo '{summary}' ;;
  forget*) echo '[{{"keep": [], "remove": null}}]' ;;
esac
"""
SUMMARY = {"message_type": "summary", "snapshot_id": "b" * 64, "total_bytes_processed": 1, "data_added": 1}
# One container, which runs or not.
WEBAPP = """
up=$(cat {folder}/up)
case "$*" in
  info*) echo / ;;
  "ps "* | "volume ls "*) ;;
  "container inspect trigger-webapp-webapp-1")
    echo '[{{"State": {{"Running": '"$up"'}}, "Config": {{"Image": "x:v4.2.0"}},' \\
      '"NetworkSettings": {{"Networks": {{"a": {{"IPAddress": "{address}"}}}}}}}}]' ;;
  "stop trigger-webapp-webapp-1") echo false > {folder}/up ;;
  "start trigger-webapp-webapp-1") echo true > {folder}/up ;;
  *) exit 1 ;;
esac
"""


class Healthy(BaseHTTPRequestHandler):
    """The webapp, as far as a backup asks it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def answering() -> Iterator[str]:
    """Give a loopback address of our own at which the webapp answers: its port is always the same."""
    address = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250}.3"
    server = ThreadingHTTPServer((address, WEBAPP_PORT), Healthy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """A control host whose webapp runs, with a repository in a folder."""
    host = Control(tmp_path, {"files": []})
    told = {
        "repository": str(tmp_path / "repository"), "environment": {}, "key": KEY, "installation": "",
        "trigger_version": "v4.2.0", "secrets_file": str(host.directory / "secrets.json"),
        "run_lock": str(tmp_path / "run.lock"),
    }  # fmt: skip
    write_json(host.home / "repository.json", told)
    write_json(host.home / "plan.json", plan(host.directory))
    program = f'exec python3 -m trigger_backup --directory {host.directory} "$@"'
    variables = f"export PYTHONPATH={host.home} PYTHONDONTWRITEBYTECODE=1"
    (host.home / "trigger-backup").write_text(f"#!/bin/sh\n{variables}\n{program}\n")
    (host.home / "trigger-backup").chmod(0o700)
    (tmp_path / "up").write_text("true")
    with answering() as address:
        host.command("docker", WEBAPP.format(folder=tmp_path, address=address))
        yield host


def pretend(control: Control, folder: Path) -> None:
    control.command("restic", RESTIC.format(folder=folder, summary=json.dumps(SUMMARY)))


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def the_webapp_runs_again(control: Control, folder: Path) -> bool:
    return (folder / "up").read_text().strip() == "true" and not (control.home / PAUSED).exists()


def test_a_second_backup_waits_and_a_restore_is_refused(control: Control, tmp_path: Path) -> None:
    pretend(control, tmp_path)
    (tmp_path / "wait").touch()
    first = control.begin("create")
    await_file(tmp_path / "storing")
    assert the_webapp_runs_again(control, tmp_path)
    second = control.begin("create")
    assert second.stdout
    assert second.stdout.readline() == "Waiting for another backup or restore ...\n"
    assert "Another backup or restore is under way on this host. Try again" in control.fail("restore", "latest")
    (tmp_path / "wait").unlink()
    for process in (first, second):
        output, error = process.communicate(timeout=60)
        assert process.returncode == 0, output + error
    calls = control.calls.read_text()
    # One after the other: the second has stopped the webapp when the first had stored everything.
    parts = [line.split(" ")[1] for line in calls.splitlines() if line.startswith(("docker st", "restic backup"))]
    assert parts == ["stop", "start", "backup"] * 2


def test_a_folder_that_is_unmounted_in_the_middle_is_told_and_the_next_backup_succeeds(
    control: Control, tmp_path: Path
) -> None:
    """With a real restic, which finds an empty folder where the repository was a moment before."""
    restic, place, elsewhere = unpacked("usr/bin/restic", "restic"), tmp_path / "repository", tmp_path / "unmounted"
    control.succeed("create")
    unmount = f'case "$1" in backup) mv {place} {elsewhere}; mkdir {place} ;; esac\nexec {restic} "$@"'
    control.command("restic", unmount)
    message = control.fail("create")
    assert f"There is no repository at {place}" in message
    assert "mount its disk" in message
    assert the_webapp_runs_again(control, tmp_path)
    control.command("restic", f'exec {restic} "$@"')
    assert "had the last backup, and now there is no repository. Is the disk mounted?" in control.fail("create")
    assert "init" not in control.calls.read_text().split("restic backup")[-1]
    place.rmdir()
    elsewhere.rename(place)
    assert control.succeed("create")["repository"] == str(place)
    assert "failed" not in json.loads((control.home / "status.json").read_text())


def test_a_server_that_vanishes_in_the_middle_is_told_and_the_next_backup_succeeds(
    control: Control, tmp_path: Path
) -> None:
    pretend(control, tmp_path)
    (tmp_path / "vanishes").touch()
    message = control.fail("create")
    assert "cannot be read (backup_repository): Fatal: " in message
    assert "connection refused" in message
    assert the_webapp_runs_again(control, tmp_path)
    assert json.loads((control.home / "status.json").read_text())["failed"]["error"] in message
    for name in ("vanishes", "gone"):
        (tmp_path / name).unlink()
    assert control.succeed("create")["snapshot"] == "b" * 8
    assert "failed" not in json.loads((control.home / "status.json").read_text())
