# SPDX-License-Identifier: MIT
"""Playbooks about some workers, or about all of them: what they say when others are meant than --limit lets through."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from verification.deployment import Play

from tests.refusals.test_refusals import ANSIBLE, CHANGE, CONTROL, ROOT, inventory

WORKERS = ("worker1.example.com", "worker2.example.com")
NEXT = "Have all workers on the present token"

# Playbook, its options, words of the message.
REFUSED: dict[str, tuple[str, list[str], list[str]]] = {
    "rotate-one-worker": ("rotate_worker_token", ["--limit", WORKERS[0]], [CONTROL, WORKERS[1], "without --limit"]),
    "rotate-without-workers": ("rotate_worker_token", ["--limit", CONTROL], [*WORKERS, "without --limit"]),
    "recover-without-workers": ("recover_worker_token", ["--limit", CONTROL], [*WORKERS, "without --limit"]),
    "drain-nobody": ("drain_worker", [], [*WORKERS, "set it to worker hosts"]),
    "drain-a-stranger": (
        "drain_worker",
        ["-e", "worker=worker3.example.com"],
        [*WORKERS, "worker is 'worker3.example.com'"],
    ),
    "drain-another": ("drain_worker", ["-e", f"worker={WORKERS[0]}", "--limit", WORKERS[1]], [WORKERS[0], "--limit"]),
    "drain-no-instance": (
        "drain_worker",
        ["-e", f"worker={WORKERS[0]}", "-e", "worker_instance=gpus"],
        ["worker_instance is 'gpus'", f"{WORKERS[0]} has {WORKERS[0]}, gpu"],
    ),
    "remove-no-instance": (
        "remove_worker",
        ["-e", f"worker={WORKERS[0]}", "-e", "worker_instance=gpus"],
        ["worker_instance is 'gpus'", f"{WORKERS[0]} has {WORKERS[0]}, gpu"],
    ),
    "forget-no-instance": (
        "remove_worker",
        ["-e", f"worker={WORKERS[0]}", "-e", "worker_instance=gpus", "-e", "remove_worker_lost=true"],
        ["worker_instance is 'gpus'"],
    ),
}


def run(folder: Path, playbook: str, options: list[str]) -> Play:
    """Run a playbook of the collection on hosts that only answer."""
    inventory(
        folder,
        {
            "workers": {
                WORKERS[0]: {"supervisor_instances": [{"name": WORKERS[0]}, {"name": "gpu"}]},
                WORKERS[1]: {},
            }
        },
    )
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", str(folder / "hosts.json"), *options, f"selfhosted.trigger_dev.{playbook}"),
        ],
        env=os.environ | ANSIBLE,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return Play(done.returncode, done.stdout + done.stderr)


@pytest.mark.parametrize("name", REFUSED)
def test_hosts_that_are_left_out_are_told(tmp_path: Path, name: str) -> None:
    playbook, options, words = REFUSED[name]
    done = run(tmp_path, playbook, options)
    assert done.code != 0, "the run went through"
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert CHANGE not in done.output
    assert NEXT not in done.output
    assert done.changes == []


@pytest.mark.parametrize(
    ("playbook", "options", "reached"),
    [
        ("rotate_worker_token", [], "PLAY [Deploy the workers]"),
        ("recover_worker_token", [], "PLAY [Recover the token of a worker group]"),
        (
            "drain_worker",
            ["-e", f"worker={WORKERS[0]}", "--limit", WORKERS[0]],
            "See whether there is such a supervisor",
        ),
        (
            "drain_worker",
            ["-e", f"worker={WORKERS[0]}", "-e", "worker_instance=gpu"],
            "See whether there is such a supervisor",
        ),
    ],
)
def test_where_nobody_is_left_out_the_playbook_goes_on(
    tmp_path: Path, playbook: str, options: list[str], reached: str
) -> None:
    assert reached in run(tmp_path, playbook, options).output
