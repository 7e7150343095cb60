# SPDX-License-Identifier: MIT
"""Progress is looked at as users see it: in the output of a run of Ansible, into a pipe and on a terminal."""

from __future__ import annotations

import configparser
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.unit.plugins.callback.runs import PROGRESS, ROOT, command, environment, run

STAMP = re.compile(r"^ *(\d+:)?\d+:\d\d  ", re.MULTILINE)

STEPS = """
- name: Prepare the hosts
  hosts: all
  gather_facts: false
  tasks:
    - name: Write the files
      ansible.builtin.include_tasks: part.yml
      vars: {content: new}
    - name: Look away
      ansible.builtin.include_tasks: skipped.yml
    - name: Write the files again
      ansible.builtin.include_tasks: part.yml
      vars: {content: "{{ 'newer' if inventory_hostname == 'one' else 'new' }}"}
- name: Do nothing
  hosts: all
  gather_facts: false
  tasks:
    - name: Never print
      ansible.builtin.debug:
      when: false
- name: Have no hosts
  hosts: "!all"
  tasks: []
"""
PART = """
- name: Make a file
  ansible.builtin.copy:
    dest: "{{ playbook_dir }}/{{ inventory_hostname }}.txt"
    content: "{{ content }}\\n"
    mode: "0600"
- name: Find it
  ansible.builtin.stat:
    path: "{{ playbook_dir }}/{{ inventory_hostname }}.txt"
"""
FAILURES = """
- name: Fail in many ways
  hosts: all
  gather_facts: false
  tasks:
    - name: Survive
      block:
        - name: Break and mend
          ansible.builtin.fail:
            msg: the mended error
          when: inventory_hostname == 'mended'
        - name: Break to be explained
          ansible.builtin.fail:
            msg: the inner error
          when: inventory_hostname == 'explained'
      rescue:
        - name: Explain
          ansible.builtin.fail:
            msg: "Explained: {{ ansible_failed_result.msg }}"
          when: inventory_hostname == 'explained'
    - name: Ignore it
      ansible.builtin.command: {argv: [sh, -c, "echo the ignored error >&2; exit 3"]}
      ignore_errors: true
      when: inventory_hostname == 'mended'
    - name: Break in a loop
      ansible.builtin.fail:
        msg: "item {{ item }} is broken"
      loop: [x, y]
      when: inventory_hostname == 'looping'
    - name: Keep a secret
      ansible.builtin.command: "false hunter{{ 1 + 1 }}"
      no_log: true
      when: inventory_hostname == 'secret'
    - name: Call a host
      ansible.builtin.ping:
      when: inventory_hostname == 'away'
      vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}
"""
FAILING = "mended,explained,looping,secret,away,fine,"
SLOW = """
- name: Take long
  hosts: all
  gather_facts: false
  tasks:
    - name: "Wait for the service: {{ service }}"
      ansible.builtin.command: {argv: [sleep, "2.2"]}
      changed_when: false
      vars: {service: "web, at most 30 s"}
    - name: Try until it works
      ansible.builtin.command: {argv: [sh, -c, "echo x >> tries; test $(wc -l < tries) -gt 3"]}
      changed_when: false
      register: tried
      until: tried is success
      retries: 20
      delay: 1
"""


def steps(output: str) -> list[str]:
    """Give the lines with a time, without it."""
    return [STAMP.sub("", line) for line in output.splitlines() if STAMP.match(line)]


def write_steps(folder: Path) -> str:
    """Put the files beside the playbook that its play includes."""
    (folder / "part.yml").write_text(PART)
    (folder / "skipped.yml").write_text("- name: Skip this\n  ansible.builtin.debug:\n  when: false\n")
    return STEPS


def test_each_play_and_step_has_one_line_and_what_is_skipped_has_none(tmp_path: Path) -> None:
    done = run(tmp_path, write_steps(tmp_path))
    assert steps(done.stdout.partition("PLAY RECAP")[0]) == [
        "Prepare the hosts (one, two)",
        "  Write the files",
        "    changed: Make a file (one, two)",
        "  Write the files again",
        "    changed: Make a file (one)",
    ]
    assert "TASK" not in done.stdout
    # The recap is that of Ansible.
    assert re.search(r"^one +: ok=\d+ +changed=2 +unreachable=0 +failed=0", done.stdout, re.MULTILINE)


def test_without_a_terminal_nothing_is_rewritten(tmp_path: Path) -> None:
    done = run(tmp_path, SLOW, TRIGGER_PROGRESS_INTERVAL="0.5", TERM="xterm")
    assert not re.search(r"[^\x20-\x7e\n]", done.stdout + done.stderr)


