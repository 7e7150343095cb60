# SPDX-License-Identifier: MIT
"""Tries a backup, and the newest point after it: restores into containers of its own, counts, and removes them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .aside import Aside
from .create import forget, note, resume
from .engine import Engine
from .files import FOLDER, PLAN
from .plan import SAVED, Plan, plan_of, secrets_of
from .process import Say, remove_folder
from .repository import Repository, Snapshot
from .restore import StoresOf, check_manifest, put_store, require_room_twice
from .stores import Files

# What is restored of a point: the rest is stored as it is in backups.
IN_POINT = ("postgres", "redis")
# They may go on with their work while they are copied. Then their counts are not those of the copy.
UNCOUNTED = ("clickhouse", "redis")
PROJECT = "trigger-backup-verify"
FETCHED = "verify"


def verify(
    plan: Plan, engine: Engine, repository: Repository, snapshot: Snapshot, stores_of: StoresOf, say: Say
) -> dict[str, Any]:
    """Try one backup, note what became of it, and give that."""
    began = time.time()
    note(plan.home, "unverified", {"time": began, "error": ""})
    # After a backup that was killed, `resume` waits for the end of this.
    resume(plan, engine, stores_of(plan, engine, secrets_of(plan.secrets_file)), say)
    say("Checking the repository")
    repository.check(plan.check_percent)
    trial = Trial(plan, engine, stores_of, say)
    uncounted = trial.run(repository, snapshot)
    result: dict[str, Any] = {"time": began, "snapshot": snapshot.id[:8], "uncounted": uncounted}
    points = [row for row in repository.states() if row.backup == snapshot.short]
    if points:
        say("Testing the newest point after it")
        trial.run(repository, points[-1], IN_POINT)
        result["point"] = points[-1].id[:8]
    result["seconds"] = round(time.time() - began, 1)
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

    def run(self, repository: Repository, snapshot: Snapshot, names: Sequence[str] = ()) -> list[str]:
        """Restore a backup, or some stores of it. Gives the stores whose entries could not be compared."""
        self.clean()
        try:
            return self._run(repository, snapshot, names)
        finally:
            self.clean()

    def clean(self) -> None:
        self.aside.down()
        for name in self.engine.volumes(self.aside.prefix):
            self.engine.remove_volume(name)
        remove_folder(self.fetched)

    def _run(self, repository: Repository, snapshot: Snapshot, names: Sequence[str]) -> list[str]:
        manifest = repository.manifest(snapshot)
        check_manifest(manifest, snapshot, "")
        require_room_twice(self.engine, self.home, repository.size(snapshot), "its test")
        facts = {name: row for name, row in manifest["stores"].items() if not names or name in names}
        self.say("Fetching the backup")
        self.fetched.mkdir(mode=0o700)
        repository.fetch(snapshot, self.fetched, paths_of(snapshot, facts) if names else ())
        files = Files(self.fetched, Path(snapshot.stage))
        plan = plan_of(files.stage / PLAN, SAVED)
        here = files.stage / FOLDER
        services = [row["service"] for name, row in plan.stores.items() if name in facts and row.get("service")]
        self.aside.up(here / "webapp", services, (plan.directory, here))
        stores = self.stores_of(plan, self.engine, secrets_of(here / plan.secrets_copy, SAVED))
        for store in [each for each in stores if each.name in facts]:
            self.say(f"Restoring {store.name} on its own")
            put_store(self.aside, plan, store, files, manifest["stores"][store.name])
        return [name for name in UNCOUNTED if not facts.get(name, {}).get("exact", True)]


def paths_of(snapshot: Snapshot, facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name what has to be fetched to restore some stores: their own folders, and the files of their services."""
    own = [path for row in facts.values() for path in row.get("paths", {}).values()]
    return [*own, *(f"{snapshot.stage}/{name}" for name in (PLAN, FOLDER, *facts))]
