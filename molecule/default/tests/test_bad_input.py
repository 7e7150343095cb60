# SPDX-License-Identifier: MIT
"""Bad input ends in one clear message, before anything changes; what breaks the deployment is mended afterwards.

What a real host is needed for, and a deployed one. Everything that the input alone decides: tests/refusals.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from verification import expected
from verification.deployment import Deployment, Play, differences
from verification.nodes import Node, eventually
from verification.secrets import Secrets, leaks

from testbed.hello import Hello

pytestmark = pytest.mark.breaks

WEBAPP = "trigger-webapp-webapp-1"
FOREIGN_PORT = 8099


@dataclass(frozen=True)
class Refusal:
    """Input that must be refused, and what the message has to say about it."""

    words: list[str]
    values: dict[str, Any] = field(default_factory=dict)


NODE = "solo.default"
TAKEN = ["Already in use", NODE, str(FOREIGN_PORT)]
REFUSALS = {
    "key-too-long": Refusal(["encryption_key", "exactly 32", "64"], {"trigger_secrets": {"encryption_key": "0" * 64}}),
    "port-of-the-webapp-taken": Refusal([*TAKEN, "webapp_port"], {"webapp_port": FOREIGN_PORT}),
    "port-of-the-object-store-taken": Refusal(
        [*TAKEN, "trigger_object_store_port"], {"trigger_object_store_port": FOREIGN_PORT}
    ),
    "port-of-the-registry-taken": Refusal([*TAKEN, "trigger_registry_port"], {"trigger_registry_port": FOREIGN_PORT}),
    "port-of-another-project-of-ours": Refusal(["5000", "webapp_port"], {"webapp_port": 5000}),
    # Nobody may have a name under this one (RFC 2606).
    "address-that-the-worker-cannot-resolve": Refusal(
        [NODE, "nobody.invalid has no address there", "trigger_api_origin"],
        {"trigger_api_origin": "http://nobody.invalid:8030"},
    ),
    "host-that-is-too-small": Refusal(
        [NODE, "control host and worker host in one", "processors", "memory", "free on the disk of /opt/trigger"],
        {
            "trigger_requirements": "enforce",
            # More than any machine has, so that the row holds wherever it is tried.
            "__trigger_host_needs": {
                "both": {"what": "control host and worker host in one", "cpus": 10**6, "memory_mib": 10**9}
                | {"directory_mib": 10**12, "docker_mib": 10**12}
            },
        },
    ),
}


def refused(play: Play, secrets: Secrets, *words: str) -> None:
    """The run ended with one message that holds these words, and reported no change."""
    assert play.code != 0, "the run went through"
    assert play.changes == []
    assert len(play.errors) == 1, play.ending()
    assert [word for word in words if word not in play.message] == [], play.ending()
    assert "censored" not in play.message
    assert "Traceback" not in play.output
    assert leaks(play.output, secrets) == set()


@contextmanager
def unchanged(deployment: Deployment) -> Iterator[None]:
    """Whatever happens inside leaves files and containers as they were."""
    before = deployment.state()
    yield
    assert differences(before, deployment.state()) == []


@contextmanager
def foreign_program(node: Node) -> Iterator[None]:
    """Somebody else's program listens on a port meanwhile."""
    serve = f"nohup python3 -m http.server {FOREIGN_PORT} --directory /tmp >/dev/null 2>&1 & echo $!"
    process = node.output(serve)
    try:
        listens = f"ss -Hltn 'sport = :{FOREIGN_PORT}' | grep -q ."
        assert eventually(lambda: node.run(listens).rc == 0)
        yield
    finally:
        node.output("kill %s", process)


@pytest.fixture(scope="module")
def refusals(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Play], list[str]]:
    """All runs that must be refused, several at once because none may change anything; and what has changed."""

    folders = {name: tmp_path_factory.mktemp(name) for name in REFUSALS}

    def play(name: str) -> Play:
        return deployment.play(values=REFUSALS[name].values, scratch=folders[name])

    before = deployment.state()
    with foreign_program(deployment.control), ThreadPoolExecutor(4) as pool:
        plays = dict(zip(REFUSALS, pool.map(play, REFUSALS), strict=True))
    return plays, differences(before, deployment.state())


@pytest.mark.parametrize("name", REFUSALS)
def test_input_that_cannot_work_is_refused(
    refusals: tuple[dict[str, Play], list[str]], secrets: Secrets, name: str
) -> None:
    plays, _ = refusals
    refused(plays[name], secrets, *REFUSALS[name].words)


