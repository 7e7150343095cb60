# SPDX-License-Identifier: MIT
"""The summary is looked at as users see it: at the end of a run of Ansible."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.callback.summary import HIDDEN, lines, reason

ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Warn everybody
      ansible.builtin.debug:
        msg: "WARNING: the disk is\n small"
    - name: Tell
      ansible.builtin.debug:
        msg: no WARNING at all
    - name: Say how to go back
      ansible.builtin.debug:
        msg: "AT FAILURE: run the playbook rollback"
    - name: Break what is broken
      ansible.builtin.fail:
        msg: "the engine is\\n gone"
      when: inventory_hostname == 'broken'
    - name: Keep a secret
      ansible.builtin.fail:
        msg: hunter2
      no_log: true
      when: inventory_hostname == 'secret'
    - name: Reach those that are away
      ansible.builtin.ping:
      when: inventory_hostname == 'away'
      vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}
    - block:
        - name: Fail and be rescued
          ansible.builtin.fail:
            msg: no harm was done
          when: inventory_hostname == 'rescued'
      rescue:
        - ansible.builtin.debug:
"""


def play(folder: Path, limit: str, text: str = PLAY) -> str:
    """Run the play for these hosts and give what stands below the recap."""
    playbook = folder / "play.yml"
    playbook.write_text(text)
    hosts = ["-i", "broken,secret,away,rescued,fine,", "--limit", limit, "-c", "local"]
    python = ["-e", "ansible_python_interpreter=/usr/bin/python3"]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *hosts, *python, str(playbook)],
        cwd=folder,
        env=os.environ
        | {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_CALLBACKS_ENABLED": "selfhosted.trigger_dev.summary",
            "ANSIBLE_NOCOLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PLAY RECAP" in done.stdout, done.stderr
    return done.stdout.partition("PLAY RECAP")[2]


def test_hosts_that_failed_are_named_with_the_reason(tmp_path: Path) -> None:
    told = play(tmp_path, "all").partition("NOT DONE")[2]
    rows = {line.split()[0]: line for line in told.splitlines()[1:] if line.strip()}
    assert list(rows) == ["broken", "secret", "away", "run"]
    assert "failed" in rows["broken"]
    assert "Break what is broken: the engine is gone" in rows["broken"]
    assert "unreachable" in rows["away"]
    assert "Connection refused" in rows["away"]
    assert "Keep a secret" in rows["secret"]
    assert "hunter2" not in told
    assert told.count("run the playbook rollback") == 1


def test_where_nothing_failed_each_warning_is_repeated_once_and_no_more_is_said(tmp_path: Path) -> None:
    told = play(tmp_path, "rescued,fine")
    assert "NOT DONE" not in told
    assert "rollback" not in told
    assert told.partition("WARNINGS")[2].splitlines()[1:] == ["* the disk is small"]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"msg": "no\n  space"}, "no space"),
        ({"stderr": "killed"}, "killed"),
        ({}, "no message"),
        ({"msg": "One or more items failed", "results": [{"msg": "fine"}, {"msg": "gone", "failed": True}]}, "gone"),
        ({"censored": "the output has been hidden"}, HIDDEN),
        ({"censored": "of one item", "results": [{"censored": "of it"}, {"msg": "gone", "failed": True}]}, "gone"),
        ({"msg": "x" * 400}, "x" * 300 + " ..."),
    ],
)
def test_a_reason_is_one_line(result: dict[str, str], told: str) -> None:
    assert reason(result) == told


def test_lines_stand_below_each_other() -> None:
    told = lines({"a": "x"}, {"longer": "y"}, {"c": "z"})
    assert told == ["a       failed       x", "longer  unreachable  y", "c       not reached  z"]


def test_hosts_whose_turn_did_not_come_are_named(tmp_path: Path) -> None:
    told = play(tmp_path, "broken,fine,rescued", "- hosts: all\n  serial: 1\n" + PLAY.partition("- hosts: all\n")[2])
    rows = {line.split()[0]: line for line in told.partition("NOT DONE")[2].splitlines()[1:] if line.strip()}
    assert list(rows) == ["broken", "fine", "rescued", "run"]
    assert "its batch did not come" in rows["fine"]
    assert "not reached" in rows["rescued"]


def test_a_checkout_has_it_enabled() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "ansible.cfg")
    assert "selfhosted.trigger_dev.summary" in settings["defaults"]["callbacks_enabled"].split(",")
