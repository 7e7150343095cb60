# SPDX-License-Identifier: MIT
"""Tests of scenarios wait with patience, say what they have seen when it was in vain, and tell slow from away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed.common import TESTBED
from tests.unit.plugins.modules.servers import nobody, serving

sys.path.insert(0, str(TESTBED / "testinfra"))

from verification import outage
from verification.nodes import FACTS, Node, eventually


@dataclass
class Done:
    """What a command has left."""

    rc: int
    stdout: str
    stderr: str = ""


class Host:
    """Gives these answers, one after the other, and the last one from then on."""

    def __init__(self, *answers: Done) -> None:
        self.answers = list(answers)

    def run(self, *_: str) -> Done:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def node(*answers: Done) -> Node:
    return Node("control.test", frozenset(), Host(*answers))


def test_a_wait_gives_the_first_true_answer() -> None:
    asked = iter([0, "", [], "yes", "later"])
    assert eventually(lambda: next(asked), pause=0) == "yes"


def test_a_wait_in_vain_is_false_and_tells_what_was_seen_last() -> None:
    asked = node(Done(0, "first"), Done(3, "run\nning", "why not"))
    found = eventually(lambda: asked.run("systemctl is-active x").stdout == "never", 0.05, 0.01)
    assert not found
    seen = "control.test: `systemctl is-active x` ended with 3: run ning why not"
    assert repr(found) == f"False for 0 s; last seen: {seen}"


def test_the_failing_test_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    asked = node(Done(0, "x" * 700 + "the end"))
    with pytest.raises(AssertionError, match="last seen: "):
        assert eventually(lambda: asked.output("cat log") == "", 0)
    assert "xthe end" in capsys.readouterr().out


def test_an_error_is_no_answer_until_the_end() -> None:
    asked = node(Done(1, "", "no such container"), Done(0, "healthy"))
    assert eventually(lambda: asked.output("docker inspect x"), pause=0) == "healthy"
    with pytest.raises(AssertionError, match="no such container"):
        eventually(lambda: node(Done(1, "", "no such container")).output("docker inspect x"), 0.05, 0.01)


# As the engine answers for a container that is gone since it was listed.
DOCKER = """#!/bin/sh
case "$1 $2" in
"ps --all") echo here gone ;;
"container inspect") echo '[{"Name": "/here", "State": {"Pid": 0}}]'; echo "$ERROR" >&2; exit 1 ;;
"info "*) echo '{}' ;;
esac
"""


@pytest.mark.parametrize(("error", "code"), [("Error: No such container: gone", 0), ("Cannot connect", 1)])
def test_a_look_at_a_host_does_without_what_has_just_gone(tmp_path: Path, error: str, code: int) -> None:
    for name, text in {"docker": DOCKER, "ip": "#!/bin/sh\necho '[]'\n", "ss": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ERROR": error}
    command = [sys.executable, "-c", FACTS, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert ('"here"' in done.stdout) == (code == 0)


def away_while(talk: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the outages of a server with which each conversation goes like this, until it has held three."""
    monkeypatch.setattr(outage, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(outage, "PATIENCE_SECONDS", (0.2, 30))
    held: list[int] = []

    def hold(stream: socket.socket) -> None:
        stream.recv(65536)
        held.append(1)
        talk(stream, len(held))

    with serving(hold) as port, outage.outages(f"http://127.0.0.1:{port}") as found:
        deadline = time.monotonic() + 60
        while len(held) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    return found.seconds


ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def test_a_webapp_that_answers_late_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(stream: socket.socket, number: int) -> None:
        if number == 1:
            time.sleep(0.5)
        stream.sendall(ANSWER)

    assert away_while(talk, monkeypatch) == []


def test_a_webapp_that_ends_connections_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(stream: socket.socket, number: int) -> None:
        if number != 1:
            stream.sendall(ANSWER)

    assert len(away_while(talk, monkeypatch)) == 1


def test_a_port_that_nobody_listens_on_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "PAUSE_SECONDS", 0.01)
    with outage.outages(f"http://127.0.0.1:{nobody()}") as found:
        time.sleep(0.3)
    assert len(found.seconds) == 1
