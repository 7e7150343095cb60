# SPDX-License-Identifier: MIT
"""Runs one playbook with many inventories: play_all.py PLAYBOOK FOLDER...

As `ansible-playbook -i FOLDER/hosts.json PLAYBOOK` for each folder, as many at once as there are processors; the output
goes to FOLDER/output, the exit code to FOLDER/code. With SHORTCUTS (testbed/preloaded.py) Ansible is loaded and the
roles are read once, before all these fork, which halves the processor time.

Without arguments it reads them from its input, one JSON array [FOLDER, OPTION...] in a line, and prints a line when
that run is over: for tests that ask for one run after the other.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed import preloaded


def play(folder: Path, options: list[str]) -> int:
    """Run Ansible in this process, which is a fork that ends afterwards."""
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    # The input may hold what is asked for next.
    for standard, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(file, standard)
    try:
        preloaded.play(["-i", str(folder / "hosts.json"), *options])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def fork(folder: Path, options: list[str]) -> int:
    """Run Ansible in another process, and give its number."""
    if pid := os.fork():
        return pid
    code = 250
    try:
        code = play(folder, options)
    finally:
        os._exit(code)


def ended(folder: Path, status: int) -> None:
    (folder / "code").write_text(str(os.waitstatus_to_exitcode(status)))


def play_all(playbook: str, folders: list[Path]) -> None:
    """Keep one fork for each processor busy."""
    running: dict[int, Path] = {}
    waiting = list(folders)
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            folder = waiting.pop(0)
            running[fork(folder, [playbook])] = folder
        pid, status = os.wait()
        ended(running.pop(pid), status)


def play_each() -> None:
    """Do what the input asks for, one run after the other."""
    for line in sys.stdin:
        folder, *options = json.loads(line)
        _, status = os.waitpid(fork(Path(folder), options), 0)
        ended(Path(folder), status)
        print("over", flush=True)


if __name__ == "__main__":
    if preloaded.SHORTCUTS:
        preloaded.load()
        preloaded.read_roles()
    if len(sys.argv) > 1:
        play_all(sys.argv[1], [Path(folder) for folder in sys.argv[2:]])
    else:
        play_each()
