# SPDX-License-Identifier: MIT
"""What plays of tests keep for each other is what they would have built themselves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from testbed import preloaded
from testbed.common import ROOT
from tests.plays import SHORT, USUAL


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection with one module."""
    for folder in ("plugins/modules", "plugins/module_utils", "packages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "plugins/modules/told.py").write_text("first")
    monkeypatch.setattr(preloaded, "CACHE", tmp_path / ".cache")
    monkeypatch.setattr(preloaded, "PLUGINS", tmp_path / "plugins")
    monkeypatch.setattr(preloaded, "PACKAGES", tmp_path / "packages")
    return tmp_path


def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder where a play finds built modules; its own is an empty one."""
    folder.mkdir()
    monkeypatch.setattr("ansible.constants.DEFAULT_LOCAL_TMP", str(folder))
    preloaded.keep_built_modules()
    return (folder / "ansiballz_cache").resolve(strict=True)


@pytest.mark.parametrize("changed", ["plugins/modules/told.py", "plugins/module_utils/added.py", "packages/added.py"])
def test_a_play_finds_what_another_has_built_of_the_same(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    first = kept(checkout / "first", monkeypatch)
    assert first.is_relative_to(checkout / ".cache")
    assert kept(checkout / "second", monkeypatch) == first
    (checkout / changed).write_text("another text")
    assert kept(checkout / "third", monkeypatch) != first


PLAY = """
- hosts: all
  gather_facts: false
  vars:
    once: "{{ twice }}-{{ twice }}"
    twice: "{{ item | default('none') }}{{ fact | default('') }}"
    lacking: "{{ unknown.name }}"
  tasks:
    - name: A loop sees each item in variables of variables
      ansible.builtin.debug:
        msg: "{{ once }}"
      loop: [a, b]
    - name: A fact changes what was computed before
      ansible.builtin.set_fact:
        fact: "{{ once }}{{ inventory_hostname }}"
    - name: What fails is told in the same words
      block:
        - name: A variable lacks what it names
          ansible.builtin.debug:
            msg: "{{ lacking }}"
      rescue:
        - name: The next task sees why
          ansible.builtin.debug:
            var: ansible_failed_result.msg
    - name: Tasks are read for each item
      ansible.builtin.include_tasks: included.yml
      loop: [1, 2]
      when: inventory_hostname == "first" or item == 2
    - name: The last task fails on one host
      ansible.builtin.assert:
        that: fact is not search("second")
        fail_msg: "{{ once }}"
"""
INCLUDED = """
- name: An included task
  ansible.builtin.debug:
    msg: "{{ once }}"
  register: told
- name: What it told
  ansible.builtin.debug:
    var: told.msg
"""


def test_what_only_computes_comes_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "included.yml").write_text(INCLUDED)
    # One fork at a time, so that the hosts answer in their order.
    environment = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "1"}
    usual, short = (
        subprocess.run(
            [*program, "-i", "first,second,", "-c", "local", "play.yml"],
            cwd=tmp_path,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        for program in (USUAL, SHORT)
    )
    for expected in (
        '"msg": "b-b"',
        "'unknown' is undefined",
        "1none-nonefirst-1none-nonefirst",
        "nonenone-nonesecond",
    ):
        assert expected in usual.stdout
    assert usual.returncode == 2
    assert (short.returncode, short.stdout, short.stderr) == (usual.returncode, usual.stdout, usual.stderr)
