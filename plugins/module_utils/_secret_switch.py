# SPDX-License-Identifier: MIT
"""Brings the services of an installation over to new secrets."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._control_stack import (
    ControlStack,
    StackError,
    set_password,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._encryption import Vault
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_rotation import BEGUN, Rotation, commit

LOCK_SECONDS = 1800


@dataclass(frozen=True)
class Command:
    """A program that brings one secret into a service, or takes one out of it."""

    name: str
    argv: Sequence[str]

    def carry_out(self, runner: Run, secret: str = "") -> None:
        done = runner(list(self.argv), stdin=f"{secret}\n" if secret else "", timeout=600)
        if done.code != 0:
            raise StackError(f"{self.argv[0]} failed for {self.name}: {_masked(done.error, secret)}")


def _masked(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text


@dataclass(frozen=True)
class Parameters:
    path: str
    state: str
    generate: Mapping[str, int]
    stack: ControlStack
    postgres: Mapping[str, str] | None
    vault: Vault | None
    lock_file: str
    wait: bool = True
    accept: Sequence[Command] = ()
    prepare: Sequence[Command] = ()
    revoke: Sequence[Command] = ()


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Wait for a backup that is being made, and keep others from beginning. Without the folder there are none."""
    if not os.path.isdir(os.path.dirname(path)):
        yield
        return
    deadline = time.monotonic() + LOCK_SECONDS
    with open(path, "a", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackError(f"A backup has been running for {LOCK_SECONDS // 60} minutes.") from None
                time.sleep(1)
            else:
                break
        yield


@dataclass
class Switch:
    """Brings the services over to the new secrets. Until the files are replaced, a failure takes everything back."""

    wanted: Parameters
    rotation: Rotation
    runner: Run
    undo: list[str] = field(default_factory=list)

    def accept(self) -> None:
        """Let services that can have two secrets at a time have the new one, too."""
        for command in self.wanted.accept:
            if command.name in self.rotation.names and self.rotation.stage == BEGUN:
                command.carry_out(self.runner, self.rotation.new[command.name])

    def carry_out(self) -> None:
        stack, names = self.wanted.stack, self.rotation.names
        if self.rotation.stage == BEGUN:
            running = stack.directory and stack.stop_webapp(self.runner)
            try:
                self._replace()
            except BaseException:
                self._take_back()
                if running:
                    stack.start_webapp(self.runner)
                raise
            commit(self.wanted.path, self.rotation)
        if stack.directory:
            stack.up_services(self.runner)
            for command in self.wanted.prepare:
                if command.name in names:
                    command.carry_out(self.runner)
            stack.up(self.runner, self.wanted.wait)

    def _replace(self) -> None:
        """Do what a service does not do at its start."""
        names, old, new = self.rotation.names, self.rotation.old, self.rotation.new
        if "postgres_password" in names and self.wanted.postgres:
            set_password(self.runner, new["postgres_password"], **self.wanted.postgres)
            self.undo.append("postgres_password")
        if "encryption_key" in names and self.wanted.vault:
            self.wanted.vault.replace(self.runner, old["encryption_key"], new["encryption_key"])

    def _take_back(self) -> None:
        if self.undo and self.wanted.postgres:
            set_password(self.runner, self.rotation.old["postgres_password"], **self.wanted.postgres)
