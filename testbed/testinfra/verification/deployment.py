# SPDX-License-Identifier: MIT
"""The deployment as a whole: its hosts, its secrets, its database, and the playbook that made it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed import preloaded
from testbed.common import ROOT, USUAL_OUTPUT

from . import expected
from .nodes import Node
from .secrets import Secrets

PLAYBOOK = "selfhosted.trigger_dev.site"
# Role -> the group that it is for.
ROLES = {"webapp": expected.CONTROL_GROUP, "supervisor": expected.WORKERS_GROUP}
POSTGRES = "trigger-webapp-trigger-postgres-1"

_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)

# What a failed run must leave as it was: files with their contents and times, and which containers run since when.
# Left out is what changes by itself: users' runs, also between a listing and a look at what it listed, and what
# timers keep in mind.
_STATE = """
import hashlib, json, os, subprocess, sys
state = {}
for folder in sys.argv[1:]:
    for where, folders, names in os.walk(folder):
        for name in set(names) - {'task_images.json'}:
            path = os.path.join(where, name)
            try:
                found = os.lstat(path)
                text = open(path, 'rb').read() if os.path.isfile(path) else b''
            except FileNotFoundError:
                continue
            digest = hashlib.sha256(text).hexdigest()
            state[path] = str([found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, digest])
template = '{{.Name}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}}'
listing = subprocess.run(
    ['sh', '-c', "docker ps --all --format '{{.ID}} {{.Names}}' | grep -v ' runner-' | cut -d' ' -f1"
     ' | xargs -r docker inspect --format "$1"', 'sh', template],
    check=True, capture_output=True, text=True)
