# SPDX-License-Identifier: MIT
"""Files on the hosts: exactly those of the design, readable for those who need them."""

from __future__ import annotations

import json
import re

import bcrypt
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node
from verification.secrets import Secrets

from testbed.expected_secrets import SECRET_NAMES


def test_files_are_those_of_the_design(node: Node) -> None:
    designed = {path: list(row) for group in sorted(node.groups) for path, row in expected.FILES[group].items()}
    found = {path: row[:4] for path, row in node.seen["files"].items()}
    assert {path: row for path, row in found.items() if not path.startswith(tuple(expected.COMES_AND_GOES))} == designed
    for beginning, readable_for in expected.COMES_AND_GOES.items():
        for path, (_, mode, owner, group) in found.items():
            if path.startswith(beginning):
                assert (mode & 0o077, owner, group) == (0, readable_for, readable_for), path


def test_the_token_has_its_form(control: Node) -> None:
    path = expected.TOKEN_FILE.removeprefix(expected.DIRECTORY + "/")
    assert control.seen["files"][path][4] == 47, "a newline would become part of the token"
    assert re.fullmatch(expected.TOKEN_FORM, control.read(expected.TOKEN_FILE))


def test_secrets_are_generated_and_different(secrets: Secrets) -> None:
    assert set(secrets) == {*SECRET_NAMES, "worker_token"}
    assert len(set(secrets.values())) == len(secrets)
    for name in SECRET_NAMES:
        long_enough = len(secrets[name]) >= 20
        assert long_enough, name
    right_length = len(secrets["encryption_key"].encode()) == 32
    assert right_length, "the webapp ends at start with any other length"


def test_passwords_of_the_registry_are_bcrypt(control: Node, secrets: Secrets) -> None:
    lines = control.read(f"{expected.DIRECTORY}/registry/auth/htpasswd").splitlines()
    users = dict(line.split(":", 1) for line in lines)
    assert list(users) == ["trigger", "trigger-pull"]
    for hashed, name in zip(users.values(), ("registry_password", "registry_pull_password"), strict=True):
        assert re.fullmatch(r"\$2[aby]\$(1\d|[2-9]\d)\$[./A-Za-z0-9]{53}", hashed)
        fits = bcrypt.checkpw(secrets[name].encode(), hashed.encode())
        assert fits, name


def test_files_say_who_manages_them(node: Node) -> None:
    for path in node.seen["files"]:
        if path.endswith((".yml", ".env", ".cfg", ".conf")):
            assert "managed" in node.output("head -n 1 %s", f"{expected.DIRECTORY}/{path}").lower(), path


def test_no_environment_holds_an_empty_value(node: Node) -> None:
    """Empty values end or silently break the programs; the one that has a meaning is the browser's telemetry key."""
    for path in node.seen["files"]:
        if path.endswith(".env"):
            lines = node.read(f"{expected.DIRECTORY}/{path}").splitlines()
            empty = {line.partition("=")[0] for line in lines if re.fullmatch(r"\w+=(\"\"|'')?", line)}
            assert empty <= {"POSTHOG_PROJECT_KEY"}, path
            assert [line for line in lines if re.match(r"\w+=.", line)], f"{path} holds nothing"


def test_docker_keeps_no_login(deployment: Deployment) -> None:
    for node in deployment.nodes:
        config = node.run("cat /root/.docker/config.json")
        assert config.rc != 0 or not json.loads(config.stdout).get("auths"), node.name
