# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database, DatabaseError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_token import Token
from ansible_collections.selfhosted.trigger_dev.plugins.modules import worker_token
from ansible_collections.selfhosted.trigger_dev.plugins.modules.worker_token import (
    Found,
    Parameters,
    Problem,
    Step,
    check_files,
    check_token,
    decide,
    look,
    wait,
)

Invoke = Callable[..., dict[str, Any]]
TOKEN = "tr_wgt_" + "aB3" * 13 + "z"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
OTHER = "tr_wgt_" + "Cd4" * 13 + "y"
OTHER_HASH = hashlib.sha256(OTHER.encode()).hexdigest()
WANTED = Parameters("/shared/worker_token", "bootstrap", 60, Database("pg", "main", "postgres"))


def message(outcome: Token | Found | Problem) -> str:
    assert isinstance(outcome, Problem)
    return outcome.message


@pytest.mark.parametrize("content", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}\r\n"])
def test_the_right_token_is_trimmed(content: str) -> None:
    assert check_token(content, HASH, WANTED) == Token(TOKEN)


def test_missing_file_of_an_existing_group_names_the_way_out() -> None:
    text = message(check_token(None, HASH, WANTED))
    assert "only once" in text
    assert "/shared/worker_token" in text
    assert "selfhosted.trigger_dev.worker_token_recover" in text
    assert "selfhosted.trigger_dev.site" in text


def test_nothing_there_yet_may_take_long() -> None:
    outcome = check_token(None, None, WANTED)
    assert "TRIGGER_BOOTSTRAP_ENABLED is exactly 1" in message(outcome)
    assert isinstance(outcome, Problem)
    assert outcome.may_take_long


def test_file_without_group() -> None:
    assert "holds no worker group 'bootstrap'" in message(check_token(TOKEN, None, WANTED))


@pytest.mark.parametrize(
    "content", ["", TOKEN[:-1], TOKEN + "x", TOKEN.replace("z", "-"), "tr_pat_" + TOKEN[7:], f"{TOKEN} x"]
)
def test_wrong_form_is_not_printed(content: str) -> None:
    text = message(check_token(content, HASH, WANTED))
    assert "does not have the form" in text
    assert "worker_token_recover" in text
    assert "aB3aB3" not in text


def test_wrong_hash() -> None:
    text = message(check_token(TOKEN, "0" * 64, WANTED))
    assert "SHA-256 differs" in text
    assert "worker_token_recover" in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("content", "pending", "expected"),
    [
        (TOKEN, None, Found(Token(TOKEN), Step.KEEP)),
        # Written, but not yet in the database.
        (TOKEN, OTHER, Found(Token(TOKEN), Step.DISCARD)),
        (TOKEN, "tr_wgt_ha", Found(Token(TOKEN), Step.DISCARD)),
        # In the database, but not yet in its place.
        (OTHER, TOKEN, Found(Token(TOKEN), Step.FINISH)),
        (None, TOKEN, Found(Token(TOKEN), Step.FINISH)),
        ("rubbish", TOKEN, Found(Token(TOKEN), Step.FINISH)),
    ],
)
def test_the_hash_tells_how_far_a_rotation_came(content: str | None, pending: str | None, expected: Found) -> None:
    assert check_files(content, pending, HASH, WANTED) == expected


def test_a_pending_file_that_does_not_fit_helps_nobody() -> None:
    assert "exists but its token file" in message(check_files(None, OTHER, HASH, WANTED))
    assert "holds no worker group" in message(check_files(TOKEN, OTHER, None, WANTED))


LACKING = Problem("no file")
NO_GROUP = Problem("no group", may_take_long=True)


@pytest.mark.parametrize(
    ("outcome", "present", "rotated", "recovered"),
    [
        (Found(Token(TOKEN), Step.KEEP), Step.KEEP, Step.RENEW, Step.KEEP),
        (Found(Token(TOKEN), Step.DISCARD), Step.DISCARD, Step.RENEW, Step.DISCARD),
        (Found(Token(TOKEN), Step.FINISH), Step.FINISH, Step.FINISH, Step.FINISH),
        (LACKING, LACKING, LACKING, Step.RENEW),
        (NO_GROUP, NO_GROUP, NO_GROUP, NO_GROUP),
    ],
)
def test_what_each_state_does(
    outcome: Found | Problem, present: Step | Problem, rotated: Step | Problem, recovered: Step | Problem
) -> None:
    assert decide(outcome, "present") == present
    assert decide(outcome, "rotated") == rotated
    assert decide(outcome, "recovered") == recovered


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_ends_with_the_token() -> None:
    clock = Clock()
    outcomes: Iterator[Found | Problem] = iter([NO_GROUP, LACKING, Found(Token(TOKEN))])
    assert wait(lambda: next(outcomes), 60, clock, clock.pause) == Found(Token(TOKEN))
    assert clock.now == 2


@pytest.mark.parametrize(("may_take_long", "seconds"), [(True, 60), (False, 10)])
def test_waiting_has_an_end(may_take_long: bool, seconds: float) -> None:
    clock = Clock()
    assert message(wait(lambda: Problem("why", may_take_long), 60, clock, clock.pause)) == "why"
    assert clock.now == seconds


