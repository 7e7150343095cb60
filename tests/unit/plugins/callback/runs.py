# SPDX-License-Identifier: MIT
"""Runs of Ansible on this machine with the callbacks of the collection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
PROGRESS = "selfhosted.trigger_dev.progress"
SUMMARY = "selfhosted.trigger_dev.summary"


def command(folder: Path, text: str, *options: str, hosts: str = "one,two,") -> list[str]:
    """Write a playbook, and give the command that runs it on hosts that all are this machine."""
    (folder / "play.yml").write_text(text)
    python = "ansible_python_interpreter=/usr/bin/python3"
    return [str(PLAYBOOK), "-i", hosts, "-c", "local", "-e", python, *options, "play.yml"]


def environment(**settings: str | None) -> dict[str, str]:
    """Give the environment of a run with both callbacks, as a checkout has them; settings win, and None is unset."""
    usual = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_CALLBACKS_ENABLED": SUMMARY,
        "ANSIBLE_STDOUT_CALLBACK": PROGRESS,
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    kept = {name: value for name, value in os.environ.items() if name not in ("ANSIBLE_NOCOLOR", "ANSIBLE_FORCE_COLOR")}
    return {name: value for name, value in (kept | usual | settings).items() if value is not None}


def run(
    folder: Path, text: str, *options: str, hosts: str = "one,two,", **settings: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a playbook without a terminal; any exit code is an answer."""
    return subprocess.run(
        command(folder, text, *options, hosts=hosts),
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
