# SPDX-License-Identifier: MIT
"""Runs one playbook with many inventories: play_all.py PLAYBOOK FOLDER...

As `ansible-playbook -i FOLDER/hosts.json PLAYBOOK` for each folder, as many at once as there are processors; the output
goes to FOLDER/output, the exit code to FOLDER/code. With SHORTCUTS (testbed/preloaded.py) Ansible is loaded and the
roles are read once, before all these fork, which halves the processor time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed import preloaded


def play(playbook: str, folder: Path) -> int:
    """Run Ansible in this process, which is a fork that ends afterwards."""
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for standard in (1, 2):
        os.dup2(output, standard)
    try:
        preloaded.play(["-i", str(folder / "hosts.json"), playbook])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main(playbook: str, folders: list[Path]) -> None:
    """Keep one fork for each processor busy."""
    if preloaded.SHORTCUTS:
        preloaded.load()
        preloaded.read_roles()
    running: dict[int, Path] = {}
    waiting = list(folders)
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            folder = waiting.pop(0)
            if (pid := os.fork()) == 0:
                code = 250
                try:
                    code = play(playbook, folder)
                finally:
                    os._exit(code)
            running[pid] = folder
        pid, status = os.wait()
        (running.pop(pid) / "code").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main(sys.argv[1], [Path(folder) for folder in sys.argv[2:]])
