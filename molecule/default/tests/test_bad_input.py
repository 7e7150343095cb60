# SPDX-License-Identifier: MIT
"""Bad input ends in one clear message, before anything changes; what breaks the deployment is mended afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from testbed.hello import Hello
from verification import expected
from verification.deployment import ROOT, Deployment, Play
from verification.nodes import Node
from verification.secrets import Secrets, leaks

pytestmark = pytest.mark.breaks

WEBAPP = "trigger-webapp-webapp-1"
FOREIGN_PORT = 8099


def refused(deployment: Deployment, play: Play, *words: str) -> None:
    """The run ended with one message that holds these words, and reported no change."""
    assert play.code != 0, "the run went through"
    assert play.changes == []
    assert not any(play.changed.values())
    assert len(play.errors) == 1, play.ending()
    assert [word for word in words if word not in play.text] == [], play.ending()
    assert "Traceback" not in play.output
    assert "no_log: true" not in play.output.partition("PLAY RECAP")[0][-1500:], "the message itself is censored"
    assert leaks(play.output, deployment.secrets()) == set()


@contextmanager
def unchanged(deployment: Deployment) -> Iterator[None]:
    """Whatever happens inside leaves files and containers as they were."""
    before = deployment.state()
    yield
    assert deployment.state() == before


def inventory(folder: Path, control: list[str], workers: dict[str, dict[str, Any]], node: str) -> str:
    """Write an inventory whose hosts are all names for the one node."""
    address = {"ansible_connection": "community.docker.docker", "ansible_host": node}
    hosts = {
        expected.CONTROL_GROUP: {"hosts": {name: dict(address) for name in control}},
        expected.WORKERS_GROUP: {"hosts": {name: address | more for name, more in workers.items()}},
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
    os.symlink(ROOT / "molecule/shared/inventory/group_vars", folder / "group_vars")
    return str(folder / "hosts.yml")


def test_two_control_hosts(deployment: Deployment, tmp_path: Path) -> None:
    name = deployment.control.name
    with unchanged(deployment):
        play = deployment.play(inventory=inventory(tmp_path, [name, "second.default"], {name: {}}, name))
    refused(deployment, play, "trigger_control", "exactly one host", "it holds 2", "second.default")


def test_no_control_host(deployment: Deployment, tmp_path: Path) -> None:
    name = deployment.control.name
    # The scenario's own values name the control host.
    values = {
        "trigger_api_origin": "http://control.example.com:8030",
        "trigger_registry_host": "control.example.com:5000",
        "trigger_object_store_origin": "http://control.example.com:9000",
    }
    with unchanged(deployment):
        play = deployment.play(inventory=inventory(tmp_path, [], {name: {}}, name), values=values, scratch=tmp_path)
    refused(deployment, play, "trigger_control", "exactly one host", "it holds 0")


def test_no_worker(deployment: Deployment, tmp_path: Path) -> None:
    name = deployment.control.name
    with unchanged(deployment):
        play = deployment.play(inventory=inventory(tmp_path, [name], {}, name))
    refused(deployment, play, "trigger_workers", "no host", "at least one")


def test_two_workers_of_one_name(deployment: Deployment, tmp_path: Path) -> None:
    name = deployment.control.name
    workers = {name: {}, "second.default": {"supervisor_instance_name": name}}
    with unchanged(deployment):
        play = deployment.play(inventory=inventory(tmp_path, [name], workers, name))
    refused(deployment, play, "share an instance name", name, "second.default", "supervisor_instance_name")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trigger_api_origin": "http://localhost:8030"}, ["trigger_api_origin", "localhost", "fully qualified name"]),
        ({"trigger_api_origin": "http://webapp:3000"}, ["trigger_api_origin", "webapp", "fully qualified name"]),
        ({"trigger_object_store_origin": "http://127.0.0.1:9000"}, ["trigger_object_store_origin", "127.0.0.1"]),
        ({"trigger_origin": "localhost:8030"}, ["trigger_origin", "scheme://host"]),
        ({"trigger_version": "latest"}, ["trigger_version", "latest", "v4.2.0"]),
        ({"trigger_registry_host": "http://host.example.com:5000"}, ["trigger_registry_host", "without a scheme"]),
        ({"trigger_secrets": {"encryption_key": "0" * 64}}, ["encryption_key", "exactly 32", "64"]),
        ({"trigger_secrets": {"postgres_pasword": "x"}}, ["trigger_secrets", "postgres_pasword"]),
        ({"supervisor_instance_name": "two words"}, ["supervisor_instance_name", "two words"]),
        (
            {"supervisor_extra_env": {"DOCKER_AUTOREMOVE_EXITED_CONTAINERS": "0"}},
            ["DOCKER_AUTOREMOVE_EXITED_CONTAINERS"],
        ),
        ({"webapp_extra_env": {"redis": {"A": "b"}}}, ["webapp_extra_env", "redis", "trigger-redis"]),
        ({"webapp_log_level": "loud"}, ["webapp_log_level", "loud"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_values_that_cannot_work(
    deployment: Deployment, tmp_path: Path, values: dict[str, Any], words: list[str]
) -> None:
    with unchanged(deployment):
        play = deployment.play(values=values, scratch=tmp_path)
    refused(deployment, play, *words)


@pytest.fixture
def foreign_program(control: Node) -> Iterator[int]:
    """A program of somebody else that listens on a port."""
    started = control.output(f"nohup python3 -m http.server {FOREIGN_PORT} --directory /tmp >/dev/null 2>&1 & echo $!")
    control.output(
        f"for i in $(seq 50); do ss -Hltn 'sport = :{FOREIGN_PORT}' | grep -q . && exit 0; sleep 0.1; done; exit 1"
    )
    yield FOREIGN_PORT
    control.output("kill %s", started)


@pytest.mark.parametrize("variable", ["webapp_port", "trigger_object_store_port", "trigger_registry_port"])
def test_a_port_that_is_taken(
    deployment: Deployment, control: Node, tmp_path: Path, foreign_program: int, variable: str
) -> None:
    with unchanged(deployment):
        play = deployment.play(values={variable: foreign_program}, scratch=tmp_path)
    refused(deployment, play, "Already in use", control.name, str(foreign_program), variable)


def test_a_port_of_another_project_of_ours(deployment: Deployment, tmp_path: Path) -> None:
    with unchanged(deployment):
        play = deployment.play(values={"webapp_port": 5000}, scratch=tmp_path)
    refused(deployment, play, "Already in use", "5000 trigger-registry", "webapp_port")


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
def test_an_engine_that_cannot_be_used(deployment: Deployment, control: Node, script: str, words: list[str]) -> None:
    with unchanged(deployment), docker_replaced(control, script):
        play = deployment.play()
    refused(deployment, play, control.name, *words)


@pytest.fixture
def token_away(control: Node) -> Iterator[None]:
    """The token file is kept elsewhere meanwhile."""
    away = "/run/worker_token.away"
    control.output("cp --preserve=all %s %s && rm %s", expected.TOKEN_FILE, away, expected.TOKEN_FILE)
    try:
        yield
    finally:
        control.output("cp --preserve=all %s %s && rm %s", away, expected.TOKEN_FILE, away)


def test_a_token_file_that_is_lost(deployment: Deployment, token_away: None) -> None:
    """The webapp writes it once, when it makes the group; only its hash is in the database."""
    play = deployment.play()
    assert play.code != 0
    assert play.changes == []
    for words in ("worker_token", "bootstrap", "once"):
        assert words in play.text, play.ending()
    assert "no_log: true" not in play.output.partition("PLAY RECAP")[0][-1500:], "the message itself is censored"


def test_a_token_of_the_wrong_form(deployment: Deployment, control: Node, secrets: Secrets, token_away: None) -> None:
    wrong = "tr_wgt_0123456789abcdefXYZ"
    control.output(
        "install -o 1000 -g 1000 -m 0600 /dev/null %s && printf %%s %s > %s",
        expected.TOKEN_FILE,
        wrong,
        expected.TOKEN_FILE,
    )
    play = deployment.play()
    assert play.code != 0
    assert play.changes == []
    assert "tr_wgt_" in play.text, "the form is told"
    assert expected.TOKEN_FILE in play.text
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
        assert len(play.errors) == 1, play.ending()
        for words in ("trigger-webapp did not become healthy", control.name, WEBAPP, "SMTP_PORT"):
            assert words in play.text, play.ending()
        printed = leaks(control.logs(WEBAPP), secrets)
        assert "clickhouse_password" in printed, "nothing was there to be redacted"
        assert "CLICKHOUSE_URL" not in play.text or "***" in play.text
        assert leaks(play.output, secrets) == set()
        assert "PLAY [Deploy the workers]" not in play.output, "workers were deployed on a broken control host"
    finally:
        mended = deployment.play()
    assert mended.code == 0, mended.ending()


def test_everything_works_again(deployment: Deployment, hello: Hello) -> None:
    facts = deployment.control.facts()["containers"]
    assert {name: row["State"]["Health"]["Status"] for name, row in facts.items()} == dict.fromkeys(
        deployment.control.expected, "healthy"
    )
    assert hello.run().status == "COMPLETED"