def test_a_short_timeout_bounds_the_grace() -> None:
    clock = Clock()
    wait(lambda: Problem("why"), 0, clock, clock.pause)
    assert clock.now == 0


def test_question_to_the_database(tmp_path: Path) -> None:
    calls: list[tuple[Sequence[str], str]] = []

    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        calls.append((argv, stdin))
        return Completed(0, json.dumps([{"hash": HASH}]), "")

    file = tmp_path / "worker_token"
    file.write_text(TOKEN)
    assert look(Parameters(str(file), "bootstrap", 1, WANTED.database), fake) == Found(Token(TOKEN))
    ((argv, stdin),) = calls
    assert list(argv[:7]) == ["docker", "exec", "-i", "-u", "postgres", "pg", "psql"]
    assert "g.name = 'bootstrap'" in stdin
    assert TOKEN not in " ".join(argv)
    assert HASH not in " ".join(argv)


def test_a_database_that_does_not_answer_may_take_long() -> None:
    outcome = look(WANTED, lambda *_args, **_kwargs: Completed(1, "", "Error: No such container: pg\n"))
    assert isinstance(outcome, Problem)
    assert outcome.may_take_long
    assert "No such container: pg" in outcome.message


# The database in a file: it holds the hash of the group, and the first line of what it is asked decides the answer.
DOCKER = """#!/bin/sh
statement=$(cat)
case $statement in
*UPDATE*)
  test ! -e "$DATABASE.down" || { echo "database is down" >&2; exit 1; }
  echo "$statement" | grep -o "[0-9a-f]\\{64\\}" > "$DATABASE"
  echo '[{"id": "t"}]'
  test ! -e "$DATABASE.cut" || { echo "connection lost" >&2; exit 2; };;
*'"WorkerInstance"'*) cat "$DATABASE.rows";;
*) if test -e "$DATABASE"; then echo "[{\\"hash\\": \\"$(cat "$DATABASE")\\"}]"; else echo "[]"; fi;;
esac
"""


