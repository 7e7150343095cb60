# SPDX-License-Identifier: MIT
"""No secret stands where it can be read by those who must not, and none of the published ones is used."""

from __future__ import annotations

import json

from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node
from verification.secrets import Secrets, leaks, published

from testbed.expected_secrets import PUBLISHED_DEFAULTS


def test_the_looking_finds_secrets_where_they_are(control: Node, secrets: Secrets) -> None:
    """Guards the tests below: environment files hold secrets plain, and encoded inside of URLs."""
    assert leaks(control.read(f"{expected.DIRECTORY}/webapp/webapp.env"), secrets) >= {
        "postgres_password",
        "clickhouse_password",
        "encryption_key",
    }
    assert (
        leaks(control.logs("trigger-webapp-webapp-1"), secrets)
        == expected.PRINTED_BY_THE_PROGRAM["trigger-webapp-webapp-1"]
    )


def test_no_compose_file_holds_a_secret(node: Node, secrets: Secrets) -> None:
    found = [path for path in node.seen["files"] if path.endswith("compose.yml")]
    assert found
    for path in found:
        text = node.read(f"{expected.DIRECTORY}/{path}")
        assert leaks(text, secrets) == set(), path
        assert published(text, PUBLISHED_DEFAULTS) == [], path


def test_no_file_that_others_may_read_holds_a_secret(node: Node, secrets: Secrets) -> None:
    """Other files of ours, the engine's settings, and what a user of the host finds in its log."""
    for path in (f"{expected.DIRECTORY}/supervisor/haproxy.cfg", "/etc/docker/daemon.json"):
        asked = node.run("cat %s", path)
        if asked.rc == 0:
            assert leaks(asked.stdout, secrets) == set(), path
    assert leaks(node.output("journalctl --quiet --no-pager"), secrets) == set(), "the journal"


def test_no_log_of_ours_holds_a_secret(node: Node, secrets: Secrets) -> None:
    for name in node.expected:
        text = node.logs(name)
        assert leaks(text, secrets) <= expected.PRINTED_BY_THE_PROGRAM.get(name, set()), name
        assert published(text, PUBLISHED_DEFAULTS) == [], name


def test_no_definition_of_a_container_holds_a_secret(node: Node, secrets: Secrets) -> None:
    """Labels, command, health check, mounts: all but the environment, which Docker shows to its own users only."""
    for name in node.expected:
        found = json.loads(json.dumps(node.container(name)))
        del found["Config"]["Env"]
        assert leaks(json.dumps(found), secrets) == set(), name
        for probe in found["State"]["Health"]["Log"]:
            assert leaks(probe["Output"], secrets) == set(), f"{name}: output of the health check"


def test_no_process_shows_a_secret(node: Node, secrets: Secrets) -> None:
    assert leaks("\n".join(node.seen["command_lines"]), secrets) == set()


def test_no_published_default_is_used(node: Node) -> None:
    for name in node.expected:
        for pair in node.container(name)["Config"]["Env"]:
            variable, _, value = pair.partition("=")
            assert published(value, PUBLISHED_DEFAULTS) == [], f"{name} {variable}"
            assert value not in ("password", "postgres", "minioadmin", "admin") or variable == "POSTGRES_USER", (
                f"{name} {variable}"
            )


def test_no_image_was_given_a_secret(deployment: Deployment, secrets: Secrets) -> None:
    for node in deployment.nodes:
        identities = node.output("docker image ls --quiet --no-trunc | sort -u").split()
        for identity in identities:
            text = node.output("docker history --no-trunc %s; docker image inspect %s", identity, identity)
            assert leaks(text, secrets) == set(), f"{node.name} {identity}"