def test_what_takes_long_says_for_how_long_and_how_long_it_may(tmp_path: Path) -> None:
    done = run(tmp_path, SLOW, TRIGGER_PROGRESS_INTERVAL="0.9", hosts="one,")
    told = "\n".join(steps(done.stdout))
    assert re.search(r"waiting: Wait for the service: web, \d+ s of at most 30 s \(one\)", told)
    assert re.search(r"waiting: Try until it works, \d+ s of at most 20 s \(one\)", told)
    assert "RETRYING" not in done.stdout
    (tmp_path / "tries").unlink()
    assert "waiting:" not in run(tmp_path, SLOW, TRIGGER_PROGRESS_INTERVAL="3600", hosts="one,").stdout


def test_the_time_is_that_since_the_run_began(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(tmp_path, SLOW + "    - ansible.builtin.debug: {msg: the end}\n", hosts="one,")
    (end,) = [line for line in done.stdout.splitlines() if "the end" in line]
    minutes, seconds = map(int, end.split()[0].split(":"))
    assert 4 <= 60 * minutes + seconds <= time.monotonic() - began


def test_each_failure_is_named_at_once_and_its_reason_shown_once(tmp_path: Path) -> None:
    done = run(tmp_path, FAILURES, hosts=FAILING)
    above, _, below = done.stdout.partition("PLAY RECAP")
    told = steps(above)
    for line in (
        "    failed: Break and mend (mended); the playbook deals with it",
        "    failed: Break to be explained (explained); the playbook deals with it",
        "    failed: Explain (explained); the reason is at the end",
        "    failed: Ignore it (mended), which is ignored: non-zero return code the ignored error",
        "    failed: Break in a loop (looping); the reason is at the end",
        "    failed: Keep a secret (secret); the reason is at the end",
        "    unreachable: Call a host (away); the reason is at the end",
        "    was dealt with: Break and mend (mended): the mended error",
    ):
        assert line in told, line
    for text in ("the mended error", "the inner error", "the ignored error", "item x is broken", "item y is broken"):
        assert done.stdout.count(text) == 1, text
    assert below.count("Explained: the inner error") == 1
    assert "Connection refused" in below
    assert done.stdout.count("Connection refused") == 1
    assert "hunter2" not in done.stdout + done.stderr
    assert "fatal:" not in done.stdout


def test_without_the_summary_the_reason_stands_where_the_failure_is(tmp_path: Path) -> None:
    done = run(tmp_path, FAILURES, hosts=FAILING, ANSIBLE_CALLBACKS_ENABLED=None)
    for text in ("Explained: the inner error", "item x is broken", "item y is broken", "Connection refused"):
        assert done.stdout.count(text) == 1, text
    assert "at the end" not in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_reasons_that_were_promised_are_printed_after_an_interrupted_run(tmp_path: Path) -> None:
    text = FAILURES + "    - name: Go on\n      ansible.builtin.command: sleep 600\n"
    process = subprocess.Popen(
        command(tmp_path, text, hosts="looping,fine,"),
        cwd=tmp_path,
        env=environment(TRIGGER_PROGRESS_INTERVAL="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    # Each line is there at once, although the output is no terminal.
    for line in process.stdout:
        if "waiting: Go on" in line:
            break
    process.send_signal(signal.SIGINT)
    with process.stdout:
        rest = process.stdout.read()
    assert process.wait() == 99
    assert "PLAY RECAP" not in rest
    assert "item x is broken" in rest.partition("INTERRUPTED")[2]


def test_differences_are_shown_with_host_and_task(tmp_path: Path) -> None:
    done = run(tmp_path, write_steps(tmp_path), "--check", "--diff")
    told = steps(done.stdout)
    assert "    difference: Make a file (two)" in told
    assert done.stdout.count("\n+new\n") == 3
    assert not (tmp_path / "one.txt").exists()


def test_messages_warnings_and_deprecations_are_shown(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "warner.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule(argument_spec={})\n"
        "module.warn('mind the gap')\n"
        "module.deprecate('it goes away', version='9.0.0', collection_name='some.where')\n"
        "module.exit_json(changed=False)\n"
    )
    text = """
- hosts: all
  gather_facts: false
  tasks:
    - warner:
    - name: Print a line
      ansible.builtin.debug: {msg: one line}
    - name: Print a table
      ansible.builtin.debug: {msg: "first  row\\nsecond row"}
    - name: Print a list
      ansible.builtin.debug: {msg: [first entry, second entry]}
    - name: Print a value
      ansible.builtin.debug: {var: inventory_hostname}
    - name: Print in a loop
      ansible.builtin.debug: {msg: "item {{ item }}"}
      loop: [x, y]
"""
    done = run(tmp_path, text, hosts="one,", ANSIBLE_DEPRECATION_WARNINGS="true")
    assert "mind the gap" in done.stderr
    assert "it goes away" in done.stderr
    told = steps(done.stdout)
    assert "    one: one line" in told
    assert "\n  first  row\n  second row\n" in done.stdout
    assert "\n  first entry\n  second entry\n" in done.stdout
    assert re.search("inventory_hostname: one|inventory_hostname.: .one", done.stdout)
    assert [line for line in told if "item" in line] == ["    one: item x", "    one: item y"]


def test_handlers_batches_and_hosts_that_are_many_are_named(tmp_path: Path) -> None:
    text = """
- name: Go by batches
  hosts: all
  gather_facts: false
  serial: 4
  tasks:
    - name: Change
      ansible.builtin.command: "true"
      notify: Follow
  handlers:
    - name: Follow
      ansible.builtin.command: "true"
"""
    done = run(tmp_path, text, hosts="a,b,c,d,e,")
    assert steps(done.stdout) == [
        "Go by batches (4 hosts)",
        "    changed: Change (4 hosts)",
        "    changed: Follow (4 hosts)",
        "Go by batches (e)",
        "    changed: Change (e)",
        "    changed: Follow (e)",
    ]


def test_asynchronous_tasks_are_named_once(tmp_path: Path) -> None:
    text = """
- name: Poll
  hosts: all
  gather_facts: false
  tasks:
    - name: Work
      ansible.builtin.command: "true"
      async: 120
      poll: 1
    - name: Break
      ansible.builtin.command: {argv: [sh, -c, "echo gone >&2; exit 1"]}
      async: 120
      poll: 1
"""
    done = run(tmp_path, text, hosts="one,")
    told = steps(done.stdout)
    assert told[:3] == ["Poll (one)", "    changed: Work (one)", "    failed: Break (one); the reason is at the end"]
    assert "ASYNC" not in done.stdout
    assert done.stdout.count("gone") == 1


def test_pulled_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "puller.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule(argument_spec={})\n"
        "actions = [{'id': 'redis:7', 'status': 'Pulling', 'what': 'image'}, {'id': 'web', 'status': 'Creating'}]\n"
        "module.exit_json(changed=True, actions=actions)\n"
    )
    done = run(tmp_path, "- hosts: all\n  gather_facts: false\n  tasks: [{name: Start, puller: }]\n", hosts="one,")
    assert steps(done.stdout)[1:3] == ["    pulled: redis:7 (one)", "    changed: Start (one)"]


def test_verbose_output_is_that_of_ansible(tmp_path: Path) -> None:
    text = write_steps(tmp_path) + FAILURES
    # Times and numbers of files differ from run to run.
    noise = re.compile(r"\d+")
    seen = []
    for stdout in (PROGRESS, "ansible.builtin.default"):
        for path in tmp_path.glob("*.txt"):
            path.unlink()
        done = run(tmp_path, text, "-v", hosts="mended,", ANSIBLE_STDOUT_CALLBACK=stdout)
        seen.append(noise.sub("", done.stdout).partition("PLAY RECAP")[0])
    assert seen[0] == seen[1]
    assert "TASK [Write the files]" in seen[0]


def test_on_a_terminal_one_line_is_rewritten(tmp_path: Path) -> None:
    told = on_terminal(tmp_path)
    assert re.search(r"\n\x1b\[K +\d:\d\d  Wait for the service: web, \d+ s of at most 30 s \(one\)\x1b\[1A\r", told)
    # Of all that was rewritten, nothing is left: the screen ends with the recap.
    assert told.rfind("\x1b[1A") < told.rfind("\x1b[J") < told.rfind("PLAY RECAP")
    assert "waiting:" not in told


def test_the_line_that_is_rewritten_can_be_switched_off(tmp_path: Path) -> None:
    assert "\x1b[1A" not in on_terminal(tmp_path, TRIGGER_PROGRESS_LIVE="false")
    assert "\x1b[1A" not in on_terminal(tmp_path, TERM="dumb")


def on_terminal(folder: Path, **settings: str) -> str:
    """Run the slow play with a terminal of its own, and give all that was written to it."""
    (folder / "tries").unlink(missing_ok=True)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(folder, SLOW, hosts="one,"),
        cwd=folder,
        env=environment(**{"TERM": "xterm", **settings}),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    found = b""
    while True:
        try:
            found += os.read(ours, 65536)
        except OSError:  # the terminal is closed when the process ends
            break
    os.close(ours)
    assert process.wait() == 0, found
    return found.decode().replace("\r\n", "\n")


def test_a_checkout_has_it_and_the_environment_wins(tmp_path: Path) -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "ansible.cfg")
    assert settings["defaults"]["stdout_callback"] == PROGRESS
    text = "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: }]\n"
    config = str(ROOT / "ansible.cfg")
    for callback, usual in ((None, False), ("ansible.builtin.default", True)):
        done = run(tmp_path, text, ANSIBLE_CONFIG=config, ANSIBLE_STDOUT_CALLBACK=callback)
        assert ("TASK [" in done.stdout) == usual, done.stdout + done.stderr
