# SPDX-License-Identifier: MIT
"""A certificate is renewed while everything that a deployment keeps open is open, and none of it notices."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from verification.deployment import Deployment
from verification.nodes import Node, eventually
from verification.secrets import Secrets
from wire import GATEWAY, certificate, hold

from testbed.developer import Developer

SUPERVISOR = "trigger-supervisor-supervisor-1"
# Another CA of the same root: Caddy has to make every certificate anew, and nobody has to trust anybody new.
# The address of the host's own calls comes from the environment of the program that reads the configuration.
RENEW = """
set -eu
cd /etc/caddy
HOST_ADDRESS=$(ip route | awk '$1 == "default" {print $3}')
export HOST_ADDRESS
sed -e 's/\\bca trigger\\b/ca renewed/' -e 's,import \\([a-z-]*[./]\\),import /etc/caddy/\\1,' Caddyfile > /tmp/renewed
grep -q 'ca renewed' /tmp/renewed
caddy reload --config /tmp/renewed --adapter caddyfile
"""
# Back, by the role's own program: it has to be told that something else is in use.
RELOAD = ": > /tmp/in-use; sh /etc/caddy/gateway.sh reload"
IN_USE = "wget -q -O - http://127.0.0.1:2019/config/"
IMAGE = """
set -eu
folder=$(mktemp -d /var/tmp/large.XXXXXX)
trap 'rm -rf "$folder"' EXIT
head -c 300M /dev/urandom > "$folder/large"
printf 'FROM hello:plain\\nCOPY large /large\\n' > "$folder/Dockerfile"
docker build --quiet --tag "$1" "$folder"
"""


@dataclass(frozen=True)
class Renewal:
    """What was seen before, during and after."""

    before: dict[str, str]
    after: dict[str, str]
    held: dict[str, Any]
    pushing: bool
    pushed: subprocess.CompletedProcess[str]
    digests: tuple[str, str]
    # What the gateway uses before and after all this.
    used: tuple[str, str]
    supervisors: dict[str, str]
    # When the gateway was told to take another configuration, and when it had done so.
    reloads: tuple[tuple[float, float], ...]


def reload(control: Node, command: str) -> tuple[float, float]:
    """Let the gateway take another configuration."""
    began = time.time()
    control.output("docker exec %s sh -c %s", GATEWAY, command)
    return began, time.time()


def worker_headers(deployment: Deployment, secrets: Secrets) -> dict[str, str]:
    """Those of a worker that is there: another name would become another instance."""
    return {
        "Authorization": f"Bearer {secrets['worker_token']}",
        "x-trigger-worker-instance-name": deployment.workers[0].name,
        "x-trigger-worker-managed-secret": secrets["managed_worker_secret"],
    }


@pytest.fixture(scope="module")
def renewal(deployment: Deployment, control: Node, machine: Node, developer: Developer, secrets: Secrets) -> Renewal:
    """Renew in the middle of a push, with a WebSocket, long polls and a slow request open."""
    developer.image()
    name = f"{developer.registry}/trigger/large:1"
    developer.machine_runs("sh", "-c", IMAGE, "sh", name)
    developer.login()
    uploads = "docker exec trigger-registry-trigger-registry-1 sh -c %s"
    uploading = "ls /var/lib/registry/docker/registry/v2/repositories/trigger/large/_uploads"
    configuration = control.output("docker exec %s sh -c %s", GATEWAY, IN_USE)
    began = time.time()
    held = hold(machine, "trigger.tls", worker_headers(deployment, secrets))
    before = certificate(machine, "trigger.tls")
    command = ["docker", "exec", machine.name, "docker", "push", name]
    push = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert eventually(lambda: control.run(uploads, uploading).stdout.strip() or push.poll() is not None)
    reloads = []
    try:
        reloads.append(reload(control, RENEW))
        pushing = push.poll() is None
        after = certificate(machine, "trigger.tls")
        output, _ = push.communicate(timeout=900)
        # One poll that has begun after the renewal, too.
        time.sleep(11)
        fared = held.end()
    finally:
        reloads.append(reload(control, RELOAD))
    used = configuration, control.output("docker exec %s sh -c %s", GATEWAY, IN_USE)
    pushed = subprocess.CompletedProcess(command, push.returncode, output)
    local = developer.machine_runs("docker", "image", "inspect", "--format", "{{json .RepoDigests}}", name)
    developer.machine_runs("docker", "image", "rm", "--force", name)
    again = developer.machine_runs("docker", "pull", name)
    developer.machine_runs("docker", "logout", developer.registry)
    logs = {
        worker.name: worker.output("docker logs --since %s %s 2>&1", str(int(began)), SUPERVISOR)
        for worker in deployment.workers
    }
    return Renewal(before, after, fared, pushing, pushed, (local, again), used, logs, tuple(reloads))


pytestmark = pytest.mark.changes


def test_the_certificate_is_another_one(renewal: Renewal) -> None:
    assert renewal.after["serial"] != renewal.before["serial"]


def test_a_push_of_300_mb_goes_through(renewal: Renewal) -> None:
    assert renewal.pushing, "the push was over before the renewal"
    assert renewal.pushed.returncode == 0, renewal.pushed.stdout[-800:]
    digest = renewal.digests[0].partition("@")[2].partition('"')[0]
    assert digest.startswith("sha256:")
    assert digest in renewal.digests[1], "what was pulled is not what was pushed"


def test_a_websocket_stays_open(renewal: Renewal) -> None:
    assert renewal.held["websocket"] == "answers"


def test_a_slow_request_is_answered(renewal: Renewal) -> None:
    assert renewal.held["upload"] == 200


def test_no_long_poll_is_lost(renewal: Renewal) -> None:
    statuses = [status for status, _ in renewal.held["polls"]]
    assert len(statuses) >= 2
    assert set(statuses) == {200}
    assert max(seconds for _, seconds in renewal.held["polls"]) > 5, "no poll was a long one"


def test_the_gateway_is_left_as_it_was(renewal: Renewal) -> None:
    assert json.loads(renewal.used[0]) == json.loads(renewal.used[1])


def test_no_supervisor_loses_its_session(renewal: Renewal) -> None:
    said = ("[WS] Disconnected", "[WS] Connection error", "Failed to send")
    for name, text in renewal.supervisors.items():
        noticed = [line for line in text.splitlines() if any(words in line for words in said)]
        assert noticed == [], name


def test_only_a_poll_that_begins_with_the_reload_is_repeated(renewal: Renewal) -> None:
    """
    A server that takes another configuration closes the connections that are idle. Who sends a request over one of them
    in that very moment is not heard, and a supervisor's poll is not tried again: the next one comes after a second.
    """
    for name, text in renewal.supervisors.items():
        failures = [line for line in text.splitlines() if "Failed to dequeue" in line]
        for began, ended in renewal.reloads:
            # The supervisor tells of it when it gets a processor.
            here = [line for line in failures if began <= said_at(line) <= ended + 5]
            failures = [line for line in failures if line not in here[:1]]
        assert failures == [], (name, renewal.reloads)


def said_at(line: str) -> float:
    return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
