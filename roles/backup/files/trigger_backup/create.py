# SPDX-License-Identifier: MIT
"""Makes a backup. The webapp is stopped only until every store holds on to its state; the copying follows."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from .engine import Engine
from .plan import FORMAT, Plan, identity, identity_of, read_json, secrets_of, write_json
from .process import BackupError, Say, require_room, used
from .repository import MANIFEST, Repository, short
from .stores import Facts, Store, limited
from .wal import Log

STATUS = "status.json"
# Which backup points belong to.
BASE = "points.json"
PAUSED = "webapp_is_stopped"
# In its container.
WEBAPP_PORT = 3000


def resume(plan: Plan, engine: Engine, stores: Sequence[Store], say: Say) -> None:
    """Start a webapp that an interrupted backup has left stopped, and let go of what was held or begun for it."""
    mark = plan.home / PAUSED
    if mark.exists():
        say("Starting the webapp, which an interrupted backup has left stopped")
        start(plan, engine)
        mark.unlink()
    Log(plan.home).fresh.unlink(missing_ok=True)  # a part of a copy of the database
    let_go(stores, say)


def let_go(stores: Sequence[Store], say: Say) -> None:
    """Release every store. A fault of one must hide neither the others nor what went wrong before."""
    for store in stores:
        try:
            store.release()
        except (BackupError, OSError) as error:
            say(f"{store.name} was not released: {error}")


def start(plan: Plan, engine: Engine) -> None:
    """Start the webapp, and wait until it answers: Docker's own look at its health comes up to 5 s later."""
    engine.start(plan.webapp_container)
    engine.answers(plan.webapp_container, WEBAPP_PORT, "/healthcheck", plan.webapp_start_seconds)


@contextmanager
def paused(plan: Plan, engine: Engine, pause: bool) -> Iterator[dict[str, float]]:
    """Keep the webapp stopped, if it is to be and runs. Gives the seconds without it when it is over."""
    times = {"seconds": 0.0}
    if not pause or not engine.running(plan.webapp_container):
        yield times
        return
    mark = plan.home / PAUSED
    mark.touch()
    began = time.monotonic()
    try:
        engine.stop(plan.webapp_container)
        yield times
        if engine.running(plan.webapp_container):
            raise BackupError("Something else has started the webapp during the backup. Start the backup again.")
    finally:
        start(plan, engine)
        mark.unlink()
        times["seconds"] = round(time.monotonic() - began, 1)


def create(plan: Plan, engine: Engine, repository: Repository, stores: Sequence[Store], say: Say) -> dict[str, Any]:
    """Make one backup, note what became of it, and give that."""
    began = time.time()
    note(plan.home, "failed", {"time": began, "error": ""})
    result = _create(plan, engine, repository, stores, say)
    result["seconds"] = round(time.time() - began, 1)
    result["time"] = began
    note(plan.home, "good", result)
    forget(plan.home, "failed")
    say("Removing backups that are older than the retention")
    try:
        repository.prune(plan.keep, plan.point_keep_days)
    except BackupError as error:
        raise BackupError(f"The backup {result['snapshot']} is stored, but older ones remain: {error}") from None
    return result


def found_points(folder: Path, repository: str, backup: str) -> None:
    """Keep which backup the next points belong to: the last one, or the one that was restored."""
    put_base_backup(folder, {"repository": repository, "id": short(backup), "time": time.time()})


def put_base_backup(folder: Path, content: Mapping[str, Any]) -> None:
    write_json(folder / BASE, content) if content else (folder / BASE).unlink(missing_ok=True)


def base_backup(folder: Path) -> dict[str, Any]:
    """Give the backup that points belong to; nothing if there is none."""
    path = folder / BASE
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found


def results(folder: Path) -> dict[str, Any]:
    """Read what the last attempts came to."""
    path = folder / STATUS
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found


def note(folder: Path, kind: str, content: Any) -> None:
    """Keep what an attempt came to, for the playbook status and for those who start this by a timer."""
    write_json(folder / STATUS, {**results(folder), kind: content})


def forget(folder: Path, kind: str) -> None:
    """Forget a failure, or that an attempt has begun."""
    known = results(folder)
    if known.pop(kind, None):
        write_json(folder / STATUS, known)


def _create(plan: Plan, engine: Engine, repository: Repository, stores: Sequence[Store], say: Say) -> dict[str, Any]:
    resume(plan, engine, stores, say)
    open_repository(plan, repository, installation_of(plan))
    return take(plan, engine, repository, stores, say, pause=plan.pause)


def installation_of(plan: Plan) -> str:
    """Give what tells the installation of this host from others."""
    return identity_of(secrets_of(plan.secrets_file))


