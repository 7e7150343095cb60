# SPDX-License-Identifier: MIT
"""Hosts of a real inventory that stand for others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.plays import run_plays

INVENTORY = """
[workers]
w1
w2 ansible_host=10.0.0.2 webapp_port=1
w3 supervisor_cpus=2
w4 supervisor_cpus=2
w5 supervisor_cpus=null
w6

[workers:vars]
supervisor_image="{{ no_such_variable }}"
"""


def test_one_host_stands_for_all_with_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text(INVENTORY)
    query = "query('selfhosted.trigger_dev.different_hosts', *groups.workers, roles=['supervisor'])"
    given = {"dest": str(tmp_path / "found.json"), "content": f"{{{{ {query} | to_json }}}}", "mode": "0600"}
    play = {
        "name": "Pick",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [{"name": "Pick", "ansible.builtin.copy": given}],
    }
    done = run_plays(tmp_path, [play], "-i", "hosts.ini")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "found.json").read_text()) == ["w1", "w3", "w5"]
