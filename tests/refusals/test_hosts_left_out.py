# SPDX-License-Identifier: MIT
"""Playbooks about some workers, or about all of them: what they say when others are meant than --limit lets through."""

from __future__ import annotations

from pathlib import Path

import pytest
from verification.deployment import Play

from tests.refusals.test_refusals import CHANGE, CONTROL, inventory, run_playbook

WORKERS = ("worker1.example.com", "worker2.example.com")
NAMES = {"secrets_rotate": ["-e", '{"secrets_rotate_names": ["registry_password"]}']}
NEXT = "Update all workers to the current token"

# Playbook, its options, words of the message.
REFUSED: dict[str, tuple[str, list[str], list[str]]] = {
    "rotate-one-worker": ("worker_token_rotate", ["--limit", WORKERS[0]], [CONTROL, WORKERS[1], "without --limit"]),
    "rotate-without-workers": ("worker_token_rotate", ["--limit", CONTROL], [*WORKERS, "without --limit"]),
    "recover-without-workers": ("worker_token_recover", ["--limit", CONTROL], [*WORKERS, "without --limit"]),
    "upgrade-one-worker": (
        "upgrade",
        ["--limit", WORKERS[0], "-e", "trigger_version=v4.5.12"],
        [CONTROL, WORKERS[1], "without --limit"],
    ),
    "upgrade-without-workers": (
        "upgrade",
        ["--limit", CONTROL, "-e", "trigger_version=v4.5.12"],
        [*WORKERS, "without --limit"],
    ),
    "roll-back-one-worker": ("rollback", ["--limit", WORKERS[0]], [CONTROL, WORKERS[1], "without --limit"]),
    "roll-back-without-workers": ("rollback", ["--limit", CONTROL], [*WORKERS, "without --limit"]),
    "drain-nobody": ("worker_drain", [], [*WORKERS, "set it to worker hosts"]),
    "drain-a-stranger": (
        "worker_drain",
        ["-e", "worker_hosts=worker3.example.com"],
        [*WORKERS, "worker_hosts is 'worker3.example.com'"],
    ),
    "drain-another": (
        "worker_drain",
        ["-e", f"worker_hosts={WORKERS[0]}", "--limit", WORKERS[1]],
        [WORKERS[0], "--limit"],
    ),
    "drain-no-instance": (
        "worker_drain",
        ["-e", f"worker_hosts={WORKERS[0]}", "-e", "worker_instance=gpus"],
        ["worker_instance is 'gpus'", f"{WORKERS[0]} has {WORKERS[0]}, gpu"],
    ),
    "remove-no-instance": (
        "worker_remove",
        ["-e", f"worker_hosts={WORKERS[0]}", "-e", "worker_instance=gpus"],
        ["worker_instance is 'gpus'", f"{WORKERS[0]} has {WORKERS[0]}, gpu"],
    ),
    "forget-no-instance": (
        "worker_remove",
        [
            "-e",
            f"worker_hosts={WORKERS[0]}",
            "-e",
            "worker_instance=gpus",
            "-e",
            '{"worker_decommissioned_enabled": true}',
        ],
        ["worker_instance is 'gpus'"],
    ),
    # Passed over, it would mean all supervisors of the host.
    "remove-a-misspelt-instance": (
        "worker_remove",
        ["-e", f"worker_hosts={WORKERS[0]}", "-e", "worker_instnace=gpu"],
        ["worker_instnace", "the nearest known name is worker_instance"],
    ),
    "remove-by-a-former-name": (
        "worker_remove",
        ["-e", f"worker={WORKERS[0]}", "-e", "worker_instance=gpu"],
        ["worker (set for", "it is called worker_hosts since version 0.1.0"],
    ),
    "rotate-a-misspelt-group": (
        "worker_token_rotate",
        ["-e", "worker_group_nmae=eu"],
        ["worker_group_nmae", "the nearest known name is worker_group_name"],
    ),
    # Before the workers are deployed.
    **{
        f"{playbook}-of-a-group-that-there-is-not": (
            playbook,
            ["-e", "worker_group_name=nope"],
            ["worker_group_name is 'nope'", "Set it to one of bootstrap"],
        )
        for playbook in ("worker_token_rotate", "worker_token_recover")
    },
    "rotate-by-a-former-name": (
        "worker_token_rotate",
        ["-e", "worker_token_group=eu"],
        ["worker_token_group (set for", "it is called worker_group_name since version 0.1.0"],
    ),
    "log-in-a-misspelt-mail": (
        "login_link",
        ["-e", "login_link_mail=me@example.com"],
        ["login_link_mail", "the nearest known name is login_link_email"],
    ),
    "status-by-a-former-name": (
        "status",
        ["-e", "verify_free_min_percent=5"],
        ["verify_free_min_percent", "it is called trigger_disk_free_min_percent since version 0.1.0"],
    ),
    # Paths on this machine that only one playbook writes.
    "status-to-a-folder-that-is-missing": (
        "status",
        ["-e", "status_report_file=/nowhere/report.html"],
        ["status_report_file: /nowhere/report.html on the controller cannot be written: there is no folder /nowhere"],
    ),
    "diagnose-to-what-is-no-folder": (
        "diagnose",
        ["-e", "diagnose_directory=/etc/passwd/diagnosis"],
        ["diagnose_directory: /etc/passwd/diagnosis on the controller cannot be written: /etc/passwd is no folder"],
    ),
    "first-project-with-a-token-in-a-folder-that-is-missing": (
        "first_project",
        ["-e", "first_project_email=me@example.com", "-e", "first_project_token_file=/nowhere/token"],
        ["first_project_token_file: /nowhere/token on the controller cannot be written: there is no folder /nowhere"],
    ),
    "prepare-a-misspelt-user": (
        "registry_client",
        ["-e", "registry_client_usre=anna"],
        ["registry_client_usre", "the nearest known name is registry_client_user"],
    ),
    "remove-not-a-boolean": (
        "worker_remove",
        ["-e", f"worker_hosts={WORKERS[0]}", "-e", "worker_decommissioned_enabled=perhaps"],
        ["worker_decommissioned_enabled", "perhaps"],
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
            },
            "developers": {"anna.example.com": {}},
        },
    )
    return run_playbook(folder, playbook, options)


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
        ("worker_token_rotate", [], "PLAY [Deploy the workers]"),
        ("worker_token_recover", [], "PLAY [Recover the token of a worker group]"),
        (
            "worker_drain",
            ["-e", f"worker_hosts={WORKERS[0]}", "--limit", WORKERS[0]],
            "Check whether the supervisor exists",
        ),
        (
            "worker_drain",
            ["-e", f"worker_hosts={WORKERS[0]}", "-e", "worker_instance=gpu"],
            "Check whether the supervisor exists",
        ),
    ],
)
def test_where_nobody_is_left_out_the_playbook_goes_on(
    tmp_path: Path, playbook: str, options: list[str], reached: str
) -> None:
    assert reached in run(tmp_path, playbook, options).output


@pytest.mark.parametrize("playbook", ["secrets_rotate", "rollback"])
def test_a_registry_with_a_host_of_its_own_is_not_left_out(tmp_path: Path, playbook: str) -> None:
    """It has passwords of workers."""
    registry = "registry.example.net"
    inventory(tmp_path, {"registry": {registry: {}}, "workers": {WORKERS[0]: {}}})
    done = run_playbook(tmp_path, playbook, [*NAMES.get(playbook, []), "--limit", f"{CONTROL},{WORKERS[0]}"])
    assert done.code != 0
    assert f"--limit leaves out {registry}" in done.message, done.ending()
    assert CHANGE not in done.output
