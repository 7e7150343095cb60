# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import hashlib
import hmac
import operator
from collections.abc import Sequence

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._control_stack import (
    ControlStack,
    StackError,
    set_password,
    verifier,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._postgres import Scram

PASSWORD = "0123456789abcdef0123456789abcdef"


class Host:
    """Remembers commands and what goes in; fails those that begin as told."""

    def __init__(self, fails: str = "", running: str = "true") -> None:
        self.fails, self.running = fails, running
        self.commands: list[str] = []
        self.inputs: list[str] = []

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        command = " ".join(argv)
        self.commands.append(command)
        self.inputs.append(stdin)
        if self.fails and self.fails in command:
            return Completed(1, "", f"ERROR:  it fails\nLINE 1: {stdin}")
        if "State.Running" in command:
            return Completed(0, self.running, "")
        return Completed(0, "webapp\ntrigger-redis\nelectric\n" if "config" in command else "", "")


STACK = ControlStack("/opt/trigger/webapp", "webapp-1", 300)


def test_services_start_before_the_webapp() -> None:
    there = Host()
    STACK.up_services(there)
    STACK.up(there)
    ups = [command.partition(" up ")[2] for command in there.commands if " up " in command]
    assert ups == ["--detach --wait --wait-timeout 300 trigger-redis electric", "--detach --wait --wait-timeout 300"]


def test_a_webapp_need_not_be_waited_for() -> None:
    there = Host()
    STACK.up(there, wait=False)
    assert there.commands[-1].endswith(" up --detach")


@pytest.mark.parametrize(("running", "stopped"), [("true", True), ("false", False)])
def test_a_webapp_that_runs_is_stopped(running: str, stopped: bool) -> None:
    there = Host(running=running)
    assert STACK.stop_webapp(there) is stopped
    assert ("docker stop webapp-1" in there.commands) is stopped


def test_without_a_container_there_is_nothing_to_stop() -> None:
    assert STACK.stop_webapp(Host(fails="inspect")) is False
    assert STACK.image(Host(fails="inspect")) == ""


def test_what_fails_is_told() -> None:
    with pytest.raises(StackError, match="Starting the control stack failed: ERROR"):
        STACK.up(Host(fails=" up "))


def test_a_login_with_the_password_fits_the_verifier() -> None:
    """The server knows the client by it, and proves itself to the client. Molecule tries it with a real Postgres."""
    found = verifier(PASSWORD)
    assert found != verifier(PASSWORD), "the salt is the same"
    method, rest = found.split("$", 1)
    salt = rest.partition(":")[2].partition("$")[0]
    stored, server = (base64.b64decode(each) for each in found.rpartition("$")[2].split(":"))
    assert (method, rest.partition(":")[0]) == ("SCRAM-SHA-256", "4096")
    client = Scram(PASSWORD, "nonce")
    challenge = f"r=nonce-and-more,s={salt},i=4096".encode()
    bare, _, proof = client.final(challenge).partition(b",p=")
    message = b",".join([client.first[3:], challenge, bare])
    mask = hmac.digest(stored, message, "sha256")
    key = bytes(map(operator.xor, base64.b64decode(proof), mask))
    assert hashlib.sha256(key).digest() == stored
    client.verify(b"v=" + base64.b64encode(hmac.digest(server, message, "sha256")))


def test_postgres_is_never_told_the_password() -> None:
    there = Host()
    set_password(there, PASSWORD, container="pg", user="postgres")
    assert PASSWORD not in " ".join([*there.commands, *there.inputs])
    assert there.inputs[0].startswith('ALTER ROLE "postgres" PASSWORD \'SCRAM-SHA-256$4096:')
    with pytest.raises(StackError) as caught:
        set_password(Host(fails="psql"), PASSWORD, container="pg", user="postgres")
    assert "it fails" in str(caught.value)
    assert "SCRAM" not in str(caught.value)
