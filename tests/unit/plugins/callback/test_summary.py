# SPDX-License-Identifier: MIT
"""The summary is looked at as users see it: at the end of a run of Ansible."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

from ansible_collections.selfhosted.trigger_dev.plugins.callback.summary import lines, paragraphs, what_took_long

from tests.unit.plugins.callback.runs import run

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


CHANGES = """
- name: Change something
  hosts: all
  gather_facts: false
  tasks:
    - name: Change it
      ansible.builtin.command: "true"
      loop: [1, 2]
      when: inventory_hostname != 'same'
    - name: Run the part
      ansible.builtin.include_tasks: part.yml
    - name: Print the next steps
      ansible.builtin.debug:
        msg: [NEXT STEPS, "Log in: here"]
      run_once: true
"""
PART = """
- name: Change more
  ansible.builtin.command: sleep 1.1
  when: inventory_hostname == 'most'
- name: Change even more
  ansible.builtin.command: "true"
  when: inventory_hostname == 'most'
- name: Break
  ansible.builtin.fail:
    msg: "first line\\nsecond line"
  when: broken | default(false)
"""


def test_a_good_run_ends_with_what_has_changed_and_what_comes_next(tmp_path: Path) -> None:
    (tmp_path / "part.yml").write_text(PART)
    told = run(tmp_path, CHANGES, hosts="most,some,same,").stdout
    changed, _, steps = told.partition("CHANGED *")[2].partition("NEXT STEPS *")
    rows = changed.splitlines()[1:]
    assert rows[:2] == ["most  changed   3  Change something, Run the part", "some  changed   1  Change something"]
    assert re.match(r"It took \d+:\d\d", rows[2])
    assert steps.splitlines()[1:] == ["Log in: here"]
    # They are the end of the run, and stand there alone.
    assert told.count("Log in: here") == 1
    assert "TIMES" not in told


def test_a_failed_run_ends_with_each_reason_once_and_with_what_had_changed(tmp_path: Path) -> None:
    (tmp_path / "part.yml").write_text(PART)
    told = run(tmp_path, CHANGES, "-e", '{"broken": true}', hosts="most,some,same,").stdout
    assert "No task of this run has reported a change on same.\n" in told
    below = told.partition("NOT DONE")[2].splitlines()[1:]
    assert below == ["most, same, some  failed  Break:", "    first line", "    second line"]
    assert told.count("second line") == 1
    assert "NEXT STEPS" not in told


def test_a_dry_run_says_what_it_would_change(tmp_path: Path) -> None:
    copy = f"ansible.builtin.copy: {{dest: {tmp_path}/new, content: x, mode: '0600'}}"
    told = run(
        tmp_path, f"- name: Copy\n  hosts: all\n  gather_facts: false\n  tasks: [{{{copy}}}]\n", "--check", hosts="one,"
    )
    assert "\none  would change   1  Copy\n" in told.stdout


def test_the_times_of_the_steps_are_drawn_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "part.yml").write_text(PART)
    told = run(tmp_path, CHANGES, hosts="most,", TRIGGER_SUMMARY_TIMINGS="true").stdout.partition("TIMES *")[2]
    assert re.search(r"^Change something: Run the part +\d+:\d\d  #+$", told, re.MULTILINE)


def test_the_full_reason_of_several_hosts_is_given_once() -> None:
    told = paragraphs({"b": "x", "a": "x"}, {"c": "x"}, {"d": "z"})
    assert told == ["a, b  failed  x", "c  unreachable  x", "d  not reached  z"]


def test_short_plays_are_not_named() -> None:
    assert what_took_long({"": 9.0, "Check": 1.0, "Deploy": 64.0}) == "It took 1:14, and most of it Deploy 1:04."
    assert what_took_long({}) == "It took 0:00."
