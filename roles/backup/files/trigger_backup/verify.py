# SPDX-License-Identifier: MIT
"""Tries a backup: restores it into containers of its own, counts, and removes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .aside import Aside
from .create import forget, note
from .engine import Engine
from .files import FOLDER, PLAN
from .plan import Plan, plan_of, secrets_of
from .process import remove_folder
from .repository import Repository, Snapshot
from .restore import Say, StoresOf, check_manifest, put_store, require_room_twice
from .stores import Files

PROJECT = "trigger-backup-verify"
FETCHED = "verify"


def verify(
    plan: Plan, engine: Engine, repository: Repository, snapshot: Snapshot, stores_of: StoresOf, say: Say
) -> dict[str, Any]:
    """Try one backup, note what became of it, and give that."""
    began = time.time()
    note(plan.home, "unverified", {"time": began, "error": ""})
    say("Checking the repository")
    repository.check(plan.check_percent)
    Trial(plan, engine, stores_of, say).run(repository, snapshot)
    result = {"time": began, "snapshot": snapshot.id[:8], "seconds": round(time.time() - began, 1)}
    note(plan.home, "verified", result)
    forget(plan.home, "unverified")
    return result


class Trial:
    """A restore that leaves nothing."""

    def __init__(self, plan: Plan, engine: Engine, stores_of: StoresOf, say: Say) -> None:
        self.home = plan.home
        self.engine = engine
        self.stores_of = stores_of
        self.say = say
        self.fetched = plan.home / FETCHED
        self.aside = Aside(engine, PROJECT, plan.home / "aside_verify", plan.webapp_start_seconds, f"{PROJECT}-")

    def run(self, repository: Repository, snapshot: Snapshot) -> None:
        self.clean()
        try:
            self._run(repository, snapshot)
        finally:
            self.clean()

    def clean(self) -> None:
        self.aside.down()
        for name in self.engine.volumes(self.aside.prefix):
            self.engine.remove_volume(name)
        remove_folder(self.fetched)

    def _run(self, repository: Repository, snapshot: Snapshot) -> None:
        manifest = repository.manifest(snapshot)
        check_manifest(manifest, snapshot, "")
        require_room_twice(self.engine, self.home, repository.size(snapshot), "its test")
        self.say("Fetching the backup")
        self.fetched.mkdir(mode=0o700)
        repository.fetch(snapshot, self.fetched)
        files = Files(self.fetched, Path(snapshot.stage))
        plan = plan_of(files.stage / PLAN)
        here = files.stage / FOLDER
        self.aside.up(here / "webapp", plan.services, (plan.directory, here))
        for store in self.stores_of(plan, self.engine, secrets_of(here / plan.secrets_file.name)):
            self.say(f"Restoring {store.name} on its own")
            put_store(self.aside, plan, store, files, manifest["stores"][store.name])
