# SPDX-License-Identifier: MIT
"""Paths, names and small helpers that the parts of the testbed share."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TESTBED = Path(__file__).resolve().parent
ROOT = TESTBED.parent
CACHE = ROOT / ".cache"
IMAGES = CACHE / "images"
LAB = CACHE / "lab"

# Every Docker object of the testbed carries it; `lab down` removes by it.
LABEL = "dev.trigger.testbed"

# For tests that read what Ansible prints: the ansible.cfg of a checkout has another callback.
USUAL_OUTPUT = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}

_START = time.monotonic()
_BEAT_SECONDS = 15.0


class TestbedError(Exception):
    """Ends the command with one message for the user and no traceback."""

    __test__ = False


def say(message: str) -> None:
    """Print one progress line with the time since the command began."""
    print(f"[{time.monotonic() - _START:6.1f} s] {message}", flush=True)


@contextmanager
def step(message: str, *, silent: bool = True) -> Iterator[None]:
    """Say that something begins, that it is still going on (unless it says so itself), and that it is done."""
    say(message)
    began = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_SECONDS):
            say(f"{message} ... {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    if silent:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if silent:
            thread.join()
    say(f"{message}: done in {time.monotonic() - began:.1f} s")


def run(*command: str | Path, stdin: str | bytes | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command, return its standard output, raise with the end of its output when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=None if env is None else {**os.environ, **env},
            check=False,
        )
    except FileNotFoundError as error:
        raise TestbedError(f"{words[0]} is not installed") from error
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-30:]
        raise TestbedError("\n".join([f"`{' '.join(words[:6])}` ended with {done.returncode}:", *tail]))
    return done.stdout.decode(errors="replace")


def docker(*arguments: str | Path, stdin: str | bytes | None = None) -> str:
    """Run the Docker CLI."""
    return run("docker", *arguments, stdin=stdin)


def stream(*command: str | Path, env: Mapping[str, str] | None = None) -> int:
    """Run a command on the caller's own output and return its exit code."""
    sys.stdout.flush()
    return subprocess.run(
        [str(word) for word in command], cwd=ROOT, env={**os.environ, **(env or {})}, check=False
    ).returncode


def require(packages: Mapping[str, str]) -> None:
    """See that commands exist (command -> Debian package): install them as root, tell anybody else what to install."""
    wanted = [package for command, package in packages.items() if not shutil.which(command)]
    if wanted:
        install(wanted)


def install(packages: list[str]) -> None:
    """Install Debian packages, which only root can do."""
    if os.geteuid() != 0:
        raise TestbedError(
            f"missing on this machine: {' '.join(packages)}. Run: sudo apt-get install {' '.join(packages)}"
        )
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Installing {' '.join(packages)}"):
        run("apt-get", "update", "-q", env=environment)
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages, env=environment)


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file in one step: whoever is killed here leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as handle:
        handle.write(text)
    scratch.rename(path)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep a second command from doing the same work at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Waiting for another command that holds {path.relative_to(ROOT)}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
