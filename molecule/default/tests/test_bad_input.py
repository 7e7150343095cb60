# SPDX-License-Identifier: MIT
"""Bad input ends in one clear message, before anything changes; what breaks the deployment is mended afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from testbed.hello import Hello
from verification import expected
from verification.deployment import ROOT, Deployment, Play, differences
from verification.nodes import Node
from verification.secrets import Secrets, leaks

pytestmark = pytest.mark.breaks

WEBAPP = "trigger-webapp-webapp-1"
FOREIGN_PORT = 8099


@dataclass(frozen=True)
class Refusal:
    """Input that must be refused, and what the message has to say about it."""

    words: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    # Names of the hosts of an inventory of its own (all of them are the one node); None: the scenario's.
    control: list[str] | None = None
    workers: dict[str, dict[str, Any]] = field(default_factory=dict)


NODE = "solo.default"
SECOND = "second.default"
ELSEWHERE = {
    "trigger_api_origin": "http://control.example.com:8030",
    "trigger_registry_host": "control.example.com:5000",
    "trigger_object_store_origin": "http://control.example.com:9000",
}
TAKEN = ["Already in use", NODE, str(FOREIGN_PORT)]
REFUSALS = {
    "two-control-hosts": Refusal(
        ["trigger_control", "exactly one host", "it holds 2", SECOND], control=[NODE, SECOND], workers={NODE: {}}
    ),
    # The scenario's own values name the control host.
    "no-control-host": Refusal(
        ["trigger_control", "exactly one host", "it holds 0"], ELSEWHERE, control=[], workers={NODE: {}}
    ),
    "no-worker": Refusal(["trigger_workers", "no host", "at least one"], control=[NODE]),
    "two-workers-of-one-name": Refusal(
        ["share an instance name", NODE, SECOND, "supervisor_instance_name"],
        control=[NODE],
        workers={NODE: {}, SECOND: {"supervisor_instance_name": NODE}},
    ),
    "api-on-localhost": Refusal(
        ["trigger_api_origin", "localhost", "fully qualified name"], {"trigger_api_origin": "http://localhost:8030"}
    ),
    "api-at-a-bare-name": Refusal(
        ["trigger_api_origin", "webapp", "fully qualified name"], {"trigger_api_origin": "http://webapp:3000"}
    ),
    "object-store-on-the-loopback": Refusal(
        ["trigger_object_store_origin", "127.0.0.1"], {"trigger_object_store_origin": "http://127.0.0.1:9000"}
    ),
    "origin-without-scheme": Refusal(["trigger_origin", "scheme://host"], {"trigger_origin": "localhost:8030"}),
    "floating-version": Refusal(["trigger_version", "latest", "v4.2.0"], {"trigger_version": "latest"}),
    "registry-with-scheme": Refusal(
        ["trigger_registry_host", "without a scheme"], {"trigger_registry_host": "http://host.example.com:5000"}
    ),
    "key-too-long": Refusal(["encryption_key", "exactly 32", "64"], {"trigger_secrets": {"encryption_key": "0" * 64}}),
    "unknown-secret": Refusal(
        ["trigger_secrets", "postgres_pasword"], {"trigger_secrets": {"postgres_pasword": "0123456789"}}
    ),
    "instance-name-with-blank": Refusal(
        ["supervisor_instance_name", "two words"], {"supervisor_instance_name": "two words"}
    ),
    "tasks-that-stay": Refusal(
        ["DOCKER_AUTOREMOVE_EXITED_CONTAINERS"],
        {"supervisor_extra_env": {"DOCKER_AUTOREMOVE_EXITED_CONTAINERS": "0"}},
    ),
    "extra-environment-of-nobody": Refusal(
        ["webapp_extra_env", "redis", "trigger-redis"], {"webapp_extra_env": {"redis": {"A": "b"}}}
    ),
    "unknown-log-level": Refusal(["webapp_log_level", "loud"], {"webapp_log_level": "loud"}),
    "port-of-the-webapp-taken": Refusal([*TAKEN, "webapp_port"], {"webapp_port": FOREIGN_PORT}),
    "port-of-the-object-store-taken": Refusal(
        [*TAKEN, "trigger_object_store_port"], {"trigger_object_store_port": FOREIGN_PORT}
    ),
    "port-of-the-registry-taken": Refusal([*TAKEN, "trigger_registry_port"], {"trigger_registry_port": FOREIGN_PORT}),
    "port-of-another-project-of-ours": Refusal(["5000", "webapp_port"], {"webapp_port": 5000}),
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
        listens = (
            f"for i in $(seq 50); do ss -Hltn 'sport = :{FOREIGN_PORT}' | grep -q . && exit 0; sleep 0.1; done; exit 1"
        )
        node.output(listens)
        yield
    finally:
        node.output("kill %s", process)


def inventory(folder: Path, refusal: Refusal) -> str:
    """Write an inventory whose hosts are all names for the one node."""
    address = {"ansible_connection": "community.docker.docker", "ansible_host": NODE}
    hosts = {
        expected.CONTROL_GROUP: {"hosts": {name: dict(address) for name in refusal.control or []}},
        expected.WORKERS_GROUP: {"hosts": {name: address | more for name, more in refusal.workers.items()}},
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
    (folder / "group_vars").symlink_to(ROOT / "molecule/shared/inventory/group_vars")
    return str(folder / "hosts.yml")


@pytest.fixture(scope="module")
def refusals(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Play], list[str]]:
    """All runs that must be refused, several at once because none may change anything; and what has changed."""

    folders = {name: tmp_path_factory.mktemp(name) for name in REFUSALS}

    def play(name: str) -> Play:
        refusal, folder = REFUSALS[name], folders[name]
        own = "" if refusal.control is None else inventory(folder, refusal)
        return deployment.play(values=refusal.values, inventory=own, scratch=folder)

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


# Answers as the real one does, but with other versions.
OLD = """
import json, subprocess, sys
asked = subprocess.run(["/usr/bin/docker", *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
answer = json.loads(asked.stdout)
answer["ServerVersion"] = "ENGINE" or answer["ServerVersion"]
for plugin in answer["ClientInfo"]["Plugins"]:
    plugin["Version"] = "COMPOSE" or plugin["Version"]
print(json.dumps(answer))
"""


def old(engine: str = "", compose: str = "") -> str:
    """Give a `docker` whose `info` names these versions."""
    script = OLD.replace("ENGINE", engine).replace("COMPOSE", compose)
    return f"""test "$1" = info || exec /usr/bin/docker "$@"\nexec python3 -c '{script}' "$@" """


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            'DOCKER_HOST=unix:///run/nobody.sock exec /usr/bin/docker "$@"',
            ["does not answer", "systemctl start docker"],
        ),
        (old(engine="19.03.15"), ["19.03.15", "at least 20.10.0"]),
        (old(compose="2.17.2"), ["2.17.2", "at least 2.20.0"]),
    ],
    ids=["silent", "engine-too-old", "compose-too-old"],
)
def test_an_engine_that_cannot_be_used(
    deployment: Deployment, control: Node, secrets: Secrets, script: str, words: list[str]
) -> None:
    with unchanged(deployment), docker_replaced(control, script):
        play = deployment.play()
    refused(play, secrets, control.name, *words)


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
    for words in (expected.TOKEN_FILE, "bootstrap", "only once", "sha256sum", "tokenHash"):
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
    values = {"webapp_extra_env": {"webapp": {"SMTP_PORT": "x"}}, "webapp_start_timeout_seconds": 20}
    play = deployment.play(values=values, scratch=tmp_path)
    try:
        assert play.code != 0
        for words in (
            "trigger-webapp did not become healthy",
            control.name,
            f"--- {WEBAPP}",
            "SMTP_PORT must be a number",
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
    facts = deployment.control.facts()["containers"]
    assert {name: row["State"]["Health"]["Status"] for name, row in facts.items()} == dict.fromkeys(
        deployment.control.expected, "healthy"
    )
    assert hello.run().status == "COMPLETED"
