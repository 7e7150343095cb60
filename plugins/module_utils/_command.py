# SPDX-License-Identifier: MIT
"""Runs programs. Modules take a `Run` as an argument, so that tests give them programs of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# Exit code of a program that was ended because its time was over.
TOO_SLOW = 124
# And of one that is not there, as shells have it.
NO_PROGRAM = 127


@dataclass(frozen=True)
class Completed:
    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """What the program said about its failure."""
        return self.stderr.strip() or self.stdout.strip() or f"exit code {self.code}"


class Run(Protocol):
    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed: ...


def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
    """Run a program to its end; what cannot be run or is too slow comes back as a failure like any other."""
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
    }
    try:
        done = subprocess.run(
            argv, input=stdin.encode(), capture_output=True, check=False, timeout=timeout, env=environment
        )
    except FileNotFoundError:
        return Completed(NO_PROGRAM, "", f"{argv[0]}: no such program")
    except OSError as error:
        # Not allowed to be run, on a disk without the right to, of another architecture.
        return Completed(126, "", f"{argv[0]}: {(error.strerror or str(error)).lower()}")
    except subprocess.TimeoutExpired:
        return Completed(TOO_SLOW, "", f"{argv[0]}: no end after {timeout:.0f} s")
    return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
