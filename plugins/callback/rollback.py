# SPDX-License-Identifier: MIT
"""Callback plugin rollback."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollback
type: aggregate
version_added: 0.1.0
short_description: Start the playbook rollback when an upgrade fails
description:
  - An upgrade fails in many ways, and Ansible runs no task after most of them, such as a host that is out of reach.
    This callback is called after all of them. It starts P(selfhosted.trigger_dev.rollback#playbook) if the playbook
    upgrade was asked for that by O(selfhosted.trigger_dev.upgrade#role:upgrade_rollback_enabled), and has made its
    backup.
  - The playbook rollback gets the options of the upgrade. What the upgrade has asked for on the terminal, such as the
    password of a vault, is asked for once more.
  - The lock of the installation goes over to it, so that no other run comes between.
  - An upgrade that was interrupted is not undone.
  - The exit code remains that of the upgrade, which has failed.
requirements:
  - V(selfhosted.trigger_dev.rollback) in C(callbacks_enabled) of C(ansible.cfg), where a checkout has it, or in the
    environment variable C(ANSIBLE_CALLBACKS_ENABLED)
author:
  - The selfhosted.trigger_dev maintainers
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import LOCK_PROCESS

PLAYBOOK = Path(__file__).resolve().parents[2] / "playbooks" / "rollback.yml"
# The role upgrade sets it to the version before, and to nothing when the upgrade is complete.
VERSION_FACT = "__upgrade_automatic_rollback"
# Its task is one of the upgrade.
START = "--start-at-task"


def command(arguments: Sequence[str], playbooks: Sequence[str], version: str) -> list[str]:
    """Give what starts the rollback to a version with the options of an upgrade.

    Among arguments, the playbooks are the last of their names: an option may have the same text.
    """
    options = list(arguments)
    for name in playbooks:
        del options[len(options) - 1 - options[::-1].index(name)]
    if START in options:
        place = options.index(START)
        del options[place : place + 2]
    options = [option for option in options if not option.startswith(f"{START}=")]
    # The upgrade may have got the new version there, and the last one counts.
    return [sys.executable, "-m", "ansible", "playbook", *options, "-e", f"trigger_version={version}", str(PLAYBOOK)]


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Keeps the version to go back to, and goes back at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "selfhosted.trigger_dev.rollback"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.version = ""

    def v2_runner_on_ok(self, result: Any) -> None:
        facts = dict(result.result).get("ansible_facts") or {}
        self.version = str(facts.get(VERSION_FACT, self.version))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """What was rescued counts neither as a failure nor as out of reach."""
        if not self.version or not (stats.failures or stats.dark):
            return
        self._display.banner("ROLLBACK")
        self._display.display(f"The upgrade has failed. The playbook rollback begins, and brings back {self.version}.")
        sys.stdout.flush()
        code = subprocess.run(
            command(sys.argv[1:], context.CLIARGS["args"], self.version),
            env=os.environ | {LOCK_PROCESS: str(os.getpid())},
            check=False,
            # Ansible keeps its own from what it starts.
            stdin=0,
            stdout=1,
            stderr=2,
        ).returncode
        self._display.banner("ROLLBACK")
        if code:
            text = f"It has failed, too. Correct the cause, and start the playbook rollback yourself: {PLAYBOOK}"
        else:
            text = f"{self.version} runs again. Only the upgrade has failed, so this run ends with its exit code."
        self._display.display(text, color="red" if code else None)
