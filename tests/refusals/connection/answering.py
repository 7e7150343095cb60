# SPDX-License-Identifier: MIT
"""Connection answering: a host that answers the questions of the checks as a good one does, and refuses any change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: answering
short_description: A host that only answers
description: Runs nothing. It knows what the modules ask that the checks use, and fails any other.
author: The selfhosted.trigger_dev maintainers
options:
  answers:
    description: What it says otherwise than a good host, by keys of its measures, C(docker info), listeners, installed,
      private_ca, restore, upgrade, adoption, stack, pulled, text, secrets; commands by
      words in them; of any other module that only reads by its name; C(unreachable) for a host that is not there.
    type: dict
    default: {}
    vars:
      - name: answering_otherwise
"""

DISTRIBUTION = {"distribution": "Debian", "distribution_major_version": "13", "os_family": "Debian"}
ENGINE = {
    "NCPU": 8,
    "MemTotal": 32 * 2**30,
    "ServerVersion": "26.1.5",
    "DockerRootDir": "/var/lib/docker",
    "Swarm": {"LocalNodeState": "inactive"},
    "ClientInfo": {"Plugins": [{"Name": "compose", "Version": "2.26.1"}]},
}
HOST = {
    "architecture": "amd64",
    "cpus": 8,
    "apparmor": False,
    "machine": "",
    "memory_mib": 32768,
    "disks": [{"path": "/opt/trigger", "free_mib": 99999}, {"path": "/var/lib/docker", "free_mib": 99999}],
    "addresses": {},
    "sources": {"public": "192.0.2.17", "private": "192.0.2.17"},
    "clock": {"asked_at": 0, "began_at": 0, "ended_at": 0},
}
RECORDS = ("restore", "postgres_upgrade", "object_store_moved", "adopt")
NO_STACK: dict[str, Any] = {"projects": [], "containers": [], "variables": {}, "postgres": {}, "runs": []}


def look(otherwise: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what engine and folders of the host have. A line of listeners is a port and who has it.

    Entries are further paths that it finds.
    """
    listeners = [line.split() for line in otherwise.get("listeners", "").splitlines()]
    begun = "restore" in otherwise or "adoption" in otherwise
    return {
        "engine": {key: otherwise.get(key, value) for key, value in ENGINE.items()},
        "missing_images": [],
        "networks": {},
        "listening": [int(port) for port, _ in listeners],
        "own_addresses": ["127.0.0.1", "192.0.2.17", "10.0.0.1", "10.0.0.10"],
        "published": [{"port": int(port), "project": owner} for port, owner in listeners if owner != "another-program"],
        "found": [f"/opt/trigger/backup/{record}.json" for record in RECORDS if begun] + otherwise.get("entries", []),
    }


def answer(module: str, asked: str, otherwise: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answer what a module asks; None: this is no question."""
    if module == "ansible.modules.command":
        answers = {
            ".Config.Image": otherwise.get("installed", ""),
            "authority/root.crt": otherwise.get("private_ca", ""),
            "restore.json": otherwise.get("restore", ""),
            "upgrade.json": otherwise.get("upgrade", ""),
            "adopt.json": otherwise.get("adoption", ""),
        }
        answers |= otherwise.get("commands", {})
        if "pulled" in otherwise:
            answers["docker pull"] = otherwise["pulled"]
        known = [text for words, text in answers.items() if words in asked]
        return {"rc": 0, "stdout": known[0], "stderr": ""} if known else None
    if module == "ansible.modules.setup":
        return {"ansible_facts": {f"ansible_{key}": value for key, value in DISTRIBUTION.items()}}
    if module.endswith(".host_info"):
        return {"host": {key: otherwise.get(key, value) for key, value in (HOST | look(otherwise)).items()}}
    if module.endswith(".compose_stack_info"):
        return {"compose_stack": otherwise.get("stack", NO_STACK)}
    if module.endswith(".secret_file") and '"_ansible_check_mode": true' in asked:
        return {"secret_file": {"secrets": {}}}
    if module == "ansible.modules.ping":
        return {"ping": "pong"}
    if module.endswith(".host_diagnosis_info"):
        # What it is given comes back.
        given = json.loads(asked.encode().decode("unicode_escape"))["ANSIBLE_MODULE_ARGS"]
        text = otherwise.get("text", "the text of this host")
        return {"host_diagnosis": text, "checks": given["checks"], "secrets": otherwise.get("secrets", [])}
    if module.rpartition(".")[2] in otherwise:
        return dict(otherwise[module.rpartition(".")[2]])
    if module.endswith("_info"):
        # Nothing of what they look for is there yet.
        return {module.rpartition(".")[2].removesuffix("_info"): None}
    return None


class Connection(ConnectionBase):  # type: ignore[misc]
    """Stands in for the way to a host."""

    transport = "answering"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        if self.get_option("answers").get("unreachable"):
            raise AnsibleConnectionFailure("ssh: no route to host")
        if "/run/trigger-run.lock" in cmd:
            return 0, b"taken\n", b""
        # With pipelining a module comes as a program on standard input, with its name and arguments in the clear.
        program = (in_data or b"").decode()
        module = re.search(r"module_fqn='([\w.]+)'", program)
        asked = re.search(r"params='(.*)'", program)
        if not module or not asked:
            raise AnsibleError(f"the answering host was to run {cmd}")
        answered = answer(module[1], asked[1], self.get_option("answers"))
        if answered is None:
            answered = {"failed": True, "msg": f"the answering host was to be changed by {module[1]}"}
        return 0, json.dumps({"changed": False, **answered}).encode(), b""

    def put_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleError(f"the answering host was to get the file {out_path}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleError(f"the answering host was to give the file {in_path}")

    def close(self) -> None:
        self._connected = False