def take(
    plan: Plan,
    engine: Engine,
    repository: Repository,
    stores: Sequence[Store],
    say: Say,
    *,
    pause: bool,
    backup: str = "",
    excluded: Sequence[str] = (),
    unlock: bool = False,
) -> dict[str, Any]:
    """Save the state of some stores: a backup, or a point of one.

    `excluded`: what of the stage is no part of it. `unlock`: whether the last one may have left a lock.
    """
    installation = installation_of(plan)
    plan.stage.mkdir(parents=True, exist_ok=True, mode=0o700)
    clean_stage(plan.stage, stores)
    check_space(plan, engine, repository, stores, is_point=bool(backup), excluded=excluded)
    facts: dict[str, Facts] = {}
    try:
        for store in stores:
            store.prepare()
        say("Taking snapshots" + (" while the webapp is stopped" if pause else ""))
        cut = time.time()
        # All at once: each of them mostly waits.
        with (
            paused(plan, engine, pause) as away,
            limited(stores) if pause else nullcontext(),
            ThreadPoolExecutor() as pool,
        ):
            list(pool.map(lambda store: store.snapshot(), stores))
        for store in stores:
            say(f"Copying {store.name}")
            copied = store.copy(plan.stage)
            facts[store.name] = {**copied, "exact": pause and copied.get("exact", True)}
        manifest = {
            "format": FORMAT,
            "name": plan.name,
            "installation": installation,
            "collection_version": plan.collection_version,
            "trigger_version": running_version(plan, engine),
            "cut": cut,
            "pause_seconds": away["seconds"],
            "paused": pause,
            "volumes": plan.volumes,
            "stores": facts,
            "left_out": dict(plan.left_out),
            "of_backup": [name for name in plan.stores if name not in facts],
        }
        paths = [path for each in facts.values() for path in each.get("paths", {}).values()]
        if not backup:  # for lists: restic would read the whole tree of each backup
            manifest["bytes"] = sum(used(Path(path)) for path in (plan.stage, *paths))
        write_json(plan.stage / MANIFEST, manifest)
        say(f"Storing it in {repository.name}")
        key = identity(secrets_of(plan.secrets_file)["encryption_key"])
        if unlock:
            repository.free_stale_locks()
        summary = repository.save([str(plan.stage), *paths], installation, cut, backup, excluded, key)
    finally:
        let_go(stores, say)
    if not backup:
        found_points(plan.home, repository.name, summary["snapshot_id"])
    return {
        "snapshot": summary["snapshot_id"][:8],
        "repository": repository.name,
        "pause_seconds": away["seconds"],
        "bytes": summary["total_bytes_processed"],
        "bytes_added": summary["data_added"],
        "left_out": dict(plan.left_out),
    }


def running_version(plan: Plan, engine: Engine) -> str:
    """Give the version that the data is of: the inventory may want another one already."""
    found = re.search(r":(v\d+\.\d+\.\d+[^@]*)", engine.image(plan.webapp_container))
    return found[1] if found else plan.trigger_version


def open_repository(plan: Plan, repository: Repository, installation: str) -> None:
    """Make the repository if it was never there, and see that it is ours."""
    if not repository.exists():
        path = plan.home / STATUS
        last = results(plan.home).get("good", {})
        if last.get("repository") == repository.name:
            raise BackupError(
                f"{repository.name} had the last backup, and now there is no repository. Is the disk mounted? "
                f"To begin a new repository there, remove {path}."
            )
        repository.make()
    repository.free_stale_locks()
    repository.require_lock()  # without it the backup would fail after the pause and all copies
    others = {row.installation for row in repository.snapshots()} - {installation}
    if others:
        raise BackupError(
            f"The repository {repository.name} has backups of another installation. Set backup_repository to a place "
            "of its own."
        )


def clean_stage(stage: Path, stores: Sequence[Store]) -> None:
    """Remove copies of stores that are not saved any more: a backup has everything that is in the stage."""
    wanted = {MANIFEST, *(name for store in stores for name in store.staged)}
    for path in [path for path in stage.iterdir() if path.name not in wanted]:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def check_space(
    plan: Plan,
    engine: Engine,
    repository: Repository,
    stores: Sequence[Store],
    *,
    is_point: bool = False,
    excluded: Sequence[str] = (),
) -> None:
    """Refuse a backup that would fill a disk. ClickHouse copies into its own volume, the others into the stage.

    `excluded`: what of the stage stays beside the new copies.
    """
    plan.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    sizes = {store.name: store.size() for store in stores}
    in_volume = sizes.pop("clickhouse", 0)
    replaced = used(plan.stage) - sum(used(Path(path)) for path in excluded)
    needs = [(plan.home, max(0, sum(sizes.values()) - replaced)), (engine.root(), in_volume)]
    doing = "a point" if is_point else "a backup"
    if repository.folder:
        needs.append((existing(repository.folder), growth(plan, repository, stores, is_point=is_point)))
        doing += f" with what it adds to {repository.name} (backup_repository)"
    require_room(needs, doing)


def growth(plan: Plan, repository: Repository, stores: Sequence[Store], *, is_point: bool) -> int:
    """Give what a repository will take about: all of a first backup, twice what the last one has added afterwards."""
    last = results(plan.home).get("point" if is_point else "good", {})
    if last.get("repository") == repository.name:
        # The first one has added everything, which the second one will not.
        return min(2 * int(last.get("bytes_added", 0)), int(last.get("bytes", 0)) // 4)
    # After a restore nothing is known but that there are backups.
    first = not is_point and base_backup(plan.home).get("repository") != repository.name
    return sum(store.stored() for store in stores) if first else 0


def existing(folder: Path) -> Path:
    """Give a folder, or the one in which it will be made."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
