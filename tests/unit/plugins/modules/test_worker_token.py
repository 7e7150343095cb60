# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database
from ansible_collections.selfhosted.trigger_dev.plugins.modules import worker_token
from ansible_collections.selfhosted.trigger_dev.plugins.modules.worker_token import (
    Parameters,
    Problem,
    Token,
    judge,
    look,
    read_file,
    wait,
)

Invoke = Callable[..., dict[str, Any]]
TOKEN = "tr_wgt_" + "aB3" * 13 + "z"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
WANTED = Parameters("/shared/worker_token", "bootstrap", 60, Database("pg", "main", "postgres"))


def message(outcome: Token | Problem) -> str:
    assert isinstance(outcome, Problem)
    return outcome.message


@pytest.mark.parametrize("content", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}\r\n"])
def test_the_right_token_is_trimmed(content: str) -> None:
    assert judge(content, HASH, WANTED) == Token(TOKEN, HASH)


def test_missing_file_of_an_existing_group_names_the_way_out() -> None:
    text = message(judge(None, HASH, WANTED))
    assert "only once" in text
    assert "Bootstrap - Worker Token" in text
    assert 'UPDATE "WorkerGroupToken" SET "tokenHash"' in text
    assert "/shared/worker_token" in text
    assert "docker exec -i -u postgres pg psql -U postgres -d main" in text


def test_nothing_there_yet_may_take_long() -> None:
    outcome = judge(None, None, WANTED)
    assert "TRIGGER_BOOTSTRAP_ENABLED is exactly 1" in message(outcome)
    assert isinstance(outcome, Problem)
    assert outcome.may_take_long


def test_file_without_group() -> None:
    assert "holds no worker group 'bootstrap'" in message(judge(TOKEN, None, WANTED))


@pytest.mark.parametrize(
    "content", ["", TOKEN[:-1], TOKEN + "x", TOKEN.replace("z", "-"), "tr_pat_" + TOKEN[7:], f"{TOKEN} x"]
)
def test_wrong_form_is_not_printed(content: str) -> None:
    text = message(judge(content, HASH, WANTED))
    assert "does not have the form" in text
    assert "aB3aB3" not in text


def test_wrong_hash() -> None:
    text = message(judge(TOKEN, "0" * 64, WANTED))
    assert "SHA-256 differs" in text
    assert TOKEN not in text


def test_group_names_are_quoted_in_advice() -> None:
    wanted = Parameters("/p", "o'hara", 1, WANTED.database)
    assert "name = 'o''hara'" in message(judge(None, HASH, wanted))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_ends_with_the_token() -> None:
    clock = Clock()
    outcomes: Iterator[Token | Problem] = iter(
        [Problem("no group", may_take_long=True), Problem("no file"), Token(TOKEN, HASH)]
    )
    assert wait(lambda: next(outcomes), 60, clock, clock.pause) == Token(TOKEN, HASH)
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
    assert look(Parameters(str(file), "bootstrap", 1, WANTED.database), fake) == Token(TOKEN, HASH)
    ((argv, stdin),) = calls
    assert list(argv[:7]) == ["docker", "exec", "-i", "-u", "postgres", "pg", "psql"]
    assert "group_name=bootstrap" in argv
    assert ":'group_name'" in stdin
    assert TOKEN not in " ".join(argv)
    assert HASH not in " ".join(argv)


def test_a_database_that_does_not_answer_may_take_long() -> None:
    outcome = look(WANTED, lambda *_args, **_kwargs: Completed(1, "", "Error: No such container: pg\n"))
    assert isinstance(outcome, Problem)
    assert outcome.may_take_long
    assert "No such container: pg" in outcome.message


def test_reading(tmp_path: Path) -> None:
    file = tmp_path / "worker_token"
    assert read_file(str(file)) is None
    file.write_text(TOKEN)
    assert read_file(str(file)) == TOKEN
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    for odd in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic links|regular file"):
            read_file(str(tmp_path / odd))


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a `docker` of our own first on PATH."""
    (folder / "docker").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_module(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, f"""cat >/dev/null; echo '[{{"hash": "{HASH}"}}]'""")
    file = tmp_path / "worker_token"
    file.write_text(TOKEN)
    result = invoke(worker_token.main, path=str(file), database_container="pg", check=True)
    assert result["worker_token"] == {"token": TOKEN, "sha256": HASH, "group": "bootstrap"}
    assert not result["changed"]
    file.write_text("tr_wgt_hidden")
    result = invoke(worker_token.main, path=str(file), database_container="pg", timeout=0)
    assert "does not have the form" in result["msg"]
    assert "hidden" not in json.dumps(result)