state.update(line.split(' ', 1) for line in listing.stdout.splitlines())
print(json.dumps(state))
"""


# Host -> file or container -> everything that a change of it would change.
State = dict[str, dict[str, str]]


def differences(before: State, after: State) -> list[str]:
    """Name the files and containers that are not as they were."""
    hosts = sorted(set(before) | set(after))
    return [
        f"{host}: {name}"
        for host in hosts
        for name in sorted(set(before.get(host, {})) | set(after.get(host, {})))
        if before.get(host, {}).get(name) != after.get(host, {}).get(name)
    ]


@dataclass(frozen=True)
class Play:
    """One run of the playbook."""

    code: int
    output: str = field(repr=False)

    @property
    def text(self) -> str:
        """The output with every white space a single blank: YAML output folds long messages."""
        return " ".join(self.output.split())

    @property
    def changed(self) -> dict[str, int]:
        """Host -> number of tasks that changed something."""
        return {name: int(changed) for name, _, changed, _, _ in _RECAP.findall(self.output)}

    @property
    def changes(self) -> list[str]:
        """Every task that changed something, with its host."""
        found, task = [], ""
        for line in self.output.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line):
                task = match[1]
            elif match := re.match(r"changed: \[(\S+?)(?: -> \S+)?\]", line):
                found.append(f"{match[1]}: {task}")
        return found

    @property
    def failed(self) -> dict[str, int]:
        """Host -> number of tasks that failed, or that did not reach it."""
        return {name: int(unreachable) + int(failed) for name, _, _, unreachable, failed in _RECAP.findall(self.output)}

    @property
    def errors(self) -> list[str]:
        """Hosts for which an error was printed, once for each."""
        return re.findall(r"^fatal: \[([^\]]+)\]", self.output, re.MULTILINE)

    @property
    def message(self) -> str:
        """What the user reads last: the last error before the recap, with every white space a single blank."""
        return " ".join(self.output.partition("PLAY RECAP")[0].rpartition("fatal: [")[2].split())

    def went_through(self, deployment: Deployment) -> None:
        """See that the run reached its end on every host that has a part in it."""
        assert self.code == 0, self.ending()
        # The checks on the controller name machines of developers, too.
        parts = {node.name for node in deployment.nodes if node.groups}
        assert parts <= set(self.changed) <= {node.name for node in deployment.nodes}
        assert {name for name, changed in self.changed.items() if changed} <= parts
        assert set(self.failed.values()) == {0}

    def ending(self) -> str:
        """The last lines, for the message of a failing test."""
        return self.output[-3000:]


@dataclass(frozen=True)
class Deployment:
    """The hosts of a scenario."""

    nodes: tuple[Node, ...]
    inventory: str
    # The one public address.
    origin: str
    # Where workers and their tasks call over plain http, if not there.
    private_address: str = ""

    @property
    def gateway(self) -> bool:
        """Tell whether everything is behind a gateway with TLS."""
        return self.origin.startswith("https://")

    @property
    def control(self) -> Node:
        """The control host."""
        (node,) = (node for node in self.nodes if expected.CONTROL_GROUP in node.groups)
        return node

    @property
    def workers(self) -> list[Node]:
        """The worker hosts."""
        return [node for node in self.nodes if expected.WORKERS_GROUP in node.groups]

    @property
    def registry(self) -> str:
        """The registry as it stands in image references."""
        return f"registry.{self.origin.partition('//')[2]}" if self.gateway else f"{self.control.name}:5000"

    @property
    def registry_origin(self) -> str:
        """The registry as it is called."""
        return f"{'https' if self.gateway else 'http'}://{self.registry}"

    def secrets(self) -> Secrets:
        """Read everything that must not be seen anywhere."""
        values: dict[str, str] = json.loads(self.control.read(expected.SECRETS_FILE))
        return Secrets(values).and_also(worker_token=self.control.read(expected.TOKEN_FILE))

    def sql(self, query: str) -> list[list[str]]:
        """Ask the webapp's database over the local socket of its container, which needs no password."""
        psql = "docker exec -u postgres %s psql -d main -v ON_ERROR_STOP=1 -AtF '|' -c %s"
        return [line.split("|") for line in self.control.output(psql, POSTGRES, query).splitlines()]

    def state(self) -> State:
        """What a run that must change nothing leaves as it is, host by host."""
        return {node.name: node.python(_STATE, expected.DIRECTORY, "/etc/docker", "/etc/apt") for node in self.nodes}

    def play(
        self,
        *options: str,
        values: dict[str, Any] | None = None,
        inventory: str = "",
        scratch: Path | None = None,
        playbook: str = PLAYBOOK,
        role: str = "",
        killed_after: float | None = None,
    ) -> Play:
        """Run a playbook that users run, or one role; values go through a file, not a command line.

        `killed_after`: it is killed with all of its processes so many seconds later, unless it has ended.
        """
        if role:
            assert scratch is not None
            row = {"name": f"Run {role}", "hosts": ROLES[role], "become": True, "gather_facts": False}
            playbook = str(scratch / "play.json")
            Path(playbook).write_text(json.dumps([row | {"roles": [f"selfhosted.trigger_dev.{role}"]}]))
        usual = [str(Path(sys.executable).parent / "ansible-playbook")]
        command = [sys.executable, "-m", preloaded.__name__] if preloaded.SHORTCUTS else usual
        command += ["-i", inventory or self.inventory, *options]
        if values is not None:
            assert scratch is not None
            file = scratch / "values.json"
            file.touch(mode=0o600)
            file.write_text(json.dumps(values))
            command += ["-e", f"@{file}"]
        environment = os.environ | {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "PYTHONPATH": str(ROOT),
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_VERBOSITY": "0",
            "ANSIBLE_NO_LOG": "false",
            **USUAL_OUTPUT,
            # As ansible.cfg of a checkout has it; Molecule brings another one.
            "ANSIBLE_CALLBACKS_ENABLED": "selfhosted.trigger_dev.summary,selfhosted.trigger_dev.rollback",
        }
        process = subprocess.Popen(
            [*command, playbook],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            # Ends what hangs; other scenarios may run beside this one.
            output, _ = process.communicate(timeout=killed_after or 2400)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            if killed_after is None:
                raise
        return Play(process.returncode, output)
