# SPDX-License-Identifier: MIT
"""Restores a backup, here or on an empty host. What it replaces stays until the result is accepted."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .aside import Aside, AsideService, Volumes
from .create import base_backup, found_points, put_base_backup
from .engine import Engine
from .files import FOLDER, PLAN
from .journal import COMPLETE, Journal
from .plan import FORMAT, SAVED, Plan, home, plan_of, secrets_of, write_json
from .process import BackupError, Say, Shell, empty_folder, remove_folder, require_room
from .quantity import moment
from .repository import Repository, Snapshot
from .stores import Files, Store

STATE = "restore.json"
FETCHED = "restore"
REPLACED = "replaced"
SUFFIX = "_replaced"
# A secrets file that is not in the folder of the installation, among what is replaced.
OUTSIDE = ".secrets_file"
PROJECT = "trigger-backup-restore"
# Compose projects of a control host, those that use the networks of others first.
PROJECTS = ("trigger-gateway", "trigger-registry", "trigger-webapp")

StoresOf = Callable[[Plan, Engine, Mapping[str, str]], Sequence[Store]]


class Restore(Journal):
    """A restore on this host, which another call goes on with if it is interrupted."""

    def __init__(self, directory: Path, engine: Engine, stores_of: StoresOf, say: Say) -> None:
        super().__init__(home(directory) / STATE, say)
        self.directory = directory
        self.home = home(directory)
        self.engine = engine
        self.stores_of = stores_of

    # -- the restore -------------------------------------------------------------------------------------------------

    def choose(self, repository: Repository, wanted: str, installation: str | None) -> Snapshot:
        """Give the backup to restore: that of an interrupted restore comes first."""
        self.refuse_undoing()
        # Before anything was stopped, nothing was restored: that one is begun anew.
        begun = self.state.get("snapshot", "") if "stop" in self.done else ""
        if begun and wanted == "latest" and repository.newest().id != self.state["newest"]:
            raise BackupError(
                f"The restore of the backup {begun[:8]} was not finished, and a newer backup was made since. To finish "
                f"it, set backup_restore_snapshot={begun[:8]}. To keep what is there now, run on the host: "
                f"{self.home}/trigger-backup accept"
            )
        if begun and wanted not in ("latest", begun[: len(wanted)]):
            raise BackupError(
                f"The restore of the backup {begun[:8]} is not over. Set backup_restore_snapshot={begun[:8]} to "
                f"continue it, or undo it: {self.home}/trigger-backup undo"
            )
        return repository.choose(begun or wanted, None if begun else installation)

    def run(
        self, repository: Repository, snapshot: Snapshot, wanted_version: str, replace: bool, postgres: str = ""
    ) -> dict[str, Any]:
        """Restore. `postgres`: the major version that is deployed afterwards, if the inventory tells it."""
        manifest, backup = whole(repository, snapshot)
        check_manifest(manifest, snapshot, wanted_version)
        check_postgres(manifest, snapshot, postgres)
        if "stop" not in self.done:
            self.forget()
            self.check_target(manifest, replace)
            size = sum(repository.size(each) for each in (snapshot, backup) if each)
            require_room_twice(self.engine, self.home, size, "a restore")
            self.keep(snapshot=snapshot.id, newest=repository.newest().id, targets=manifest["volumes"])
        if COMPLETE not in self.done:
            self.carry_out(repository, snapshot, backup, manifest)
        remove_folder(self.home / FETCHED)
        result = {"snapshot": snapshot.id, "cut": manifest["cut"], "trigger_version": manifest["trigger_version"]}
        return {**result, "text": told(snapshot, backup, manifest)}

    def carry_out(
        self, repository: Repository, snapshot: Snapshot, backup: Snapshot | None, manifest: Mapping[str, Any]
    ) -> None:
        """Take the steps that are not done yet."""
        self.aside(1).down()  # a restore that was killed has left its containers, which must not write beside others
        files = Files(self.home / FETCHED, Path(snapshot.stage))
        self.step("fetch", "Fetching the backup", lambda: self.fetch(repository, snapshot, backup, manifest))
        plan = plan_of(files.stage / PLAN, SAVED)
        if plan.directory != self.directory:
            self.forget()
            raise BackupError(f"The backup is of an installation in {plan.directory}: set trigger_directory to that.")
        self.step("stop", "Stopping what runs", self.stop)
        self.step("set_aside", "Setting aside what is there", lambda: self.set_aside(plan))
        self.step("files", "Restoring the files", lambda: self.put_files(plan, files, repository.key))
        secrets = secrets_of(files.stage / FOLDER / plan.secrets_copy, SAVED)
        stores = self.stores_of(plan, self.engine, secrets)
        self.restore_stores(plan, stores, files, manifest)
        # What a later backup has of ClickHouse is of a history that ends here: points must not use it.
        if "points_of" not in self.state:
            self.keep(points_of=base_backup(self.home))
        # Points belong to a backup only. That of a restored point is the same, also if nothing of it was needed.
        found_points(self.home, repository.name, snapshot.backup if snapshot.point else snapshot.id)
        self.keep(done=[*self.done, COMPLETE])

    def restore_stores(self, plan: Plan, stores: Sequence[Store], files: Files, manifest: Mapping[str, Any]) -> None:
        aside = self.aside(plan.webapp_start_seconds)
        left = [store for store in stores if store.name not in self.done]
        if not left:
            return
        begun: list[str] = self.state.get("begun", [])
        for store in left:
            self.clear(plan, store.name, begun)
        try:
            self.say("Starting the stores on their own")
            aside.up(plan.webapp_directory, plan.services, (plan.directory, plan.directory))
            for store in left:
                facts = manifest["stores"][store.name]
                begun.append(store.name)
                self.keep(begun=begun)
                put = partial(put_store, aside, plan, store, files, facts)
                self.step(store.name, f"Restoring {store.name}", put)
        finally:
            aside.down()

    def clear(self, plan: Plan, name: str, begun: Sequence[str]) -> None:
        """Empty the volume of a store whose restore was interrupted: a service may not start with half of its data."""
        volume = plan.stores.get(name, {}).get("volume", "")
        folder = self.engine.volume(volume) if volume and name in begun else None
        if folder:
            empty_folder(folder)

    def aside(self, wait_seconds: int) -> Aside:
        return Aside(self.engine, PROJECT, self.home / "aside", wait_seconds)

    def check_target(self, manifest: Mapping[str, Any], replace: bool) -> None:
        """Refuse to replace anything that one was not told to replace."""
        files = sorted(path.name for path in self.directory.iterdir() if path != self.home)
        volumes = [name for name in manifest["volumes"] if holds(self.engine.volume(name))]
        found = files + [f"volume {name}" for name in volumes]
        if found and not replace:
            made = moment(manifest["cut"])
            raise BackupError(
                f"{self.directory} has an installation ({', '.join(found[:6])}). Its data would be replaced by "
                f"that of {made}. If that is meant, set backup_restore_replace_enabled to true: what is there now is "
                "kept until the restored installation works."
            )

    def fetch(
        self, repository: Repository, snapshot: Snapshot, backup: Snapshot | None, manifest: Mapping[str, Any]
    ) -> None:
        remove_folder(self.home / FETCHED)
        (self.home / FETCHED).mkdir(mode=0o700)
        repository.fetch(snapshot, self.home / FETCHED)
        if backup:
            parts = [manifest["stores"][name] for name in manifest["of_backup"]]
            repository.fetch(backup, self.home / FETCHED, [path for part in parts for path in part["paths"].values()])

    def stop(self) -> None:
        """Stop and remove the containers, whatever became of the files of their projects."""
        for project in PROJECTS:
            self.engine.remove_project(project)

    def set_aside(self, plan: Plan) -> None:
        """Move what is there to where it can be brought back from. A second call finds the rest."""
        target = self.home / REPLACED
        target.mkdir(exist_ok=True, mode=0o700)
        moved: list[str] = self.state.get("volumes", [])
        for name in plan.volumes:
            folder = self.engine.volume(name)
            if folder and holds(folder):
                if name not in moved:
                    moved.append(name)
                    self.keep(volumes=moved)
                move(folder, self.engine.make_volume(name + SUFFIX))
        for path in [*(path for path in self.directory.iterdir() if path != self.home)]:
            os.replace(path, target / path.name)
        if plan.secrets_are_outside and plan.secrets_file.exists():
            os.replace(shutil.copy2(plan.secrets_file, target / "outside.new"), target / OUTSIDE)
            self.keep(outside=str(plan.secrets_file))

    def put_files(self, plan: Plan, files: Files, key: str) -> None:
        """Put the files in place. The key of the backup may open nothing any more, so the present one is kept."""
        source = files.stage / FOLDER
        for path in source.iterdir():
            outside = path.name == plan.secrets_file.name and plan.secrets_are_outside
            target = plan.secrets_file.parent if outside else self.directory
            target.mkdir(parents=True, exist_ok=True)
            Shell().output(["cp", "--archive", "--remove-destination", str(path), str(target)])
        secrets = secrets_of(plan.secrets_file)
        if secrets.get("backup_key") != key:
            write_json(plan.secrets_file, {**secrets, "backup_key": key})
        for row in plan.stores.values():
            if row.get("labels"):
                self.engine.make_volume(row["volume"], row["labels"])

    # -- afterwards --------------------------------------------------------------------------------------------------

    def accept(self) -> bool:
        """Remove what was replaced. Tells whether there was anything to do."""
        if not self.state:
            return False
        self.refuse_undoing()
        if COMPLETE not in self.done:
            raise BackupError("The restore is not complete: start the playbook backup_restore again.")
        self.keep(accepted=True)
        self.aside(1).down()
        for name in self.state.get("volumes", []):
            self.engine.remove_volume(name + SUFFIX)
        remove_folder(self.home / REPLACED)
        self.forget()
        return True

    def undo(self, discard: bool) -> bool:
        """Bring back what was replaced. Tells whether there was anything to do."""
        state = self.state
        if not state:
            return False
        if state.get("accepted"):
            raise BackupError(
                f"What the restore has replaced was removed already. Finish that: {self.home}/trigger-backup accept"
            )
        if COMPLETE in state.get("done", []) and not discard and not state.get("undoing"):
            raise BackupError(
                "The restore is complete. Everything that was done in the restored installation would be lost: if that "
                "is meant, add --discard."
            )
        self.keep(undoing=True)
        self.aside(1).down()
        if "stop" in state.get("done", []):
            self.stop()
            self.bring_back("set_aside" in state["done"])
        if "points_of" in state:
            put_base_backup(self.home, state["points_of"])
        for name in state.get("volumes", []):
            self.engine.remove_volume(name + SUFFIX)
        remove_folder(self.home / REPLACED)
        self.forget()
        return True

    def refuse_undoing(self) -> None:
        """Go neither on nor to the end: a part of what was replaced is back already."""
        if self.state.get("undoing"):
            raise BackupError(f"The restore is being undone. Finish that: {self.home}/trigger-backup undo")

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
            if kept and holds(kept):
                folder = self.engine.make_volume(name)
                clear(name, partial(empty_folder, folder))
                move(kept, folder)
        for name in self.state["targets"]:
            unwanted = self.engine.volume(name)
            if unwanted and name not in self.state.get("volumes", []):  # it was empty before
                clear(name, partial(empty_folder, unwanted))
        clear("files", lambda: empty_folder(self.directory, self.home))
        target = self.home / REPLACED
        for path in [*target.iterdir()] if target.exists() else []:
            outside = path.name == OUTSIDE
            os.replace(path, self.directory / path.name) if not outside else shutil.copy2(path, self.state["outside"])

    def forget(self) -> None:
        remove_folder(self.home / FETCHED)
        super().forget()


def whole(repository: Repository, snapshot: Snapshot) -> tuple[dict[str, Any], Snapshot | None]:
    """Give the manifest; of a point, with the stores that come from the backup before it, and that backup."""
    manifest = repository.manifest(snapshot)
    names: list[str] = manifest.get("of_backup", [])
    if "postgres" in manifest["stores"] and "clickhouse" not in [*manifest["stores"], *names]:
        manifest["stores"]["postgres"]["alone"] = True
    if not names:
        return manifest, None
    backup = next((row for row in repository.snapshots() if row.short == snapshot.backup), None)
    if not backup:
        raise BackupError(f"The backup that the point {snapshot.id[:8]} belongs to is gone. Choose another time.")
    stores: dict[str, Any] = repository.manifest(backup)["stores"]
    lacking = [name for name in names if name not in stores]
    if lacking:
        raise BackupError(
            f"The point {snapshot.id[:8]} has {', '.join(lacking)} from the backup {backup.id[:8]}, which lacks it "
            "(backup_include). Choose a time after another backup."
        )
    manifest["stores"].update({name: stores[name] for name in names})
    if "clickhouse" in names and "postgres" in manifest["stores"]:
        manifest["stores"]["postgres"]["analytics_cut"] = stores["clickhouse"]["cut"]
    return manifest, backup


def told(snapshot: Snapshot, backup: Snapshot | None, manifest: Mapping[str, Any]) -> str:
    """Say of which time each store is."""
    when = moment(manifest["cut"])
    if not backup:
        kind = "point" if snapshot.point else "backup"
        return f"The {kind} {snapshot.id[:8]} is restored: everything is of {when}."
    names = ", ".join(sorted(name for name in manifest["stores"] if name not in manifest["of_backup"]))
    older = ", ".join(manifest["of_backup"])
    return (
        f"The point {snapshot.id[:8]} is restored. Of {when}: {names}. Of {moment(backup.cut)} (the backup "
        f"{backup.id[:8]}): {older}. The webapp sends the runs that have changed since to ClickHouse once more; logs "
        "and spans that ClickHouse got since are lost."
    )


def put_store(aside: Aside, plan: Plan, store: Store, files: Files, facts: Mapping[str, Any]) -> None:
    """Restore one store, and see that it is as it was."""
    row = plan.stores.get(store.name, {})
    service = AsideService(aside, row["service"]) if row.get("service") else Volumes(aside)
    try:
        store.restore(service, files, facts)
    except FileNotFoundError as error:
        lost = Path(str(error.filename or "/"))
        if files.stage not in lost.parents:
            raise
        raise BackupError(
            f"What was saved of {store.name} is not complete: {lost.relative_to(files.stage)} is missing. Restore "
            "another backup (playbook backup_list)."
        ) from None
    wrong = store.compare(service, facts)
    if wrong:
        raise BackupError(f"The restored {store.name} is not as the backup says: {'; '.join(wrong[:5])}")
    store.level(service, facts)


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


def check_postgres(manifest: Mapping[str, Any], snapshot: Snapshot, wanted: str) -> None:
    """Refuse data that the Postgres of the inventory cannot read. The restore itself has the image of the backup."""
    version = manifest["stores"].get("postgres", {}).get("version", "")
    found = re.match(r"\d+", version)
    if wanted and found and found[0] != wanted:
        raise BackupError(
            f"The backup {snapshot.id[:8]} is of Postgres {version}, and webapp_postgres_image is of {wanted}, "
            f"which cannot read such data. Set webapp_postgres_image to an image of Postgres {found[0]} for the "
            "restore. The playbook postgres_upgrade moves the data to another version afterwards."
        )


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def require_room_twice(engine: Engine, folder: Path, size: int, doing: str) -> None:
    """Fetched and put into volumes, everything is there twice for a while."""
    require_room([(folder, size), (engine.root(), size)], doing)


def holds(folder: Path | None) -> bool:
    return folder is not None and any(folder.iterdir())


def move(source: Path, target: Path) -> None:
    """Move everything in a folder into another one, and give that the owner and mode of the first.

    These come first: what is taken back after a kill in the middle gets them from there.
    """
    facts = source.stat()
    os.chown(target, facts.st_uid, facts.st_gid)
    target.chmod(facts.st_mode & 0o7777)
    for path in [*source.iterdir()]:
        shutil.move(str(path), str(target / path.name))
