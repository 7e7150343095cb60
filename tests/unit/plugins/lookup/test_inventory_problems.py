# SPDX-License-Identifier: MIT
"""Values as real inventories give them: INI files, vaults, expressions, the command line."""

from __future__ import annotations

import json
import re
import sys

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.plays import run_plays

INVENTORY = """
[trigger_control]
control.example.com webapp_telemetry_enabled=false webapp_port=8031 webapp_cpus=2.5

[trigger_workers]
w1.example.com supervisor_debug_enabled=true supervisor_cpus=two trigger_version=v4.5.12
w2.example.com supervisor_debug_enabled=True supervisor_memory_mib=1024 trigger_stream_origin=http://a.acme.org
w3.example.com trigger_login_origin=http://b.acme.org

[developers]
anna.example.com trigger_api_origin=https://c.acme.org

[all:vars]
trigger_registry_insecure_enabled=false
trigger_origin=http://a.acme.org
"""
VARIABLES = """
---
# Only a default of a role and a variable of a role know these.
webapp_image: "{{ trigger_ghcr_mirror }}/me/webapp:1"
trigger_secrets_file: "{{ __trigger_token_directory }}/secrets.json"
supervisor_image: "{{ nothing_of_that_name }}/x:1"
webapp_smtp_password: !vault |
VAULTED
registry_users: ["{{ lookup('ansible.builtin.file', '/nowhere/password') }}"]
trigger_secrets:
  redis_password: a password of redis
  clickhouse_password: "{{ password_that_nobody_sets }}"
docker_engine_log_options: {tag: "{{.Name}}"}
runner_firewall_deny: "{{ ['10.0.0.1'] }}"
runner_firewall_allow: "{{ '10.0.0.1' }}"
gateway_private_clients: "{{ (groups.trigger_workers | length) * ['10.0.0.0/8'] }}"
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is wrong, sentence by sentence."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "hosts.ini").write_text(INVENTORY)
    (folder / "vault").write_text("vault password")
    vaulted = encrypted("hunter2-hunter2", "vault password")
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").write_text(VARIABLES.replace("VAULTED", vaulted).lstrip())
    hosts = "*groups.all, installation=groups.trigger_control + groups.trigger_workers"
    query = f"query('selfhosted.trigger_dev.inventory_problems', {hosts})"
    task = {
        "name": "Check",
        "ansible.builtin.copy": {
            "dest": str(folder / "found.json"),
            "content": f"{{{{ {query} | to_json }}}}",
            "mode": "0600",
        },
    }
    play = {
        "name": "Check",
        "hosts": "trigger_control",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [task],
    }
    done = run_plays(
        folder,
        [play],
        "-i",
        "hosts.ini",
        "-e",
        "supervisor_drain_timeout_seconds=60 supervisor_drain_stop_enabled=true",
        "--vault-password-file",
        "vault",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sentences: list[str] = json.loads((folder / "found.json").read_text())
    return sentences


def encrypted(text: str, password: str) -> str:
    """Encrypt a value as ansible-vault does, indented for YAML."""
    vault = VaultLib([("default", VaultSecret(password.encode()))])
    return "\n".join(f"  {line}" for line in vault.encrypt(text).decode().splitlines())


def test_every_wrong_value_is_found_and_no_other(found: list[str]) -> None:
    names = sorted({match[1] for text in found if (match := re.search(r"(?:^|: )(\w+) (?:must|has)", text))})
    assert [text for text in found if "docker_engine_log_options.tag has a value" in text] != []
    assert names == [
        "registry_users",
        "runner_firewall_allow",
        "supervisor_cpus",
        "supervisor_debug_enabled",
        "supervisor_drain_stop_enabled",
        "supervisor_image",
        "trigger_registry_insecure_enabled",
        "webapp_telemetry_enabled",
    ], found


@pytest.mark.parametrize(
    "words",
    [
        # What an INI file and the command line make of a switch: a text, except for Python's own True and False.
        [
            "control.example.com: webapp_telemetry_enabled must be true or false",
            "'false'",
            "-e '{\"webapp_telemetry_enabled\": false}'",
        ],
        ["w1.example.com: supervisor_debug_enabled must be true or false", "'true'"],
        ["supervisor_drain_stop_enabled must be true or false", "'true'"],
        ["trigger_registry_insecure_enabled must be true or false", "'false'"],
        ["w1.example.com: supervisor_cpus must be a number, and is the text 'two'"],
        ["runner_firewall_allow must be a list, and is the text '10.0.0.1'"],
        ["supervisor_image has a value that cannot be read", "nothing_of_that_name"],
        ["registry_users has a value that cannot be read"],
        [
            "trigger_secrets.clickhouse_password has a value that cannot be read: it names the variable"
            " password_that_nobody_sets, which is not set. Correct it",
        ],
        ["docker_engine_log_options.tag has a value that cannot be read", "write !unsafe before the value"],
    ],
)
def test_a_sentence_names_host_setting_and_value(found: list[str], words: list[str]) -> None:
    assert [text for text in found if all(word in text for word in words)], found


def test_settings_of_the_installation_are_compared(found: list[str]) -> None:
    """Not those of developers; and what equals the default of a role, which others have, is no difference."""
    assert sorted(text for text in found if " differs: " in text) == [
        "trigger_login_origin differs: http://b.acme.org (w3.example.com), not set (control.example.com,"
        " w1.example.com, w2.example.com). The installation has one: set it for the group all.",
        "trigger_version differs: v4.5.12 (w1.example.com), not set (control.example.com, w2.example.com,"
        " w3.example.com). The installation has one: set it for the group all.",
    ]


def test_no_secret_is_shown(found: list[str]) -> None:
    assert "hunter2" not in " ".join(found)
    assert "/nowhere/password" not in " ".join(found)
