# SPDX-License-Identifier: MIT
"""A run with other values writes files, hashes and containers anew, as the first run did, and never shows a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from verification.deployment import Deployment, Play
from verification.nodes import Node
from verification.outage import Outages, outages
from verification.secrets import Secrets, leaks

from testbed.hello import Hello

pytestmark = pytest.mark.changes

# What can go wrong on the way: in a URL, a shell, an env file, YAML.
NEW_PASSWORD = "n3w p@ss/w#rd?%41$HOME`'\"\\;&é"
NEW_PULL_PASSWORD = f"{NEW_PASSWORD} of the workers"

NEW = {"new_password": NEW_PASSWORD, "new_pull_password": NEW_PULL_PASSWORD}

# Looks at all processes of a host until a file appears, and keeps every command line that it has seen.
WATCH = """
import glob, json, os, sys, time
seen, deadline = set(), time.monotonic() + 3600
while not os.path.exists(sys.argv[1]) and time.monotonic() < deadline:
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        try:
            with open(path, 'rb') as file:
                seen.add(file.read().replace(b'\\0', b' ').decode(errors='replace'))
        except OSError:
            pass
    time.sleep(0.1)
with open(sys.argv[2], 'w') as file:
    json.dump(sorted(seen), file)
os.remove(sys.argv[1])
"""


@contextmanager
def watched(deployment: Deployment) -> Iterator[dict[str, list[str]]]:
    """Keep the command lines of all hosts while something happens: host -> what ran there."""
    found: dict[str, list[str]] = {}
    stop, result = "/run/verification.stop", "/run/verification.json"
    for node in deployment.nodes:
        node.output(
            "rm -f %s %s; umask 077; nohup python3 -c %s %s %s >/dev/null 2>&1 &", stop, result, WATCH, stop, result
        )
    try:
        yield found
    finally:
        for node in deployment.nodes:
            node.output("touch %s", stop)
        for node in deployment.nodes:
            waited = "for i in $(seq 1800); do test -e %s || exit 0; sleep 0.1; done; exit 1"
            node.output(waited, stop)
            found[node.name] = json.loads(node.output("cat %s; rm -f %s", result, result))


# They change environment files, a Compose file and a password hash.
VALUES: dict[str, Any] = {
    "trigger_secrets": {"registry_password": NEW_PASSWORD, "registry_pull_password": NEW_PULL_PASSWORD},
    "webapp_log_level": "warn",
    "registry_memory_mib": 500,
    "registry_gc_timer_enabled": True,
}
TIMER = "trigger-registry-gc.timer"
# A stop of 5 s and a start; one that lasts as long as workers keep connections open would take more than 60 s.
# On a machine that carries other scenarios both take longer.
OUTAGE_SECONDS = 50


@dataclass(frozen=True)
class Change:
    """A run, the command lines that were seen meanwhile (host -> lines), and how long the API was away."""

    play: Play
    seen: dict[str, list[str]]
    outages: Outages


@pytest.fixture(scope="module")
def change(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Change:
    """A run with other values."""
    with watched(deployment) as seen, outages(hello.cluster.webapp) as away:
        play = deployment.play("-vvv", "--diff", values=VALUES, scratch=tmp_path_factory.mktemp("values"))
    return Change(play, seen, away)


def test_a_change_is_reported(deployment: Deployment, change: Change) -> None:
    play = change.play
    play.went_through(deployment)
    assert all(play.changed.values()), "every host had something to change"
    assert "mem_limit: 500m" in play.output, "the difference of a Compose file is shown"


def test_a_change_takes_the_api_away_for_a_stop_and_a_start(change: Change) -> None:
    assert change.play.code == 0
    assert change.outages.seconds, "the webapp was not replaced"
    assert change.outages.longest < OUTAGE_SECONDS, change.outages


def test_the_output_of_a_change_tells_no_secret(secrets: Secrets, change: Change) -> None:
    play = change.play
    assert leaks(play.output, secrets.and_also(**NEW)) == set()


def test_no_process_shows_a_secret_meanwhile(secrets: Secrets, change: Change) -> None:
    for name, lines in change.seen.items():
        assert any("docker" in line for line in lines), f"{name}: nothing was seen at all"
        shown = [line[:40] for line in lines if leaks(line, secrets.and_also(**NEW))]
        assert shown == [], name


def test_the_new_password_counts(control: Node, deployment: Deployment, change: Change) -> None:
    secrets = deployment.secrets()
    taken = (secrets["registry_password"], secrets["registry_pull_password"]) == (NEW_PASSWORD, NEW_PULL_PASSWORD)
    assert taken
    url = f"http://{deployment.registry}/v2/"
    assert control.http(url, user="trigger", password_of="registry_password")[0] == 200
    assert control.http(url, user="trigger-pull", password_of="registry_pull_password")[0] == 200


def test_a_timer_collects_the_garbage_of_the_registry(control: Node, change: Change) -> None:
    """And what it starts ends well."""
    assert change.play.code == 0
    assert control.output("systemctl is-enabled %s", TIMER) == "enabled"
    assert control.output("systemctl is-active %s", TIMER) == "active"
    control.output("systemctl start %s", TIMER.replace(".timer", ".service"))
    assert (
        control.output("systemctl show --property Result --value %s", TIMER.replace(".timer", ".service")) == "success"
    )


def test_going_back_changes_again_and_tells_no_secret(
    deployment: Deployment, secrets: Secrets, change: Change, tmp_path: Path
) -> None:
    names = ("registry_password", "registry_pull_password")
    values = {"trigger_secrets": {name: secrets[name] for name in names}}
    play = deployment.play("-vvv", "--diff", values=values, scratch=tmp_path)
    play.went_through(deployment)
    assert all(play.changed.values())
    assert leaks(play.output, secrets.and_also(**NEW)) == set()
    found = deployment.secrets()
    restored = all(found[name] == secrets[name] for name in names)
    assert restored
    assert deployment.control.run("systemctl is-enabled %s", TIMER).rc != 0
    assert deployment.control.run("ls /etc/systemd/system | grep trigger-registry-gc").rc != 0


def test_a_task_still_runs(deployment: Deployment, hello: Hello, change: Change) -> None:
    done = hello.run()
    assert done.status == "COMPLETED"
    assert done.worker in {worker.name for worker in deployment.workers}
