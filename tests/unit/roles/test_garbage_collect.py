# SPDX-License-Identifier: MIT
"""The program that collects the registry's garbage: whatever happens, the registry can be written to in the end."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.programs import load

# What 2.8.3 printed.
SWEPT = """trigger/hello

0 blobs marked, 2 blobs and 1 manifests eligible for deletion
manifest eligible for deletion: {trigger/hello sha256:aa []}
blob eligible for deletion: sha256:08
blob eligible for deletion: sha256:1c
trigger/hello: layer link eligible for deletion: sha256:1c
"""
NOTHING = "trigger/hello\n\n3 blobs marked, 0 blobs and 0 manifests eligible for deletion\n"
NEVER_PUSHED = "failed to garbage collect: failed to mark: filesystem: Path not found: /docker/registry/v2/repositories"


@pytest.fixture(scope="module", name="program")
def program_fixture() -> Any:
    """The program as a module."""
    return load("registry/files/garbage_collect.py")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Give the test runner its signals back."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for each, handler in kept.items():
        signal.signal(each, handler)


@dataclass
class Engine:
    """An engine with the registry's project, which notes what becomes of it."""

    folder: Path
    output: str = SWEPT
    error: str = ""
    code: int = 0
    read_only: bool = False
    broken_start: str = ""
    # Looking fails as well.
    blind: bool = False
    during: Callable[[], None] = lambda: None
    steps: list[str] = field(default_factory=list)

    def __call__(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        words = " ".join(argv)
        code, output, error = 0, "", ""
        if " up " in words:
            self.read_only = "read-only.yml" in words
            self.steps.append("read-only" if self.read_only else "writable")
            assert "--wait" in words
            if self.broken_start == self.steps[-1]:
                code, error = 1, "no space left on device"
        elif "garbage-collect" in words:
            self.steps.append(words.partition("garbage-collect ")[2])
            if "--dry-run" not in words:
                assert self.read_only, "a push could lose layers"
                (self.folder / "volume/blob").unlink(missing_ok=True)
                self.during()
            if self.blind or "--dry-run" not in words:
                code, error = self.code, self.error
            output = self.output
        elif "volume inspect" in words:
            output = f"{self.folder}/volume\n"
        elif " ps " in words:
            output = "c0ffee\n"
        elif "docker inspect" in words:
            output = json.dumps([{"Config": {"Env": [f"{READ_ONLY}={{}}"] if self.read_only else []}}])
        return subprocess.CompletedProcess(list(argv), code, output, error)


READ_ONLY = "REGISTRY_STORAGE_MAINTENANCE_READONLY"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine whose registry holds one blob of 8 KiB."""
    (tmp_path / "compose.yml").write_text("services: {}\n")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/blob").write_bytes(b"x" * 8192)
    return Engine(tmp_path)


def collect(program: Any, engine: Engine, *more: str) -> int:
    words = ["--folder", str(engine.folder), "--service", "trigger-registry", "--config", "/config.yml", *more]
    code: int = program.main(words, engine)
    return code


def test_it_is_read_only_meanwhile_and_writable_afterwards(
    program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(program, engine, "--volume", "trigger_registry_data") == 0
    assert engine.steps == ["--dry-run /config.yml", "read-only", "/config.yml", "writable"]
    assert json.loads(capsys.readouterr().out) == {
        "blobs": 2,
        "manifests": 1,
        "layer_links": 1,
        "freed_bytes": 8192,
        "was_left_read_only": False,
    }


def test_a_dry_run_changes_nothing(program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert collect(program, engine, "--volume", "trigger_registry_data", "--dry-run") == 0
    assert engine.steps == ["--dry-run /config.yml"]
    found = json.loads(capsys.readouterr().out)
    assert (found["blobs"], found["freed_bytes"]) == (2, None)
    assert (engine.folder / "volume/blob").exists()


def test_untagged_manifests_go_if_asked_for(program: Any, engine: Engine) -> None:
    assert collect(program, engine, "--delete-untagged") == 0
    assert engine.steps[0] == "--delete-untagged --dry-run /config.yml"
    assert engine.steps[2] == "--delete-untagged /config.yml"


@pytest.mark.parametrize("output", [NOTHING, ""])
def test_nothing_to_free(program: Any, engine: Engine, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    engine.output = output
    assert collect(program, engine) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["blobs"], found["manifests"], found["layer_links"]) == (0, 0, 0)
    assert found["freed_bytes"] is None
    assert engine.steps == ["--dry-run /config.yml"], "the registry was stopped for nothing"


def test_a_registry_that_was_never_pushed_to(program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.code, engine.output, engine.error, engine.blind = 1, "", NEVER_PUSHED, True
    assert collect(program, engine) == 0
    assert json.loads(capsys.readouterr().out)["blobs"] == 0


def test_a_collection_that_cannot_even_look_stops_nothing(
    program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.code, engine.error, engine.blind = (
        1,
        "configuration error: open /config.yml: no such file or directory",
        True,
    )
    assert collect(program, engine) == 1
    assert engine.steps == ["--dry-run /config.yml"]
    assert "no such file" in capsys.readouterr().err


def test_it_is_writable_after_a_failure(program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.code, engine.error = 1, "failed to delete blob: input/output error"
    assert collect(program, engine) == 1
    assert engine.steps[-1] == "writable"
    assert "input/output error" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_is_writable_after_a_signal(
    program: Any, engine: Engine, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.during = lambda: os.kill(os.getpid(), number)
    assert collect(program, engine) == 1
    assert engine.steps[-1] == "writable"
    assert f"signal {number}" in capsys.readouterr().err


def test_a_read_only_registry_that_does_not_start_becomes_writable(
    program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.broken_start = "read-only"
    assert collect(program, engine) == 1
    assert engine.steps[1:] == ["read-only", "writable"]
    assert "no space left" in capsys.readouterr().err


def test_a_way_back_that_fails_is_told_with_what_came_before(
    program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.broken_start, engine.code, engine.error = "writable", 1, "input/output error"
    assert collect(program, engine) == 1
    told = capsys.readouterr().err
    assert "does not start: no space left" in told
    assert "input/output error" in told


def test_a_second_run_mends_what_an_interruption_left(
    program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.read_only, engine.output = True, NOTHING
    assert collect(program, engine, "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["was_left_read_only"] is True
    assert collect(program, engine) == 0
    assert json.loads(capsys.readouterr().out)["was_left_read_only"] is True
    assert engine.read_only is False


def test_a_deployment_meanwhile_is_told(program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    def deploy() -> None:
        engine.read_only = False

    engine.during = deploy
    assert collect(program, engine) == 1
    assert "push them again" in capsys.readouterr().err


def test_two_do_not_run_at_once(program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with (engine.folder / "compose.yml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert collect(program, engine) == 1
    assert engine.steps == []
    assert "under way" in capsys.readouterr().err


def test_without_a_registry_it_says_so(program: Any, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    (engine.folder / "compose.yml").unlink()
    assert collect(program, engine) == 1
    assert "compose.yml" in capsys.readouterr().err


def test_programs_are_run_as_they_are(program: Any) -> None:
    done = program.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