def test_refused_input_has_changed_nothing(refusals: tuple[dict[str, Play], list[str]]) -> None:
    _, changed = refusals
    assert changed == []


@contextmanager
def docker_replaced(control: Node, script: str) -> Iterator[None]:
    """A command `docker` that comes before the real one on the path; the engine itself stays as it is."""
    path = "/usr/local/sbin/docker"
    control.output("printf '#!/bin/sh\\n%%s\\n' %s > %s && chmod 0755 %s", script, path, path)
    try:
        assert control.output("command -v docker") == path
        yield
    finally:
        control.output("rm %s", path)


def test_an_engine_that_does_not_answer(deployment: Deployment, control: Node, secrets: Secrets) -> None:
    silent = 'DOCKER_HOST=unix:///run/nobody.sock exec /usr/bin/docker "$@"'
    with unchanged(deployment), docker_replaced(control, silent):
        play = deployment.play()
    refused(play, secrets, control.name, "does not answer", "systemctl start docker")


@pytest.fixture
def token_away(control: Node) -> Iterator[None]:
    """The token file is kept elsewhere meanwhile."""
    away = "/run/worker_token.away"
    control.output("cp --preserve=all %s %s && rm %s", expected.TOKEN_FILE, away, expected.TOKEN_FILE)
    try:
        yield
    finally:
        control.output("cp --preserve=all %s %s && rm %s", away, expected.TOKEN_FILE, away)


def test_a_token_file_that_is_lost(deployment: Deployment, token_away: None, tmp_path: Path) -> None:
    """The webapp writes it once, when it makes the group; only its hash is in the database."""
    play = deployment.play(role="supervisor", scratch=tmp_path)
    assert play.code != 0
    assert play.changes == []
    for words in (expected.TOKEN_FILE, "bootstrap", "only once", "worker_token_recover"):
        assert words in play.message, play.ending()


def test_a_token_of_the_wrong_form(
    deployment: Deployment, control: Node, secrets: Secrets, token_away: None, tmp_path: Path
) -> None:
    wrong = "tr_wgt_0123456789abcdefXYZ"
    control.output(
        "install -o 1000 -g 1000 -m 0600 /dev/null %s && printf %%s %s > %s",
        expected.TOKEN_FILE,
        wrong,
        expected.TOKEN_FILE,
    )
    play = deployment.play(role="supervisor", scratch=tmp_path)
    assert play.code != 0
    assert play.changes == []
    assert "tr_wgt_" in play.message, "the form is told"
    assert expected.TOKEN_FILE in play.message
    assert wrong not in play.output
    assert leaks(play.output, secrets) == set()


def test_a_webapp_that_never_gets_healthy(
    deployment: Deployment, control: Node, secrets: Secrets, tmp_path: Path
) -> None:
    """The message shows the container that fails and the end of its log, in which the webapp prints secrets itself."""
    # Which options there are is Node's affair, so no check of ours refuses one that is misspelt.
    options = {"NODE_OPTIONS": "--max-old-space=4096"}
    values = {"webapp_extra_env": {"webapp": options}, "webapp_start_timeout_seconds": 20}
    play = deployment.play(values=values, scratch=tmp_path)
    try:
        assert play.code != 0
        for words in (
            "trigger-webapp did not become healthy",
            control.name,
            f"--- {WEBAPP}",
            "NODE_OPTIONS must match",
        ):
            assert words in play.message, play.ending()
        assert "\\n" not in play.message, "lines are lines"
        printed = leaks(control.logs(WEBAPP), secrets)
        assert "clickhouse_password" in printed, "nothing was there to be redacted"
        assert "***" in play.message
        assert leaks(play.output, secrets) == set()
        assert "PLAY [Deploy the workers]" not in play.output, "workers were deployed on a broken control host"
    finally:
        mended = deployment.play(role="webapp", scratch=tmp_path)
    assert mended.code == 0, mended.ending()


def test_everything_works_again(deployment: Deployment, hello: Hello) -> None:
    wanted = dict.fromkeys(deployment.control.expected, "healthy")

    def states() -> dict[str, str]:
        found.clear()
        for name, row in deployment.control.facts()["containers"].items():
            found[name] = row["State"].get("Health", {}).get("Status", "no health check")
        return found

    found: dict[str, str] = {}
    assert eventually(lambda: states() == wanted), found
    assert hello.run().status == "COMPLETED"
