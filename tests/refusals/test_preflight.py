# SPDX-License-Identifier: MIT
"""What is wrong with controller, inventory or limit ends every playbook with one message, before any host is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from verification.deployment import Play

from tests.refusals.test_refusals import CHANGE, CONTROL, GOOD, ROOT, inventory, run_playbook

FIRST = {"name": "Check the controller and the inventory", "ansible.builtin.import_playbook": "preflight.yml"}
HOSTS = {"ansible_connection": "answering", "ansible_python_interpreter": "/usr/bin/python3", **GOOD}
WORKER = "worker.example.com"


def groups(variables: dict[str, Any] | None = None, **hosts: str) -> dict[str, Any]:
    """Write an inventory of groups with one host each."""
    children: dict[str, Any] = {name: {"hosts": {host: {}}} for name, host in hosts.items()}
    return {"all": {"vars": HOSTS | (variables or {}), "children": children}}


HTTPS = {"trigger_origin": "https://trigger.acme.org", "trigger_api_origin": "https://trigger.acme.org"}
WHOLE: dict[str, Any] = {"trigger_control": CONTROL, "trigger_workers": WORKER}
SSH = {"trigger_control": "control.acme.org", "trigger_workers": "worker.acme.org"}
UNREADABLE: dict[str, Any] = {
    "trigger_origin": "{{ nowhere }}",
    "gateway_acme_email": "me@{{ nowhere }}",
    "webapp_admin_emails": "{{ nowhere }}",
}
# Playbook, inventory (none: the file does not exist), options, words of the message.
REFUSED: dict[str, tuple[str, dict[str, Any] | None, list[str], list[str]]] = {
    "no-inventory": ("site", None, [], ["The inventory holds no host", "hosts.json", "-i"]),
    "groups-without-prefix": (
        "status",
        groups(control=CONTROL, workers=WORKER),
        [],
        ["call it trigger_control", "call it trigger_workers"],
    ),
    "no-developers": ("registry_client", groups(**WHOLE), [], ["trigger_developers", "the inventory has none"]),
    "misspelt-developers": (
        "registry_client",
        groups(**WHOLE, trigger_developer="anna.example.com"),
        [],
        ["trigger_developer (call it trigger_developers)"],
    ),
    "registry-without-prefix": (
        "site",
        groups(**WHOLE, registry="registry.acme.org"),
        [],
        ["registry (call it trigger_registry)", "trigger_extra_names"],
    ),
    "group-that-is-ours": ("site", groups(**WHOLE, trigger_batches=WORKER), [], ["trigger_batches", "make themselves"]),
    # Over ssh the names of the example are looked for first.
    **{
        f"{name}-of-nothing": (
            "site",
            groups({"ansible_connection": "ssh", name: value}, **SSH),
            [],
            [f"{name} has a value that cannot be read", "nowhere"],
        )
        for name, value in UNREADABLE.items()
    },
    "limit-without-a-host-of-ours": (
        "site",
        groups(**WHOLE, web="web.example.com"),
        ["--limit", "web.example.com"],
        ["--limit leaves none"],
    ),
    "capital": ("site", groups({"Trigger_version": "v4.5.12"}, **WHOLE), [], ["Trigger_version", "trigger_version"]),
    # What settings need of each other, by the rules of each role.
    "rule-of-the-webapp": ("site", groups({"webapp_smtp_username": "me"}, **WHOLE), [], ["webapp_smtp_password"]),
    "rule-of-the-registry": ("status", groups({"registry_storage": "s3"}, **WHOLE), [], ["registry_s3_bucket"]),
    "rule-of-the-gateway": (
        "site",
        groups({**HTTPS, "gateway_https_port": 8443}, **WHOLE),
        [],
        ["trigger_origin leads to port 443", "gateway_https_port is 8443"],
    ),
    "rule-of-the-workers": (
        "login_link",
        groups({"supervisor_metrics_port": 8020, "supervisor_workload_api_port": 8020}, **WHOLE),
        ["-e", "login_link_email=me@example.org"],
        [WORKER, "must differ; both are 8020"],
    ),
    "names-of-the-example": (
        "site",
        groups({"ansible_connection": "ssh"}, **WHOLE),
        [],
        ["names of the example", CONTROL, WORKER],
    ),
    # Nothing has one of these tags: the run would do nothing, and end well.
    "tags": ("site", groups(**WHOLE), ["--tags", "webapp"], ["know no tags", "webapp", "--tags"]),
    "tags-that-are-left-out": ("status", groups(**WHOLE), ["--skip-tags", "untagged"], ["know no tags", "untagged"]),
    "core-too-old": (
        "site",
        groups({"__trigger_ansible_minimum": "99.1"}, **WHOLE),
        ["-e", "__trigger_ansible_minimum=99.1"],
        ["ansible-core", "99.1"],
    ),
    "collection-missing": (
        "status",
        groups(**WHOLE),
        ["-e", '{"__trigger_collections": {"community.dokcer": ">=1.0.0"}}'],
        ["community.dokcer is missing", "requirements.yml"],
    ),
}


def run(folder: Path, playbook: str, inventory: dict[str, Any] | None, options: list[str]) -> Play:
    """Run a playbook of the collection on hosts that only answer."""
    if inventory:
        (folder / "hosts.json").write_text(json.dumps(inventory))
    return run_playbook(folder, playbook, options)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_told_first(tmp_path: Path, name: str) -> None:
    playbook, inventory, options, words = REFUSED[name]
    done = run(tmp_path, playbook, inventory, options)
    assert done.code != 0, "the run went through"
    assert [word for word in words if word not in done.message] == [], done.ending()
    assert CHANGE not in done.output
    assert "UNREACHABLE" not in done.output
    assert done.output.count("PLAY [") == 1 + done.output.count("PLAY [Check that no host is left out]"), done.ending()


@pytest.mark.parametrize("options", [[], ["--limit", "all"]], ids=["whole", "limit"])
def test_hosts_that_have_no_part_are_left_out(tmp_path: Path, options: list[str]) -> None:
    """Unless --limit names them."""
    done = run(tmp_path, "preflight", groups(**WHOLE, web="web.example.com"), options)
    assert done.code == 0, done.ending()
    assert CONTROL in done.output
    assert ("web.example.com" in done.output) == bool(options), done.ending()


def test_a_tag_that_nothing_has_may_be_left_out(tmp_path: Path) -> None:
    """As Molecule does."""
    done = run(tmp_path, "preflight", groups(**WHOLE), ["--skip-tags", "molecule-notest,notest"])
    assert done.code == 0, done.ending()


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_every_playbook_begins_with_the_checks(path: Path) -> None:
    first, *others = yaml.safe_load(path.read_text())
    # A former name is one import of the present one, which is checked by itself.
    if path.stem == "adopt_settings":
        # It writes what the other checks ask for, such as trigger_origin.
        (controller, groups_of_hosts) = first["tasks"]
        assert controller["ansible.builtin.import_role"]["tasks_from"] == "controller"
        assert "trigger_control" in groups_of_hosts["ansible.builtin.assert"]["that"]
    elif path.stem != "preflight" and others:
        assert FIRST.items() <= first.items()


def test_the_example_has_the_names_that_are_looked_for() -> None:
    needs = yaml.safe_load((ROOT / "roles/trigger/vars/main/controller.yml").read_text())
    settings = yaml.safe_load((ROOT / "inventories/prod/group_vars/all.yml").read_text())
    assert [name for name, value in settings.items() if "example" in str(value)] == needs["__trigger_example_settings"]


def test_a_later_start_does_not_pass_the_confirmation(tmp_path: Path) -> None:
    """What comes before the task in the playbook is left out: checks, lock and the first look at the confirmation."""
    inventory(tmp_path, {})
    start = ["--start-at-task", "Remove the installation from this host"]
    done = run_playbook(tmp_path, "uninstall", [*start, "-e", '{"uninstall_data_enabled": true}'])
    assert done.code != 0
    assert [word for word in ("uninstall_confirm", "permanently removes") if word not in done.message] == [], (
        done.ending()
    )
    assert CHANGE not in done.output, done.ending()
