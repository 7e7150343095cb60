# SPDX-License-Identifier: MIT
"""Runs one playbook with many inventories: play_all.py PLAYBOOK FOLDER...

As `ansible-playbook -i FOLDER/hosts.json PLAYBOOK` for each folder, as many at once as there are processors; the output
goes to FOLDER/output, the exit code to FOLDER/code. Ansible is loaded once and then forked, which saves a second each.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from ansible.cli.playbook import PlaybookCLI
from ansible.plugins import loader

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ACTIONS = ("assert", "command", "debug", "fail", "include_role", "include_tasks", "normal", "validate_argument_spec")


def load() -> None:
    """Load what every task would load again in a process of its own (measured: a third of the time)."""
    loader.init_plugin_loader()
    for kind in (loader.filter_loader, loader.test_loader):
        list(kind.all())
    for name in ACTIONS:
        loader.action_loader.get(f"ansible.builtin.{name}", class_only=True)
    for path in PLUGINS.glob("filter/*.py"):
        loader.filter_loader.get(f"selfhosted.trigger_dev.{path.stem}")
    for path in PLUGINS.glob("lookup/*.py"):
        loader.lookup_loader.get(f"selfhosted.trigger_dev.{path.stem}", class_only=True)
    # These processes do not live long enough to need it.
    gc.disable()


def play(playbook: str, folder: Path) -> int:
    """Run Ansible in this process, which is a fork that ends afterwards."""
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for standard in (1, 2):
        os.dup2(output, standard)
    try:
        PlaybookCLI.cli_executor(["ansible-playbook", "-i", str(folder / "hosts.json"), playbook])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main(playbook: str, folders: list[Path]) -> None:
    """Keep one fork for each processor busy."""
    load()
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
