# SPDX-License-Identifier: MIT
"""Bad input ends in one clear message, before anything changes: the table refusals.yml, tried with the real playbook.

The hosts only answer (connection/answering.py): nothing but the input decides, and a change would be noticed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from verification.deployment import Play

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONTROL = "control.example.com"
REFUSALS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "refusals.yml").read_text())
GOOD = {"trigger_origin": "http://localhost:8030", "trigger_api_origin": f"http://{CONTROL}:8030"}
CHANGE = "the answering host was to be changed"
KEYS = {"values", "control", "workers", "registry", "words", "unseen"}
PLAYBOOKS = ROOT / "playbooks"
CHECKS = 4
# Hosts that only answer, and output that can be read.
ANSIBLE = {
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection"),
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
}


def plays_of(path: Path) -> list[dict[str, Any]]:
    """Read a playbook with those that it imports."""
    found: list[dict[str, Any]] = []
    for row in yaml.safe_load(path.read_text()):
        imported = row.get("ansible.builtin.import_playbook")
        found += plays_of(path.parent / imported) if imported else [row]
    return found


SITE = plays_of(PLAYBOOKS / "site.yml")


def inventory(folder: Path, case: dict[str, Any]) -> Path:
    """Write the inventory of a row, with hosts that only answer."""
    groups = {
        "trigger_control": case.get("control", {CONTROL: {}}),
        "trigger_workers": case.get("workers", {CONTROL: {}}),
        "trigger_registry": case.get("registry", {}),
        "trigger_developers": case.get("developers", {}),
    }
    variables = {
        "ansible_connection": "answering",
        "ansible_python_interpreter": "/usr/bin/python3",
        **GOOD,
        **case.get("values", {}),
    }
    written = {"all": {"vars": variables, "children": {name: {"hosts": hosts} for name, hosts in groups.items()}}}
    (folder / "hosts.json").write_text(json.dumps(written))
    return folder


def run_playbook(folder: Path, playbook: str, options: list[str]) -> Play:
    """Run a playbook of the collection with the inventory in a folder."""
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


def play(plays: list[dict[str, Any]], cases: dict[str, dict[str, Any]], scratch: Path) -> dict[str, Play]:
    """Run these plays once for every row."""
    playbook = scratch / "playbook.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    folders = {name: scratch / name for name in cases}
    for name, folder in folders.items():
        folder.mkdir()
        inventory(folder, cases[name])
    subprocess.run(
        [sys.executable, HERE / "play_all.py", playbook, *folders.values()],
        cwd=ROOT,
        env=os.environ | ANSIBLE,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return {
        name: Play(int((folder / "code").read_text()), (folder / "output").read_text())
        for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Play]:
    """Every row that is asked for, with the plays that check: what they refuse, the plays behind them do not see."""
    chosen = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    rows = {name: case for name, case in REFUSALS.items() if name in chosen}
    return play(SITE[:CHECKS], rows, tmp_path_factory.mktemp("refusals"))


def test_good_input_reaches_the_first_change(tmp_path: Path) -> None:
    """Otherwise something else than the input is refused below; and a change would come behind the plays that check."""
    done = play(SITE[: CHECKS + 2], {"good": {}}, tmp_path)["good"]
    assert [row["name"].startswith("Check ") for row in SITE] == [True] * CHECKS + [False] * (len(SITE) - CHECKS)
    assert CHANGE in done.message, done.ending()
    lock, first = (done.output.find(f"PLAY [{SITE[CHECKS + number]['name']}]") for number in (0, 1))
    assert 0 < lock < first, done.ending()


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_is_refused(plays: dict[str, Play], name: str) -> None:
    case, done = REFUSALS[name], plays[name]
    assert set(case) <= KEYS
    assert done.code != 0, "the run went through"
    assert len(done.errors) == 1, done.ending()
    assert [word for word in case["words"] if word not in done.message] == [], done.ending()
    for text in (CHANGE, "censored", "Traceback", "Unexpected", "object has no attribute", "is undefined"):
        assert text not in done.output, done.ending()
    assert done.changes == []
    if "unseen" in case:
        assert case["unseen"] not in done.output


def test_the_table_is_as_long_as_promised() -> None:
    assert len(REFUSALS) >= 60
