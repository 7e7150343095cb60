# SPDX-License-Identifier: MIT
"""Plays that tests run with the collection of this checkout, and what variables of roles come to in them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed import preloaded
from testbed.common import ROOT

USUAL = [str(Path(sys.executable).with_name("ansible-playbook"))]
SHORT = [sys.executable, "-c", "import sys; from testbed import preloaded; preloaded.play_computed(sys.argv[1:])"]
# How a value is printed.
PRINTED = re.compile(r'^    "msg": ("rendered .*")$', re.MULTILINE)


def run_plays(
    folder: Path, plays: list[dict[str, Any]], *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run plays from a folder of their own; any exit code is an answer."""
    (folder / "play.json").write_text(json.dumps(plays))
    return subprocess.run(
        [*(SHORT if preloaded.SHORTCUTS else USUAL), *options, "play.json"],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            **environment,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def variable_files(*roles: str) -> list[str]:
    """Give the files of variables of some roles, in the order in which Ansible reads them."""
    return [
        str(path)
        for role in roles
        for path in [ROOT / f"roles/{role}/defaults/main.yml", *sorted((ROOT / f"roles/{role}/vars").rglob("*.yml"))]
    ]


def template(path: str) -> str:
    """Give the expression for a file of a role's templates, which are found by name in the role alone."""
    return f"{{{{ lookup('ansible.builtin.template', '{ROOT / 'roles' / path}') }}}}"


def render_cases(
    folder: Path,
    *roles: str,
    host: str,
    workers: Sequence[str] = (),
    wanted: Mapping[str, str],
    cases: Mapping[str, Mapping[str, Any]],
    files: Sequence[Path] = (),
) -> dict[str, dict[str, Any]]:
    """Give what expressions come to on a host in each case: case -> name in `wanted` -> value.

    The host is the control host, and the only worker unless others are named.
    Further files of variables are read after those of the roles.
    The settings of a case are variables of its task: those of an inventory would lose against the files of the roles.
    """
    values = f"dict({', '.join(f'{name}={expression}' for name, expression in wanted.items())})"
    play = {
        "name": "Render every case",
        "hosts": host,
        "connection": "local",
        "gather_facts": False,
        "vars_files": [*variable_files(*roles), *map(str, files)],
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [
            {
                "name": f"Render {name}",
                # Printed, because a module that writes them takes six times as long as the values (measured).
                "ansible.builtin.debug": {"msg": f"{{{{ 'rendered ' ~ {values} | to_json }}}}"},
                "vars": settings,
            }
            for name, settings in cases.items()
        ],
    }
    (folder / "hosts.json").write_text(
        json.dumps(
            {
                "trigger_control": {"hosts": {host: {}}},
                "trigger_workers": {"hosts": {name: {} for name in workers or [host]}},
            }
        )
    )
    environment = {
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    done = run_plays(folder, [play], "-i", "hosts.json", **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    printed = [json.loads(text).removeprefix("rendered ") for text in PRINTED.findall(done.stdout)]
    return {name: json.loads(text) for name, text in zip(cases, printed, strict=True)}
