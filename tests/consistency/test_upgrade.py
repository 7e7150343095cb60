# SPDX-License-Identifier: MIT
"""When an upgrade makes a backup: always, unless it is the same one that goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.common import ROOT
from tests.plays import render_cases, run_plays, variable_files

OLD, NEW, LATER = "v4.2.0", "v4.5.12", "v4.8.9"
# Installed, wanted, state of the last upgrade from OLD to NEW -> whether a backup is made.
CASES: dict[str, tuple[str, str, str, bool]] = {
    "first": (OLD, NEW, "", True),
    "again-before-the-new-version-has-run": (OLD, NEW, "begun", True),
    "again": ("v4.5.11", NEW, "begun", False),
    "nothing-to-do": (NEW, NEW, "begun", False),
    "later-one": (NEW, LATER, "complete", True),
    "later-one-after-one-that-was-not-completed": (NEW, LATER, "begun", True),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return render_cases(
        tmp_path_factory.mktemp("upgrade"),
        *("trigger", "webapp", "upgrade"),
        host="control.example.com",
        wanted={"backs_up": "__upgrade_backs_up"},
        cases={
            name: {
                "trigger_origin": "http://localhost:8030",
                "trigger_version": wanted,
                "__webapp_installed_release": installed[1:],
                "__upgrade_record": {"from": OLD, "to": NEW, "state": state} if state else {},
            }
            for name, (installed, wanted, state, _made) in CASES.items()
        },
    )


@pytest.mark.parametrize("name", CASES)
def test_a_backup_is_made_unless_the_same_upgrade_goes_on(rendered: dict[str, dict[str, Any]], name: str) -> None:
    assert rendered[name]["backs_up"] is CASES[name][3]


CONTROL, WORKER = "control.example.com", "worker.example.com"
# Is it a control host, a worker; further settings; names of images that it needs, and of some that it does not.
IMAGES: dict[str, tuple[tuple[bool, bool], dict[str, Any], set[str], set[str]]] = {
    "control": ((True, False), {}, {"trigger.dev", "postgres", "redis"}, {"supervisor", "haproxy"}),
    "worker": ((False, True), {}, {"supervisor", "haproxy"}, {"trigger.dev", "postgres"}),
    "both": ((True, True), {}, {"trigger.dev", "postgres", "supervisor", "haproxy"}, set()),
    "external-postgres": (
        (True, False),
        {"webapp_postgres_url": "postgresql://me:a-password@db.example.com/main"},
        {"trigger.dev", "redis"},
        {"postgres", "supervisor"},
    ),
    "classic-proxy": (
        (False, True),
        {"supervisor_proxy_mode": "classic"},
        {"supervisor", "docker-socket-proxy"},
        {"haproxy"},
    ),
}


@pytest.fixture(scope="module")
def needed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Nothing is known yet of secrets and of the firewall of the workers."""
    return render_cases(
        tmp_path_factory.mktemp("images"),
        *("trigger", "webapp", "supervisor", "upgrade"),
        host=CONTROL,
        wanted={"images": "__upgrade_images", "directory": "__upgrade_project_directory"},
        cases={
            name: {
                "trigger_origin": "http://localhost:8030",
                "trigger_version": NEW,
                "__trigger_control_hosts": [CONTROL] if control else ["another.example.com"],
                "__trigger_worker_hosts": [CONTROL] if worker else [WORKER],
                **more,
            }
            for name, ((control, worker), more, _needed, _others) in IMAGES.items()
        },
    )


@pytest.mark.parametrize("name", IMAGES)
def test_each_host_pulls_what_runs_there(needed: dict[str, dict[str, Any]], name: str) -> None:
    (control, _worker), _more, wanted, others = IMAGES[name]
    found = {image.rpartition("/")[2].partition(":")[0]: image for image in needed[name]["images"]}
    assert wanted <= set(found)
    assert others & set(found) == set()
    for image in {"trigger.dev", "supervisor"} & wanted:
        assert found[image].endswith(f":{NEW}")
    assert needed[name]["directory"].endswith("/webapp" if control else "/supervisor")


def test_images_are_pulled_on_all_hosts_before_the_backup() -> None:
    """Nothing has changed when a host cannot get them, and then the run ends."""
    plays = yaml.safe_load((ROOT / "playbooks/upgrade.yml").read_text())
    names = [play["name"] for play in plays]
    first = names.index("Pull the images of the new version")
    assert names[first - 1 : first + 2] == ["Lock the installation", names[first], "Make the backup to go back to"]
    assert plays[first]["any_errors_fatal"] is True
    assert "serial" not in plays[first]
    assert plays[first]["hosts"] == "trigger_control:trigger_workers"
    # By one task for all hosts, so that none waits for another.
    check, task = yaml.safe_load((ROOT / "roles/upgrade/tasks/images.yml").read_text())
    assert "ansible.builtin.fail" in check
    # No rescue: any_errors_fatal would lead hosts into it that have got theirs.
    assert task["ansible.builtin.include_role"]["tasks_from"] == "pull"


def test_a_pull_that_fails_says_why_and_how_settings_of_the_engine_get_there(tmp_path: Path) -> None:
    _check, task = yaml.safe_load((ROOT / "roles/upgrade/tasks/images.yml").read_text())
    said = "Error response from daemon: proxyconnect tcp: connection refused."
    (tmp_path / "docker").write_text(f"#!/bin/sh\n[ $1 = image ] || echo '{said}' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    rows = yaml.safe_load((ROOT / "roles/compose_project/tasks/pull.yml").read_text())
    (pull,) = ({**row, "delay": 0} for row in rows if "until" in row)
    play = {
        "name": "Pull",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": variable_files("trigger", "upgrade"),
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [{**pull, "vars": {**pull["vars"], **task["vars"], "compose_project_images": ["a"]}}],
    }
    given = ["-i", "localhost,", "-e", "trigger_version=v4.5.12"]
    done = run_plays(tmp_path, [play], *given, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode != 0
    text = " ".join(done.stdout.split())
    assert f"cannot get the images of v4.5.12, and nothing has changed: {said} Correct that" in text
    assert "run the playbook site with the installed version first" in text
