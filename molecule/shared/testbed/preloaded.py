# SPDX-License-Identifier: MIT
"""Runs ansible-playbook in less time: preloaded.py ARGUMENTS, the same as for ansible-playbook, and the same output.

Ansible forks for every task on every host, and each fork loads the plugins that it needs, which end with it. Loaded
before, they are there in all of them (measured: a third of the controller's processor time).
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from ansible.cli.playbook import PlaybookCLI
from ansible.plugins import loader

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
ACTIONS = ("assert", "command", "debug", "fail", "include_role", "include_tasks", "normal", "validate_argument_spec")


def load() -> None:
    """Load what every task would load again in a process of its own."""
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


def play(arguments: list[str]) -> None:
    """Do what the command does; ends with SystemExit where the command ends with a code."""
    PlaybookCLI.cli_executor(["ansible-playbook", *arguments])


if __name__ == "__main__":
    load()
    play(sys.argv[1:])
