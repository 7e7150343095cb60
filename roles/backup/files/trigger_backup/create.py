# SPDX-License-Identifier: MIT
"""Makes a backup. The webapp is stopped only until every store holds on to its state; the copying follows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .engine import Engine
from .plan import FORMAT, Plan, identity, read_json, secrets_of, write_json
from .process import BackupError
from .repository import MANIFEST, Repository
from .stores import Facts, Store

STATUS = "status.json"
PAUSED = "webapp_is_stopped"
# In its container.
WEBAPP_PORT = 3000
# Room that must stay on the disk, beside what the copy takes.
SPARE = 2**28

Say = Callable[[str], None]


def resume(plan: Plan, engine: Engine, say: Say) -> None:
    """Start a webapp that an interrupted backup has left stopped."""
    mark = plan.home / PAUSED
    if mark.exists():
        say("Starting the webapp, which an interrupted backup has left stopped")
        start(plan, engine)
        mark.unlink()


def start(plan: Plan, engine: Engine) -> None:
    """Start the webapp, and wait until it answers: Docker's own look at its health comes up to 5 s later."""
    engine.start(plan.webapp_container)
    engine.answers(plan.webapp_container, WEBAPP_PORT, "/healthcheck", plan.webapp_start_seconds)


@contextmanager
def paused(plan: Plan, engine: Engine) -> Iterator[dict[str, float]]:
    """Keep the webapp stopped, if it is to be and runs. Gives the seconds without it when it is over."""
    times = {"seconds": 0.0}
    if not plan.pause or not engine.running(plan.webapp_container):
        yield times
        return
    mark = plan.home / PAUSED
    mark.touch()
    began = time.monotonic()
    try:
        engine.stop(plan.webapp_container)
        yield times
    finally:
        start(plan, engine)
        mark.unlink()
        times["seconds"] = round(time.monotonic() - began, 1)


def create(plan: Plan, engine: Engine, repository: Repository, stores: Sequence[Store], say: Say) -> dict[str, Any]:
    """Make one backup, note what became of it, and give that."""
    began = time.time()
    result = _create(plan, engine, repository, stores, say)
    result["seconds"] = round(time.time() - began, 1)
    result["time"] = began
    note(plan.home, "good", result)
    return result


def note(folder: Path, kind: str, content: Any) -> None:
    """Keep what the last attempts came to, for the playbook status and for those who start this by a timer."""
    path = folder / STATUS
    known = read_json(path) if path.exists() else {}
    write_json(path, {**known, kind: content})


def _create(plan: Plan, engine: Engine, repository: Repository, stores: Sequence[Store], say: Say) -> dict[str, Any]:
    installation = identity(secrets_of(plan.secrets_file)["encryption_key"])
    resume(plan, engine, say)
    open_repository(plan, repository, installation)
    for store in stores:
        store.release()
    check_space(plan, stores)
    plan.stage.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts: dict[str, Facts] = {}
    try:
        say("Taking snapshots" + (" while the webapp is stopped" if plan.pause else ""))
        cut = time.time()
        # All at once: each of them mostly waits.
        with paused(plan, engine) as pause, ThreadPoolExecutor() as pool:
            list(pool.map(lambda store: store.snapshot(), stores))
        for store in stores:
            say(f"Copying {store.name}")
            facts[store.name] = store.copy(plan.stage)
        manifest = {
            "format": FORMAT,
            "name": plan.name,
            "installation": installation,
            "collection_version": plan.collection_version,
            "trigger_version": plan.trigger_version,
            "cut": cut,
            "pause_seconds": pause["seconds"],
            "paused": plan.pause,
            "stores": facts,
            "left_out": dict(plan.left_out),
        }
        write_json(plan.stage / MANIFEST, manifest)
        say(f"Storing the backup in {repository.name}")
        paths = [path for each in facts.values() for path in each.get("paths", {}).values()]
        summary = repository.save([str(plan.stage), *paths], installation)
    finally:
        for store in stores:
            store.release()
    say("Removing backups that are older than the retention")
    repository.prune(plan.keep)
    return {
        "snapshot": summary["snapshot_id"][:8],
        "repository": repository.name,
        "pause_seconds": pause["seconds"],
        "bytes": summary["total_bytes_processed"],
        "bytes_added": summary["data_added"],
        "left_out": dict(plan.left_out),
    }


def open_repository(plan: Plan, repository: Repository, installation: str) -> None:
    """Make the repository if it was never there, and see that it is ours."""
    if not repository.exists():
        path = plan.home / STATUS
        last = read_json(path).get("good", {}) if path.exists() else {}
        if last.get("repository") == repository.name:
            raise BackupError(
                f"{repository.name} had the last backup, and now there is no repository. Is the disk mounted? "
                f"To begin a new repository there, remove {path}."
            )
        repository.make()
    repository.free_stale_locks()
    others = {row.installation for row in repository.snapshots()} - {installation}
    if others:
        raise BackupError(
            f"The repository {repository.name} has backups of another installation. Set backup_repository to a place "
            "of its own."
        )


def check_space(plan: Plan, stores: Sequence[Store]) -> None:
    """Refuse a backup that would fill the disk."""
    plan.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    need = sum(store.size() for store in stores) + SPARE - used(plan.stage)
    free = shutil.disk_usage(plan.home).free
    if free < need:
        raise BackupError(
            f"{plan.home} has {free // 2**20} MiB free; a backup needs up to {need // 2**20} MiB there for its copies."
        )


def used(folder: Path) -> int:
    """Give the bytes that the copy of the last backup takes already."""
    return sum(file.lstat().st_size for file in folder.rglob("*")) if folder.is_dir() else 0
