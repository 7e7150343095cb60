# SPDX-License-Identifier: MIT
"""The Compose project of the control stack: stops its webapp, and starts it again after the services it needs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run

ITERATIONS = 4096  # as Postgres has it


class StackError(Exception):
    """A program of the host that failed; its text never holds a secret."""


@dataclass(frozen=True)
class ControlStack:
    """The project in a folder; no folder means that none of its services is to be changed."""

    directory: str
    webapp: str
    timeout: int

    def image(self, run: Run) -> str:
        """Give the id of the image of the webapp; empty without a container."""
        done = run(["docker", "container", "inspect", "--format", "{{.Image}}", self.webapp])
        return done.stdout.strip() if done.code == 0 else ""

    def stop_webapp(self, run: Run) -> bool:
        """Stop it in the time that it was given; tell whether it ran."""
        done = run(["docker", "container", "inspect", "--format", "{{.State.Running}}", self.webapp])
        running = done.code == 0 and done.stdout.strip() == "true"
        if running:
            self._must(run, "Stopping the webapp", "docker", "stop", self.webapp)
        return running

    def start_webapp(self, run: Run) -> None:
        self._must(run, "Starting the webapp", "docker", "start", self.webapp)

    def up_services(self, run: Run) -> None:
        """Start everything that the webapp needs, with what their files hold now."""
        listed = self._compose(run, "Reading the control stack", "config", "--services")
        others = [name for name in listed.split() if name != "webapp"]
        self._compose(run, "Starting the services", "up", "--detach", "--wait", *self._patience, *others)

    def up(self, run: Run, wait: bool = True) -> None:
        words = ["--wait", *self._patience] if wait else []
        self._compose(run, "Starting the control stack", "up", "--detach", *words)

    @property
    def _patience(self) -> tuple[str, str]:
        return "--wait-timeout", str(self.timeout)

    def _compose(self, run: Run, doing: str, *words: str) -> str:
        return self._must(run, doing, "docker", "compose", "--project-directory", self.directory, *words)

    def _must(self, run: Run, doing: str, *argv: str) -> str:
        done = run(argv, timeout=self.timeout + 60)
        if done.code != 0:
            raise StackError(f"{doing} failed: {done.error[-600:]}")
        return done.stdout


def verifier(password: str, salt: bytes | None = None) -> str:
    """Give what Postgres stores of a password, so that it is never told the password itself, nor logs it.

    For generated passwords: SASLprep leaves ASCII as it is.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(each).decode() for each in (salt, client, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def set_password(run: Run, password: str, container: str, user: str) -> None:
    """Give a role of the bundled Postgres its password, over the local socket, which asks for none."""
    argv = ["docker", "exec", "-i", "-u", "postgres", container, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    done = run([*argv, "-U", user, "-d", "postgres"], stdin=f"ALTER ROLE \"{user}\" PASSWORD '{verifier(password)}';\n")
    if done.code != 0:
        # The first line; those behind it quote the statement.
        raise StackError(f"Postgres in {container} does not take a new password: {done.error.splitlines()[0]}")
