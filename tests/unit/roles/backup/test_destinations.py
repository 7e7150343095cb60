# SPDX-License-Identifier: MIT
"""Each kind of repository that docs/backup.md names, with a real restic and a real server.

The program runs as its units run it: the files are those that the role writes, and the environment is that of systemd.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.plays import render_cases
from tests.unit.roles.backup.control import KEY, Control
from tests.unit.roles.backup.servers import KIND, Place

UNREADABLE = "cannot be read \\(backup_repository\\)"
# What a wrong login, or the key of another server, comes to.
REFUSED = {
    "s3": "signature",
    "sftp": "Host key verification failed.*ssh -p \\d+ -l \\w+ 127.0.0.1 -s sftp",
    "rest": "401",
}
GONE = {
    "folder": "had the last backup, and now there is no repository. Is the disk mounted",
    **dict.fromkeys(REFUSED, f"{UNREADABLE}.*[Cc]onnection refused"),
}


@dataclass
class Host:
    """A control host with its place for backups, and what the role writes with a wrong login."""

    control: Control
    place: Place
    wrong: Mapping[str, Any]


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    """One for each kind. Ansible starts once for all of them."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        root = Path(name)
        # A server may be another user; tests that run the program within this process leave its mask.
        root.chmod(0o755)
        stack.callback(os.umask, os.umask(0o022))
        places, cases = {}, {}
        for kind, place_of in KIND.items():
            folder = root / kind
            (folder / "server").mkdir(parents=True)
            places[kind] = place = stack.enter_context(place_of(folder / "server"))
            for login, environment in (("right", place.environment), ("wrong", place.wrong)):
                cases[f"{kind} {login}"] = {
                    "backup_repository": place.repository,
                    "backup_environment": dict(environment),
                    "trigger_directory": str(folder / "trigger"),
                    "trigger_secrets": {"backup_key": KEY},
                }
        (root / "rendered").mkdir()
        wanted = {"files": "__backup_told_files"}
        told = render_cases(root / "rendered", "trigger", "backup", host="control", wanted=wanted, cases=cases)
        yield {
            kind: Host(
                Control(root / kind, told[f"{kind} right"], place.secrets, place.commands),
                place,
                told[f"{kind} wrong"],
            )
            for kind, place in places.items()
        }


@pytest.mark.parametrize("kind", KIND)
def test_a_backup_comes_back_from_every_kind_of_repository(hosts: dict[str, Host], kind: str) -> None:
    control = hosts[kind].control
    content = control.directory / "webapp.env"
    content.write_text("before\n")
    content.chmod(0o600)
    made = control.succeed("create")
    content.write_text("after\n")
    restored = control.succeed("restore", "latest", "--replace")
    assert restored["snapshot"][:8] == made["snapshot"]
    assert content.read_text() == "before\n"
    exposed = [path for path in control.home.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert exposed == []
    calls = control.calls.read_text()
    assert "restic backup" in calls
    assert ("ssh" in {line.split()[0] for line in calls.splitlines()}) is (kind == "sftp")
    assert [secret for secret in control.secrets if secret in calls] == []


@pytest.mark.parametrize("kind", REFUSED)
def test_a_login_that_is_refused_is_told_without_it(hosts: dict[str, Host], kind: str) -> None:
    """Of SFTP it is the server that has another key: root must not send anything there."""
    host = hosts[kind]
    host.control.tell(host.wrong)
    with host.place.spoiled():
        message = host.control.fail("list")
    host.control.tell(host.control.told)
    assert re.search(f"{UNREADABLE}.*{REFUSED[kind]}", message, re.DOTALL), message


@contextmanager
def in_use(control: Control, repository: Path) -> Iterator[None]:
    """Let another restic hold an exclusive lock: a check that is stopped while it has one."""
    environment = {**control.environment, "RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": KEY}
    checking = subprocess.Popen(
        [control.bin / "restic", "--no-cache", "check"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not any(path.suffix == "" and len(path.name) == 64 for path in (repository / "locks").iterdir()):
            assert checking.poll() is None
            time.sleep(0.005)
        checking.send_signal(signal.SIGSTOP)
        yield
    finally:
        checking.kill()
        checking.wait()


@contextmanager
def unwritable(_control: Control, repository: Path) -> Iterator[None]:
    """Let nothing be written where locks are; for root a mode would not do that."""
    (repository / "locks").rename(repository / "locks.away")
    (repository / "locks").symlink_to("nowhere/at/all")
    yield
    (repository / "locks").unlink()
    (repository / "locks.away").rename(repository / "locks")


@pytest.mark.parametrize("state", [in_use, unwritable])
def test_a_repository_that_cannot_be_locked_is_told_before_the_webapp_is_stopped(
    hosts: dict[str, Host], state: Callable[[Control, Path], AbstractContextManager[None]]
) -> None:
    control, repository = hosts["folder"].control, Path(hosts["folder"].place.repository)
    control.succeed("create")
    control.calls.unlink(missing_ok=True)
    with state(control, repository):
        message = control.fail("create")
    assert re.search(r"Locking the repository \(backup_repository\).*lock", message, re.DOTALL), message
    assert "docker stop" not in control.calls.read_text()
    assert "restic backup" not in control.calls.read_text()
    control.succeed("create")


@pytest.mark.parametrize("kind", KIND)
def test_a_place_that_is_gone_is_told_before_the_webapp_is_stopped(hosts: dict[str, Host], kind: str) -> None:
    control, place = hosts[kind].control, hosts[kind].place
    control.calls.unlink(missing_ok=True)
    (control.home / "status.json").write_text(json.dumps({"good": {"repository": place.repository}}))
    place.stop()
    message = control.fail("create")
    assert re.search(GONE[kind], message, re.DOTALL), message
    assert "docker stop" not in control.calls.read_text()
    assert "restic init" not in control.calls.read_text()
