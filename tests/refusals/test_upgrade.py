# SPDX-License-Identifier: MIT
"""What an upgrade and its way back refuse, before anything changes, and what they begin with otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.callback.rollback import VERSION_FACT
from verification.deployment import Play

from tests.refusals.test_refusals import ANSIBLE, CHANGE, CONTROL, ROOT, inventory, run_playbook

OLD, NEW = "v4.2.0", "v4.5.12"
IMAGE = "ghcr.io/triggerdotdev/trigger.dev"
# Of an hour ago, and of two days ago.
RECENT, FORMER = (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time.time() - hours * 3600)) for hours in (1, 48))
RECORD = {"from": OLD, "to": NEW, "snapshot": "0123abcd", "time": RECENT, "state": "begun"}
DISCARD = "upgrade_rollback_discard_enabled"
ROLLBACK = "upgrade_rollback_enabled"


def record(**values: str) -> dict[str, Any]:
    return {"upgrade": json.dumps(RECORD | values)}


LATER = "v4.8.9"
# What people have to know, and the releases from and to which an upgrade tells it.
NOTES = {
    "Tasks of the old SDK (v3) no longer run": {(OLD, NEW)},
    "No test of this collection has deployed this series": {(NEW, LATER)},
    "deleted after about 37 days": {(NEW, LATER), ("v4.8.8", LATER)},
    'The event store "clickhouse" is gone': {(NEW, LATER)},
}
# Playbook, what the host has, options, words of the message.
CASES: dict[str, tuple[str, dict[str, Any], list[str], list[str]]] = {
    "nothing-to-upgrade": ("upgrade", {}, ["-e", f"trigger_version={NEW}"], ["nothing to upgrade", "playbook site"]),
    "upgrade-to-an-older-version": (
        "upgrade",
        {"installed": f"{IMAGE}:{NEW}"},
        ["-e", f"trigger_version={OLD}"],
        [NEW, OLD, "down migrations"],
    ),
    "upgrade-to-a-floating-tag": (
        "upgrade",
        {"installed": f"{IMAGE}:{OLD}"},
        ["-e", '{"trigger_version": "latest", "trigger_floating_tags_enabled": true}'],
        ["trigger_version is latest", "needs a release"],
    ),
    "upgrade": ("upgrade", {"installed": f"{IMAGE}:{OLD}"}, ["-e", f"trigger_version={NEW}"], [CHANGE]),
    "patch-release": ("upgrade", {"installed": f"{IMAGE}:v4.5.6"}, ["-e", f"trigger_version={NEW}"], [CHANGE]),
    "later-series": (
        "upgrade",
        {"installed": f"{IMAGE}:{NEW}"},
        ["-e", f"trigger_version={LATER}"],
        [CHANGE],
    ),
    "later-release": (
        "upgrade",
        {"installed": f"{IMAGE}:v4.8.8"},
        ["-e", f"trigger_version={LATER}"],
        [CHANGE],
    ),
    "backup-without-postgres": (
        "upgrade",
        {"installed": f"{IMAGE}:{OLD}"},
        ["-e", json.dumps({"trigger_version": NEW, "backup_include": ["redis"]})],
        ["backup_include", "upgrade_backup_enabled to false"],
    ),
    "backup-without-clickhouse": (
        "upgrade",
        {"installed": f"{IMAGE}:{OLD}"},
        ["-e", json.dumps({"trigger_version": NEW, "backup_include": ["postgres", "redis"]})],
        ["Postgres and ClickHouse", "webapp_clickhouse_url", "upgrade_backup_enabled to false"],
    ),
    "no-backup-is-wanted": (
        "upgrade",
        {"installed": f"{IMAGE}:{OLD}"},
        [
            "-e",
            json.dumps({"backup_include": ["redis"], "upgrade_backup_enabled": False}),
            "-e",
            f"trigger_version={NEW}",
        ],
        [CHANGE],
    ),
    "rollback-without-a-backup": (
        "upgrade",
        {"installed": f"{IMAGE}:{OLD}"},
        ["-e", json.dumps({"trigger_version": NEW, ROLLBACK: True, "upgrade_backup_enabled": False})],
        [f"{ROLLBACK} is true", "upgrade_backup_enabled is false"],
    ),
    # The next upgrade has a backup of its own.
    "after-one-that-was-not-completed": (
        "upgrade",
        {"installed": f"{IMAGE}:{NEW}", **record()},
        ["-e", f"trigger_version={LATER}"],
        [CHANGE],
    ),
    "no-way-back": ("rollback", {}, [], ["no upgrade that could be undone", "backup_restore"]),
    "complete": ("rollback", record(state="complete"), [], [RECORD["time"], DISCARD]),
    "complete-and-discarded": ("rollback", record(state="complete"), ["-e", json.dumps({DISCARD: True})], [CHANGE]),
    "begun": ("rollback", record(), [], [CHANGE]),
    "begun-long-ago": ("rollback", record(time=FORMER), [], ["began more than a day ago", FORMER, DISCARD]),
    "begun-long-ago-and-discarded": (
        "rollback",
        record(time=FORMER),
        ["-e", json.dumps({DISCARD: True})],
        [CHANGE],
    ),
    "settings-that-the-old-version-does-not-have": (
        "rollback",
        record(),
        [],
        ["webapp_events_retention_days", OLD],
    ),
    "version-on-the-command-line": (
        "rollback",
        record(),
        ["-e", f"trigger_version={NEW}"],
        ["command line", f"goes back to {OLD}"],
    ),
    # Another backup would be restored with the version of this one.
    **{
        f"{name}-on-the-command-line": (
            "rollback",
            record(),
            ["-e", json.dumps({name: value})],
            ["command line", name, RECORD["snapshot"]],
        )
        for name, value in {
            "backup_restore_snapshot": "0123456789abcdef",
            "backup_restore_time": "2026-01-31T12:00:00Z",
            "backup_restore_replace_enabled": False,
        }.items()
    },
    "backup-of-the-inventory": ("rollback", record(), [], [CHANGE]),
}


# Further variables of an inventory.
VALUES: dict[str, dict[str, Any]] = {
    "settings-that-the-old-version-does-not-have": {"trigger_version": LATER, "webapp_events_retention_days": 90},
    "backup-of-the-inventory": {"backup_restore_time": "2026-01-31T12:00:00Z", "backup_restore_replace_enabled": False},
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_reaches_the_first_change(name: str, tmp_path: Path) -> None:
    playbook, answers, options, words = CASES[name]
    inventory(tmp_path, {"values": {"answering_otherwise": answers, **VALUES.get(name, {})}})
    done = run_playbook(tmp_path, playbook, options)
    assert done.code != 0
    assert len(done.errors) == 1, done.ending()
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert done.changes == []
    assert (CHANGE in done.output) == (CHANGE in words)
    if CHANGE in words and playbook == "upgrade":
        release = str(answers["installed"]).rpartition(":")[2]
        wanted = options[-1].rpartition("=")[2]
        assert f"Trigger.dev {release} -> {wanted}" in done.text
        assert (f"The upgrade to {NEW} was not completed" in done.text) == ("upgrade" in answers)
        assert f"trigger.dev@{wanted.removeprefix('v')}" in done.text
        for note, steps in NOTES.items():
            assert (note in done.text) == ((release, wanted) in steps), note


PULL, BACKUP = "Pull the images that are still missing", "Install the backup program"
WORKER = "worker.example.com"


@pytest.mark.parametrize("lacking", [WORKER, CONTROL, "none"])
def test_the_backup_waits_for_the_images_of_all_hosts(lacking: str, tmp_path: Path) -> None:
    """A host that does not get them is told, and nothing has changed on any."""
    answers = {
        host: {"answering_otherwise": {"installed": f"{IMAGE}:{OLD}", **({} if host == lacking else {"pulled": "new"})}}
        for host in (CONTROL, WORKER)
    }
    inventory(tmp_path, {"control": {CONTROL: answers[CONTROL]}, "workers": {WORKER: answers[WORKER]}})
    done = run_playbook(tmp_path, "upgrade", ["-e", f"trigger_version={NEW}"])
    assert done.code != 0
    assert {change.partition(":")[0] for change in done.changes if change.endswith(PULL)} == {CONTROL, WORKER} - {
        lacking
    }
    assert (BACKUP in done.output) == (lacking == "none"), done.ending()
    assert CHANGE in done.message
    assert f"[{lacking}]" in done.output or lacking == "none"


def test_a_worker_out_of_reach_ends_it_before_the_backup(tmp_path: Path) -> None:
    """Without it, the worker would keep the old version, and a rollback by itself would undo the upgrade."""
    answers = {"answering_otherwise": {"installed": f"{IMAGE}:{OLD}", "pulled": "new"}}
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory(tmp_path, {"control": {CONTROL: answers}, "workers": {CONTROL: answers, WORKER: away}})
    done = run_playbook(tmp_path, "upgrade", ["-e", f"trigger_version={NEW}"])
    assert done.code != 0
    assert done.changes == []
    assert PULL not in done.output
    assert f"{WORKER} could not be checked" in done.text


# What a playbook says of itself first, in an upgrade and in a rollback.
CHECKED, BEGUN = "Check that a rollback is possible", "The upgrade has failed. The playbook rollback begins"
ANSWERS = {"installed": f"{IMAGE}:{NEW}", "pulled": "new", **record()}


def run_ansible(folder: Path, answers: dict[str, Any], playbook: str, enabled: bool, **environment: str) -> Play:
    """Run it as users do: what the callback starts has the arguments of the process."""
    inventory(folder, {"values": {"answering_otherwise": answers}})
    program = Path(sys.executable).with_name("ansible-playbook")
    values = json.dumps({"trigger_version": NEW, ROLLBACK: enabled})
    done = subprocess.run(
        [program, "-i", folder / "hosts.json", playbook, "-e", values],
        cwd=ROOT,
        env=os.environ | ANSIBLE | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Play(done.returncode, done.stdout)


def test_a_rollback_begins_after_what_an_upgrade_does_at_last(tmp_path: Path) -> None:
    """With the arguments of the run that failed; it ends at its first change."""
    (store,) = (
        task
        for task in yaml.safe_load((ROOT / "roles/upgrade/tasks/backup.yml").read_text())
        if "ansible.builtin.set_fact" in task
    )
    assert list(store["ansible.builtin.set_fact"]) == [VERSION_FACT]
    tasks = [{"ansible.builtin.set_fact": {VERSION_FACT: OLD}}, {"ansible.builtin.fail": {"msg": "broken"}}]
    playbook = tmp_path / "failing.yml"
    playbook.write_text(json.dumps([{"hosts": "trigger_control", "gather_facts": False, "tasks": tasks}]))
    done = run_ansible(tmp_path, ANSWERS, str(playbook), enabled=True)
    assert done.code != 0
    assert f"{BEGUN}, and brings back {OLD}" in done.text
    assert CHECKED in done.output
    assert CHANGE in done.output
    assert "start the playbook rollback yourself" in done.text


def test_an_upgrade_that_goes_on_is_not_undone_by_itself(tmp_path: Path) -> None:
    """People may have worked with the new version since the failure before it."""
    inventory(tmp_path, {"values": {"answering_otherwise": ANSWERS}})
    done = run_playbook(tmp_path, "upgrade", ["-e", json.dumps({"trigger_version": NEW, ROLLBACK: True})])
    assert CHANGE in done.message
    assert BEGUN not in done.text
    assert "AT FAILURE: Correct the cause" in done.text


def test_a_rollback_by_itself_needs_its_callback(tmp_path: Path) -> None:
    callbacks = {"ANSIBLE_CALLBACKS_ENABLED": "selfhosted.trigger_dev.summary"}
    answers = {"installed": f"{IMAGE}:{OLD}"}
    done = run_ansible(tmp_path, answers, "selfhosted.trigger_dev.upgrade", enabled=True, **callbacks)
    assert len(done.errors) == 1, done.ending()
    assert done.changes == []
    assert "selfhosted.trigger_dev.rollback is not switched on" in done.message
    assert "callbacks_enabled" in done.message
