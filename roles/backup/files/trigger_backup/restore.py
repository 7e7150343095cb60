# SPDX-License-Identifier: MIT
"""Restores a backup, here or on an empty host. What it replaces stays until the result is accepted."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .aside import Aside, Volumes
from .clickhouse import ClickHouse
from .engine import Engine
from .files import FOLDER, PLAN
from .plan import FORMAT, Plan, home, plan_of, read_json, secrets_of, write_json
from .process import BackupError, Shell
from .repository import Repository, Snapshot
from .stores import Files, Store

STATE = "restore.json"
FETCHED = "restore"
REPLACED = "replaced"
# The last step.
COMPLETE = "complete"
SUFFIX = "_replaced"
PROJECT = "trigger-backup-restore"
# Compose projects of a control host, those that use the networks of others first.
PROJECTS = ("gateway", "registry", "webapp")
SPARE = 2**28

Say = Callable[[str], None]
StoresOf = Callable[[Plan, Engine, Mapping[str, str]], Sequence[Store]]


class Restore:
    """A restore on this host, which another call goes on with if it is interrupted."""

    def __init__(self, directory: Path, engine: Engine, stores_of: StoresOf, say: Say) -> None:
        self.directory = directory
        self.home = home(directory)
        self.engine = engine
        self.stores_of = stores_of
        self.say = say

    # -- the state of an interrupted one -----------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        path = self.home / STATE
        found: dict[str, Any] = read_json(path) if path.exists() else {}
        return found

    def keep(self, **facts: Any) -> None:
        write_json(self.home / STATE, {**self.state, **facts})

    # -- the restore -------------------------------------------------------------------------------------------------

    def choose(self, repository: Repository, wanted: str, installation: str | None) -> Snapshot:
        """Give the backup to restore: that of an interrupted restore comes first."""
        begun = self.state.get("snapshot", "")
        if begun and wanted not in ("latest", begun[: len(wanted)]):
            raise BackupError(
                f"The restore of the backup {begun[:8]} is not over. Set backup_restore_snapshot={begun[:8]} to go on "
                f"with it, or take it back: {self.home}/trigger-backup undo"
            )
        return repository.choose(begun or wanted, None if begun else installation)

    def run(self, repository: Repository, snapshot: Snapshot, wanted_version: str, replace: bool) -> dict[str, Any]:
        manifest = repository.manifest(snapshot)
        check_manifest(manifest, snapshot, wanted_version)
        if not self.state:
            self.check_target(manifest, replace)
            self.check_space(repository, snapshot)
        self.keep(snapshot=snapshot.id, cut=manifest["cut"])
        if COMPLETE not in self.state.get("done", []):
            self.carry_out(repository, snapshot, manifest)
        shutil.rmtree(self.home / FETCHED, ignore_errors=True)
        return {"snapshot": snapshot.id, "cut": manifest["cut"], "trigger_version": manifest["trigger_version"]}

    def carry_out(self, repository: Repository, snapshot: Snapshot, manifest: Mapping[str, Any]) -> None:
        """Take the steps that are not done yet."""
        done: list[str] = self.state.get("done", [])
        files = Files(self.home / FETCHED, Path(snapshot.stage))

        def step(name: str, text: str, action: Callable[[], None]) -> None:
            if name not in done:
                self.say(text)
                action()
                done.append(name)
                self.keep(done=done)

        step("fetch", "Fetching the backup", lambda: self.fetch(repository, snapshot))
        plan = plan_of(files.stage / PLAN)
        if plan.directory != self.directory:
            self.forget()
            raise BackupError(f"The backup is of an installation in {plan.directory}: set trigger_directory to that.")
        step("stop", "Stopping what runs", self.stop)
        step("set_aside", "Setting aside what is there", lambda: self.set_aside(plan))
        step("files", "Restoring the files", lambda: self.put_files(plan, files))
        secrets = secrets_of(files.stage / FOLDER / plan.secrets_file.name)
        stores = self.stores_of(plan, self.engine, secrets)
        self.restore_stores(plan, stores, files, manifest, step)
        self.keep(done=[*done, COMPLETE])

    def restore_stores(
        self,
        plan: Plan,
        stores: Sequence[Store],
        files: Files,
        manifest: Mapping[str, Any],
        step: Callable[[str, str, Callable[[], None]], None],
    ) -> None:
        aside = Aside(self.engine, PROJECT, self.home / "aside", plan.webapp_start_seconds)
        services = [row["service"] for row in plan.stores.values() if row.get("service")]
        left = [store for store in stores if store.name not in self.state.get("done", [])]
        if not left:
            return
        try:
            if services:
                self.say("Starting the stores on their own")
                aside.write(plan.webapp_directory, services, (plan.directory, plan.directory))
                aside.up()
            for store in left:
                facts = manifest["stores"][store.name]
                put = partial(put_store, aside, plan, store, files, facts)
                step(store.name, f"Restoring {store.name}", put)
        finally:
            aside.down()

    def check_target(self, manifest: Mapping[str, Any], replace: bool) -> None:
        """Refuse to replace anything that one was not told to replace."""
        found = sorted(path.name for path in self.directory.iterdir() if path != self.home)
        if found and not replace:
            made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(manifest["cut"]))
            raise BackupError(
                f"{self.directory} has an installation ({', '.join(found[:6])}). Its data would be replaced by "
                f"that of {made}. If that is meant, set backup_restore_replace_enabled=true: what is there now is kept "
                "until the restored installation works."
            )

    def check_space(self, repository: Repository, snapshot: Snapshot) -> None:
        """Fetched and put in place, everything is there twice for a while."""
        need = repository.size(snapshot) * 2 + SPARE
        free = shutil.disk_usage(self.home).free
        if free < need:
            raise BackupError(f"{self.home} has {free // 2**20} MiB free; this restore needs {need // 2**20} MiB.")

    def fetch(self, repository: Repository, snapshot: Snapshot) -> None:
        shutil.rmtree(self.home / FETCHED, ignore_errors=True)
        (self.home / FETCHED).mkdir(mode=0o700)
        repository.fetch(snapshot, self.home / FETCHED)

    def stop(self) -> None:
        for project in PROJECTS:
            folder = self.directory / project
            if (folder / "compose.yml").exists():
                words = ["docker", "compose", "--project-directory", str(folder), "--file", str(folder / "compose.yml")]
                self.engine.shell.output([*words, "down"], doing=f"Stopping the project {project}")

    def set_aside(self, plan: Plan) -> None:
        """Move what is there to where it can be brought back from. A second call finds the rest."""
        target = self.home / REPLACED
        target.mkdir(exist_ok=True, mode=0o700)
        moved: list[str] = self.state.get("volumes", [])
        for name in volumes_of(plan):
            folder = self.engine.volume(name)
            if folder and any(folder.iterdir()):
                if name not in moved:
                    moved.append(name)
                    self.keep(volumes=moved)
                move(folder, self.engine.make_volume(name + SUFFIX))
        for path in [*(path for path in self.directory.iterdir() if path != self.home)]:
            os.replace(path, target / path.name)

    def put_files(self, plan: Plan, files: Files) -> None:
        source = files.stage / FOLDER
        for path in source.iterdir():
            outside = path.name == plan.secrets_file.name and plan.directory not in plan.secrets_file.parents
            target = plan.secrets_file.parent if outside else self.directory
            Shell().output(["cp", "--archive", "--remove-destination", str(path), str(target)])
        for row in plan.stores.values():
            if row.get("labels") and not self.engine.volume(row["volume"]):
                self.engine.make_volume(row["volume"], row["labels"])

    # -- afterwards --------------------------------------------------------------------------------------------------

    def accept(self) -> bool:
        """Remove what was replaced. Tells whether there was anything to do."""
        if not self.state:
            return False
        if COMPLETE not in self.state.get("done", []):
            raise BackupError("The restore is not complete: start the playbook backup_restore again.")
        for name in self.state.get("volumes", []):
            self.engine.remove_volume(name + SUFFIX)
        shutil.rmtree(self.home / REPLACED, ignore_errors=True)
        self.forget()
        return True

    def undo(self) -> bool:
        """Bring back what was replaced. Tells whether there was anything to do."""
        state = self.state
        if not state:
            return False
        Aside(self.engine, PROJECT, self.home / "aside", 60).down()
        if "stop" in state.get("done", []):
            self.stop()
            self.bring_back("set_aside" in state["done"])
        for name in state.get("volumes", []):
            self.engine.remove_volume(name + SUFFIX)
        shutil.rmtree(self.home / REPLACED, ignore_errors=True)
        self.forget()
        return True

    def bring_back(self, complete: bool) -> None:
        """Move back what was set aside; what the restore has put there goes first, if everything was set aside."""
        emptied: list[str] = self.state.get("emptied", [])

        def clear(name: str, action: Callable[[], None]) -> None:
            if complete and name not in emptied:
                action()
                emptied.append(name)
                self.keep(emptied=emptied)

        for name in self.state.get("volumes", []):
            kept = self.engine.volume(name + SUFFIX)
            if kept and any(kept.iterdir()):
                folder = self.engine.make_volume(name)
                clear(name, lambda folder=folder: empty(folder))  # type: ignore[misc]
                move(kept, folder)
        clear("files", lambda: empty(self.directory, self.home))
        target = self.home / REPLACED
        for path in [*target.iterdir()] if target.exists() else []:
            os.replace(path, self.directory / path.name)

    def forget(self) -> None:
        shutil.rmtree(self.home / FETCHED, ignore_errors=True)
        (self.home / STATE).unlink(missing_ok=True)


def put_store(aside: Aside, plan: Plan, store: Store, files: Files, facts: Mapping[str, Any]) -> None:
    """Restore one store, and see that it is as it was."""
    row = plan.stores.get(store.name, {})
    service = aside.service(row["service"]) if row.get("service") else Volumes(aside)
    store.restore(service, files, facts)
    wrong = store.compare(service, facts)
    if wrong:
        raise BackupError(f"What was restored is not what was backed up: {'; '.join(wrong[:5])}")
    if isinstance(store, ClickHouse):
        store.level(service.container, facts["cut"])


def check_manifest(manifest: Mapping[str, Any], snapshot: Snapshot, wanted_version: str) -> None:
    """Refuse a backup that this version of the collection, or of Trigger.dev, cannot know."""
    name = snapshot.id[:8]
    if manifest["format"] > FORMAT:
        raise BackupError(
            f"The backup {name} was made with version {manifest['collection_version']} of the collection, which is "
            "newer. Install that version or a later one."
        )
    if wanted_version and number(manifest["trigger_version"]) > number(wanted_version):
        raise BackupError(
            f"The backup {name} is of Trigger.dev {manifest['trigger_version']}, and trigger_version is "
            f"{wanted_version}. Set trigger_version to {manifest['trigger_version']} or later: "
            "an older webapp would not know the tables."
        )


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def volumes_of(plan: Plan) -> list[str]:
    return [row["volume"] for row in plan.stores.values() if row.get("volume")]


def move(source: Path, target: Path) -> None:
    """Move everything in a folder into another one, and give that the owner and mode of the first."""
    for path in [*source.iterdir()]:
        shutil.move(str(path), str(target / path.name))
    facts = source.stat()
    os.chown(target, facts.st_uid, facts.st_gid)
    target.chmod(facts.st_mode & 0o7777)


def empty(folder: Path, spared: Path | None = None) -> None:
    for path in [path for path in folder.iterdir() if path != spared]:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
