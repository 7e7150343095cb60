# SPDX-License-Identifier: MIT
"""When the rollback of a failed upgrade begins, and with which options; tests/refusals/test_upgrade.py starts one."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from ansible_collections.selfhosted.trigger_dev.plugins.callback.rollback import (
    PLAYBOOK,
    VERSION_FACT,
    CallbackModule,
    command,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import LOCK_PROCESS

OLD = "v4.2.0"
GIVEN = ["-i", "inventories/mine", "-e", "trigger_version=v4.5.12"]


@pytest.mark.parametrize(
    ("arguments", "playbooks"),
    [
        ([*GIVEN, "playbooks/upgrade.yml"], ["playbooks/upgrade.yml"]),
        (["playbooks/upgrade.yml", *GIVEN], ["playbooks/upgrade.yml"]),
        (["before.yml", *GIVEN, "selfhosted.trigger_dev.upgrade"], ["before.yml", "selfhosted.trigger_dev.upgrade"]),
        ([*GIVEN, "--start-at-task", "Make a backup", "a.yml"], ["a.yml"]),
        ([*GIVEN, "--start-at-task=Make a backup", "a.yml"], ["a.yml"]),
    ],
)
def test_it_has_the_options_of_the_upgrade(arguments: list[str], playbooks: list[str]) -> None:
    *begin, version, playbook = command(arguments, playbooks, OLD)
    assert begin == [sys.executable, "-m", "ansible", "playbook", *GIVEN, "-e"]
    assert (version, playbook) == (f"trigger_version={OLD}", str(PLAYBOOK))
    assert PLAYBOOK.is_file()


def test_an_option_may_have_the_text_of_the_playbook() -> None:
    assert command(["-i", "upgrade", "upgrade"], ["upgrade"], OLD)[4:6] == ["-i", "upgrade"]


NONE: dict[str, int] = {}
FAILED, AWAY = {"failures": {"one": 1}, "dark": NONE}, {"failures": NONE, "dark": {"one": 1}}


@pytest.mark.parametrize(
    ("facts", "stats", "begins"),
    [
        ([{VERSION_FACT: OLD}], FAILED, True),
        ([{VERSION_FACT: OLD}], AWAY, True),
        ([{VERSION_FACT: OLD}, {"other": "fact"}], FAILED, True),
        ([{VERSION_FACT: OLD}], {"failures": NONE, "dark": NONE}, False),
        ([{"other": "fact"}], FAILED, False),
        ([{VERSION_FACT: OLD}, {VERSION_FACT: ""}], AWAY, False),
    ],
    ids=["failed", "out-of-reach", "other-facts", "all-well", "nothing-changed-yet", "complete"],
)
@pytest.mark.parametrize("code", [0, 2])
def test_it_begins_when_an_upgrade_fails_that_has_begun(
    facts: list[dict[str, str]],
    stats: dict[str, dict[str, int]],
    begins: bool,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[tuple[list[str], str]] = []

    def run(words: list[str], env: dict[str, str], check: bool, **streams: int) -> Any:
        assert not check
        assert streams == {"stdin": 0, "stdout": 1, "stderr": 2}
        started.append((words, env[LOCK_PROCESS]))
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["ansible-playbook", *GIVEN, "upgrade.yml"])
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(args=("upgrade.yml",)))
    callback = CallbackModule()
    for each in facts:
        callback.v2_runner_on_ok(SimpleNamespace(result={"ansible_facts": each}))
    callback.v2_runner_on_ok(SimpleNamespace(result={"msg": "no facts"}))
    callback.v2_playbook_on_stats(SimpleNamespace(**stats))
    wanted = [(command([*GIVEN, "upgrade.yml"], ["upgrade.yml"], OLD), str(os.getpid()))]
    assert started == (wanted if begins else [])
    told = " ".join(capsys.readouterr().out.split())
    assert (f"brings back {OLD}" in told) == begins
    assert (f"{OLD} runs again" in told) == (begins and code == 0)
    assert ("start the playbook rollback yourself" in told) == (begins and code != 0)
