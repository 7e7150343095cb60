# SPDX-License-Identifier: MIT
"""Other programs, with what they say when they fail."""

from __future__ import annotations

import hashlib
import math
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

# Tells people what is being done.
Say = Callable[[str], None]

SAID = 800  # characters of an error that are passed on
SPARE = 2**28  # bytes that must stay free on a disk


class BackupError(Exception):
    """Something that the operator has to set right. Its text never holds a secret."""


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Give the last of what a program said."""
    texts = [(part or b"").decode(errors="replace").strip() for part in (done.stderr, done.stdout)]
    return (texts[0] or texts[1])[-SAID:] or f"exit code {done.returncode}"


def used(folder: Path) -> int:
    """Give the bytes of the files in a folder, such as those of the last copy."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a registry may remove it meanwhile
                found += Path(parent, name).lstat().st_size
    return found


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there. One that cannot be removed is an error."""
    if path.exists():
        shutil.rmtree(path)


def empty_folder(folder: Path, spared: Path | None = None) -> None:
    """Remove everything in a folder, which stays as it is."""
    for path in [path for path in folder.iterdir() if path != spared]:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def digest_of(algorithm: str, path: Path) -> str:
    """Give the digest of a file, without having all of it in memory."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def require_room(needs: Iterable[tuple[Path, int]], doing: str) -> None:
    """Refuse what would fill a disk: several folders may be on one. Some room is left on each."""
    places: dict[int, tuple[Path, int]] = {}
    for folder, size in needs:
        device = folder.stat().st_dev
        place, sum_of_others = places.get(device, (folder, SPARE))
        places[device] = (place, sum_of_others + size)
    for folder, need in places.values():
        free = shutil.disk_usage(folder).free
        if free < need:
            raise BackupError(
                f"{folder} has {free // 2**20} MiB free; {doing} needs up to {need // 2**20} MiB there. Free space "
                "there, or mount a larger disk."
            )


# Exit code of a program that was ended because its time was over.
TOO_SLOW = 124

# For one answer of a client. What it is asked in the pause of the webapp has an end of its own (stores.py).
ANSWER_SECONDS = 30.0


# For what may take hours, and must not hold everything else for ever.
LONG_SECONDS = 24 * 3600.0


class Session:
    """A client that stays connected: what it is told happens at once. Of psql, a transaction stays open, too."""

    END = "END_OF_ANSWER"

    def __init__(self, words: Sequence[str], echo: str, name: str) -> None:
        self.echo = echo  # the command of the client that prints a text
        self.name = name
        self.read = b""  # and not given yet
        self.process = subprocess.Popen(
            list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )

    def ask(self, text: str, seconds: float = 0.0, until: float = math.inf) -> list[str]:
        """Tell the client something, and give the lines that it answers within some seconds, and until a time."""
        assert self.process.stdin
        lines: list[str] = []
        with suppress(BrokenPipeError):  # the loop below says why
            self.process.stdin.write(f"{text}\n{self.echo} {self.END}\n".encode())
        seconds = max(0.0, min(seconds or ANSWER_SECONDS, until - time.monotonic()))
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._line(deadline)
            except TimeoutError:
                self.process.kill()  # a later answer would be taken for that of another question
                raise BackupError(
                    f"{self.name} did not answer within {seconds:.0f} s. The log of its container says why (docker "
                    "logs). Correct that, and start the same playbook or command again."
                ) from None
            if line is None:
                raise BackupError(f"{self.name} does not answer: {' '.join(lines)[-300:] or 'it ended'}")
            if line.strip() == self.END:
                return lines
            lines.append(line)

    def _line(self, deadline: float) -> str | None:
        """Give the next line that the client prints; none if it has ended."""
        assert self.process.stdout
        while b"\n" not in self.read:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError
            block = os.read(self.process.stdout.fileno(), 2**16)
            if not block and not self.read:
                return None
            self.read += block or b"\n"
        line, _, self.read = self.read.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def close(self) -> None:
        """End the client. What it has started may hold its output, which is not waited for."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class Shell:
    """Runs programs without a shell. Secrets go in by the environment or standard input, never as arguments."""

    def run(
        self,
        words: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = subprocess.PIPE,
        data: bytes | None = None,
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end; any exit code is an answer. After that many seconds it is killed: TOO_SLOW."""
        source: dict[str, Any] = {"input": data} if data is not None else {"stdin": stdin or subprocess.DEVNULL}
        try:
            done: subprocess.CompletedProcess[bytes] = subprocess.run(
                list(words),
                stdout=stdout,
                stderr=subprocess.PIPE,
                env={**os.environ, **(environment or {})},
                check=False,
                timeout=seconds,
                **source,
            )
        except subprocess.TimeoutExpired as error:
            return subprocess.CompletedProcess(list(words), TOO_SLOW, error.stdout or b"", error.stderr or b"")
        except FileNotFoundError:
            raise BackupError(f"The program {words[0]} is not installed.") from None
        return done

    def output(self, words: Sequence[str], *, data: bytes | None = None, doing: str = "") -> str:
        """Run a program that must succeed, and give what it printed."""
        done = self.run(words, data=data)
        if done.returncode != 0:
            raise BackupError(f"{doing or ' '.join(words[:4])} failed: {said(done)}")
        text: str = done.stdout.decode(errors="replace")
        return text

    def into_file(self, words: Sequence[str], path: Path, *, doing: str) -> None:
        """Run a program whose output is a file."""
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            done = self.run(words, stdout=file)
        if done.returncode != 0:
            raise BackupError(f"{doing} failed: {said(done)}")

    def from_file(self, words: Sequence[str], path: Path, *, doing: str) -> None:
        """Run a program whose input is a file."""
        with open(path, "rb") as file:
            done = self.run(words, stdin=file)
        if done.returncode != 0:
            raise BackupError(f"{doing} failed: {said(done)}")