class Host:
    """A control host: the folder of the token, and a `docker` that leads to a database of one hash."""

    def __init__(self, folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        self.invoke = invoke
        self.folder = folder / "shared"
        self.folder.mkdir()
        self.file, self.pending = self.folder / "worker_token", self.folder / "worker_token.new"
        self.database = folder / "hash"
        (folder / "docker").write_text(DOCKER)
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setenv("DATABASE", str(self.database))

    @property
    def switch(self) -> dict[str, Path]:
        """Files that make the next change fail, before and after it is done."""
        return {"before": self.database.with_suffix(".down"), "after": self.database.with_suffix(".cut")}

    def fill(self, content: str | None = TOKEN, pending: str | None = None, known: str = HASH) -> None:
        for file, text in ((self.file, content), (self.pending, pending)):
            if text is not None:
                file.write_text(text)
                file.chmod(0o600)
        self.database.write_text(known)

    def run(self, state: str = "present", **more: Any) -> dict[str, Any]:
        return self.invoke(
            worker_token.main, path=str(self.file), database={"container": "pg"}, timeout=0, state=state, **more
        )

    def seen(self) -> dict[str, str]:
        """Everything that a run may change."""
        files = {entry.name: entry.read_text() for entry in self.folder.iterdir()}
        return {**files, "hash": self.database.read_text().strip()}

    def holds(self, token: str) -> bool:
        return self.seen() == {"worker_token": token, "hash": hashlib.sha256(token.encode()).hexdigest()}


def written(file: Path) -> tuple[int, ...]:
    """What a write changes in a file's state; a read changes the access time, too."""
    state = file.stat()
    return state.st_ino, state.st_mode, state.st_uid, state.st_gid, state.st_size, state.st_mtime_ns


@pytest.fixture
def host(tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, invoke, monkeypatch)


def test_present_reads_only(host: Host) -> None:
    host.fill()
    before = written(host.file)
    result = host.run()
    assert result["worker_token"] == {"token": TOKEN, "sha256": HASH, "group": "bootstrap"}
    assert not result["changed"]
    assert written(host.file) == before
    host.file.write_text("tr_wgt_hidden")
    result = host.run()
    assert "does not have the form" in result["msg"]
    assert "hidden" not in json.dumps(result)


def test_workers_are_read_together_with_the_token(host: Host) -> None:
    host.fill()
    times = {"contact_at": "2026-01-31T12:30:00.120Z", "created_at": "2026-01-31T12:00:00Z"}
    ages = {"heartbeat_age": 3.5, "contact_age": 3.5, "connected_last": False}
    rows = [{"name": "one", "group_name": "bootstrap", **ages, **times}]
    host.database.with_suffix(".rows").write_text(json.dumps(rows))
    assert host.run()["worker_instances"] == []
    result = host.run(instances=True, check=True)
    assert result["worker_token"]["token"] == TOKEN
    (row,) = result["worker_instances"]
    assert (row["name"], row["group"], row["last_heartbeat_age_seconds"]) == ("one", "bootstrap", 3.5)


def test_workers_that_cannot_be_read_are_told_as_that(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_given: object) -> list[object]:
        raise DatabaseError("the connection was closed")

    host.fill()
    monkeypatch.setattr(worker_token, "of_group", gone)
    assert host.run(instances=True)["msg"].startswith("Cannot read the workers of the group 'bootstrap'")


def test_rotation(host: Host) -> None:
    host.fill()
    os.chown(host.file, *((1234, 2345) if os.getuid() == 0 else (-1, -1)))
    before = host.file.stat()
    result = host.run("rotated")
    fresh = result["worker_token"]["token"]
    assert result["changed"]
    assert re.fullmatch(r"tr_wgt_[0-9A-Za-z]{40}", fresh)
    assert fresh != TOKEN
    assert host.holds(fresh)
    after = host.file.stat()
    assert (after.st_mode & 0o7777, after.st_uid, after.st_gid) == (0o600, before.st_uid, before.st_gid)
    assert not host.run()["changed"]
    assert host.run("rotated")["worker_token"]["token"] != fresh


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("state", ["present", "rotated", "recovered"])
def test_an_interrupted_rotation_is_repaired(host: Host, moment: str, state: str) -> None:
    host.fill()
    host.switch[moment].touch()
    failed = host.run("rotated")
    assert "Cannot give the worker group 'bootstrap' a new token" in failed["msg"]
    pending = host.pending.read_text()
    assert pending not in json.dumps(failed)
    assert host.file.read_text() == TOKEN
    host.switch[moment].unlink()
    result = host.run(state)
    assert result["changed"]
    token = result["worker_token"]["token"]
    assert host.holds(token)
    if moment == "after":
        assert token == pending
    elif state == "rotated":
        assert token not in (TOKEN, pending)
    else:
        assert token == TOKEN
    assert not host.run()["changed"]


@pytest.mark.parametrize("content", [None, "", "rubbish", OTHER])
def test_recovery(host: Host, content: str | None) -> None:
    host.fill(content, pending="left over")
    owner = {"owner": os.getuid(), "file_group": os.getgid()}
    assert "worker_token_recover" in host.run("rotated", **owner)["msg"]
    result = host.run("recovered", **owner)
    assert result["changed"]
    assert host.holds(result["worker_token"]["token"])
    assert host.file.stat().st_mode & 0o7777 == 0o600
    again = host.run("recovered", **owner)
    assert not again["changed"]
    assert again["worker_token"] == result["worker_token"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_recovered_file_belongs_to_the_webapp(host: Host) -> None:
    host.fill(None)
    host.run("recovered")
    assert (host.file.stat().st_uid, host.file.stat().st_gid) == (1000, 1000)


@pytest.mark.parametrize("state", ["rotated", "recovered"])
def test_a_group_that_is_missing_gets_no_token(host: Host, state: str) -> None:
    host.file.write_text(TOKEN)
    assert "holds no worker group" in host.run(state)["msg"]
    assert list(host.folder.iterdir()) == [host.file]


@pytest.mark.parametrize(
    ("content", "pending", "known", "state", "token"),
    [
        (TOKEN, None, HASH, "rotated", TOKEN),
        (TOKEN, OTHER, HASH, "present", TOKEN),
        (TOKEN, OTHER, OTHER_HASH, "present", OTHER),
        (TOKEN, OTHER, OTHER_HASH, "rotated", OTHER),
        (None, None, HASH, "recovered", None),
    ],
)
def test_check_mode_predicts(
    host: Host, content: str | None, pending: str | None, known: str, state: str, token: str | None
) -> None:
    host.fill(content, pending, known)
    before = host.seen()
    result = host.run(state, check=True)
    assert result["changed"]
    assert token in (None, result["worker_token"]["token"])
    assert host.seen() == before
    owner = {"owner": os.getuid(), "file_group": os.getgid()}
    assert host.run(state, **owner)["changed"]


@pytest.mark.parametrize("name", ["worker_token", "worker_token.new"])
def test_links_are_not_followed(host: Host, name: str, tmp_path: Path) -> None:
    host.fill()
    (host.folder / name).unlink(missing_ok=True)
    target = tmp_path / "target"
    target.write_text(TOKEN)
    (host.folder / name).symlink_to(target)
    for state in ("present", "rotated", "recovered"):
        assert host.run(state)["msg"].startswith(f"{host.folder / name}: ")
    assert target.read_text() == TOKEN


@pytest.mark.parametrize("name", ["worker_token", "worker_token.new"])
def test_a_folder_in_place_of_the_file_is_named_with_what_to_do(host: Host, name: str) -> None:
    host.fill()
    (host.folder / name).unlink(missing_ok=True)
    (host.folder / name).mkdir()
    for state in ("present", "rotated", "recovered"):
        said = host.run(state)["msg"]
        assert said.startswith(f"{host.folder / name}: not a regular file")
        assert "Move it away" in said
