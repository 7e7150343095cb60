# SPDX-License-Identifier: MIT
"""Another major version of Postgres: a dump into a new volume. The old data is kept until that is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .aside import Aside, AsideService, Change
from .create import PAUSED
from .engine import Engine
from .halt import stopped
from .journal import COMPLETE, Journal
from .plan import JOURNAL, Plan, read_json
from .postgres import Postgres
from .process import BackupError, Say, empty_folder, remove_folder, require_room, said
from .restore import PROJECTS, STATE, holds, move
from .stores import Files

# There from the moment on that the old data is moved away, until it is accepted or taken back.
UPGRADE = "postgres_upgrade.json"
FOLDER = "postgres_upgrade"
PROJECT = "trigger-postgres-upgrade"
# The playbook uninstall finds what is kept by it.
LABEL = "dev.trigger.ansible/role=webapp"
# As the role reads it.
TAG_MAJOR = re.compile(r":(\d+)(?=[.-]|$)[^:/]*$")
OTHERS = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', current_database())"


class Upgrade(Journal):
    """An upgrade on this host, which another call goes on with if it is interrupted."""

    def __init__(self, plan: Plan, engine: Engine, say: Say) -> None:
        row = plan.stores.get("postgres")
        if not row:
            raise BackupError(
                "There is no bundled Postgres here that backups include: it is external (webapp_postgres_url), or "
                "backup_include leaves it out."
            )
        super().__init__(plan.home / UPGRADE, say)
        self.plan = plan
        self.engine = engine
        self.store = Postgres(engine, row)
        self.row: Mapping[str, Any] = row
        self.volume: str = row["volume"]
        self.aside = Aside(engine, PROJECT, plan.home / "aside_upgrade", plan.webapp_start_seconds, f"{PROJECT}-")

    @property
    def kept(self) -> str:
        """The volume of the old data."""
        return self.volume.removesuffix("_data") + "_old_data"

    # -- the upgrade -------------------------------------------------------------------------------------------------

    def run(self, image: str, check: bool) -> dict[str, Any]:
        """Upgrade to the major of an image, or only see whether that can be done."""
        state = self.state
        if state.get("undoing"):
            raise BackupError(
                f"The upgrade is being undone. Finish that: {self.plan.home}/trigger-backup postgres-undo"
            )
        begun = bool(state) and COMPLETE not in state["done"]
        there = state["from"] if begun else self.major_of_data()
        wanted = self.major_of_image(image, check)
        if not wanted:
            return {"changed": True, "from": there, "to": ""}
        if state and not begun and there == wanted:
            return {"changed": False, "from": state["from"], "to": there}
        if not state:
            self.check(there, wanted, image)
        elif not begun:
            raise BackupError(
                f"The data from before the last upgrade (Postgres {state['from']}) is kept in the volume {self.kept}. "
                "Accept that upgrade first: set webapp_postgres_image to its image of Postgres "
                f"{there}, and backup_postgres_upgrade_accept_enabled to true."
            )
        elif state["to"] != wanted:
            raise BackupError(
                f"The upgrade to Postgres {state['to']} is not complete, and webapp_postgres_image is of Postgres "
                f"{wanted}. Set it to {state['image']} to continue, or undo the upgrade: "
                f"{self.plan.home}/trigger-backup postgres-undo"
            )
        if check:
            return {"changed": True, "from": there, "to": wanted}
        if not state:
            self.prepare(image, there, wanted)
        self.swap()
        return {"changed": True, "from": self.state["from"], "to": wanted}

    def major_of_data(self) -> str:
        """Give the major of the data that is there."""
        path = self.engine.folder(self.volume) / "PG_VERSION"
        if not path.is_file():
            raise BackupError(f"The volume {self.volume} holds no data of Postgres. Deploy it (playbook site).")
        return path.read_text(encoding="utf-8").strip()

    def major_of_image(self, image: str, check: bool) -> str:
        """Ask an image, which is pulled now if it is missing: the webapp still runs.

        A check pulls nothing: it goes by the tag, and the result is empty where that tells none.
        """
        shell = self.engine.shell
        if shell.run(["docker", "image", "inspect", image]).returncode != 0:
            if check:
                told = TAG_MAJOR.search(image.partition("@")[0])
                return told[1] if told else ""
            self.say(f"Pulling {image}")
            shell.output(["docker", "pull", "--quiet", image])
        words = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "postgres", image, "--version"]
        done = shell.run(words)
        found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout.decode(errors="replace"))
        if done.returncode != 0 or not found:
            raise BackupError(f"{image} (webapp_postgres_image) is no image of Postgres: {said(done)[:300]}")
        return found[1]

    def check(self, there: str, wanted: str, image: str) -> None:
        """Refuse what cannot work, while everything runs."""
        if (self.plan.home / STATE).exists():
            raise BackupError("A restore is not finished. Start the playbook backup_restore again first.")
        if there == wanted:
            raise BackupError(
                f"The data is of Postgres {there} already, and so is {image}. Set webapp_postgres_image to an image of "
                "a later major version. A minor one needs no more than the playbook site."
            )
        if int(wanted) < int(there):
            raise BackupError(
                f"The data is of Postgres {there}, and {image} is older. Postgres cannot go back: set "
                f"webapp_postgres_image to an image of Postgres {there} or later."
            )
        if not self.engine.running(self.store.container):
            raise BackupError(
                f"{self.store.container} does not run, and the dump is made by it. Set webapp_postgres_image to an "
                f"image of Postgres {there}, and deploy it (playbook site)."
            )
        others = [row[0] for row in self.store.sql(self.store.container, OTHERS)]
        if others:
            raise BackupError(
                f"The server has other databases, which would stay behind: {', '.join(others)}. Move or drop them."
            )
        size = self.store.size()
        require_room([(self.plan.home, size), (self.engine.root(), size)], "the upgrade")

    def prepare(self, image: str, there: str, wanted: str) -> None:
        """Dump the data, and restore it into a new volume. What fails here leaves the old database in use."""
        self.clean()  # of a run that was killed
        with stopped(self.plan, self.engine, self.say):
            try:
                self._fill(image, wanted)
            except BaseException:
                try:
                    self.clean()
                except BackupError as error:  # the next run does it; what went wrong before counts
                    self.say(str(error))
                raise
        self.keep(image=image, to=wanted, done=[], **{"from": there})

    def _fill(self, image: str, wanted: str) -> None:
        folder = self.plan.home / FOLDER
        folder.mkdir(mode=0o700)
        self.say("Dumping the database")
        try:
            self.store.prepare()
            self.store.snapshot()
            facts = self.store.copy(folder)
        finally:
            self.store.release()
        name = self.row["service"]
        self.say(f"Starting Postgres {wanted} on its own, with a new volume")
        here = self.plan.directory
        folder_inside = self.row["folder"]
        change = Change(image, folder_inside, {"PGDATA": folder_inside})
        self.aside.up(self.plan.webapp_directory, [name], (here, here), {name: change})
        service = AsideService(self.aside, name)
        self.say("Restoring the database there")
        self.store.restore(service, Files(Path("/"), folder), facts)
        wrong = self.store.compare(service, facts)
        if wrong:
            raise BackupError(f"The restored database is not as the old one: {'; '.join(wrong[:5])}")
        self.store.level(service, facts)
        self.aside.down()

    def swap(self) -> None:
        """Put the new data into the place of the old one. A second call finds the rest."""
        (self.plan.home / PAUSED).unlink(missing_ok=True)  # the webapp must not be started before it is deployed
        fresh = self.aside.prefix + self.volume
        self.step("stop", "Stopping the old database", self.stop)
        self.step("keep", f"Keeping the old data in the volume {self.kept}", lambda: self.carry(self.volume, self.kept))
        self.step("place", "Putting the new data into its place", lambda: self.carry(fresh, self.volume))
        self.clean()
        self.step(COMPLETE, "Done", lambda: None)

    def stop(self) -> None:
        """Stop what reads the database, and remove its container: Compose makes that of the other image."""
        readers = [
            container for name in ("webapp", "electric") for container in self.engine.containers(PROJECTS[-1], name)
        ]
        if readers:
            self.engine.stop(*readers)
        service = self.row["service"]
        self.engine.remove_containers(self.engine.containers(PROJECTS[-1], service), service)

    def carry(self, source: str, target: str) -> None:
        move(self.engine.folder(source), self.engine.make_volume(target, [LABEL]))

    def clean(self) -> None:
        """Remove what the upgrade needs on its way."""
        self.aside.down()
        for name in self.engine.volumes(self.aside.prefix):
            self.engine.remove_volume(name)
        remove_folder(self.plan.home / FOLDER)

    # -- afterwards --------------------------------------------------------------------------------------------------

    def accept(self) -> bool:
        """Remove the old data. Tells whether there was anything to do."""
        state = self.state
        if not state:
            return False
        if COMPLETE not in state["done"] or state.get("undoing"):
            raise BackupError("The upgrade is not complete: start the playbook postgres_upgrade again.")
        self.keep(accepted=True)
        self.engine.remove_volume(self.kept)
        self.forget()
        return True

    def undo(self, discard: bool) -> bool:
        """Bring back the old data. Tells whether there was anything to do."""
        state = self.state
        if not state:
            return False
        if state.get("accepted"):
            raise BackupError(
                f"The old data was removed already. Finish that: {self.plan.home}/trigger-backup postgres-accept"
            )
        if COMPLETE in state["done"] and not discard and not state.get("undoing"):
            raise BackupError(
                "The upgrade is complete. Everything that was done since would be lost, and ClickHouse would ignore "
                "later changes of the runs that it has received since: if that is meant, add --discard."
            )
        self.keep(undoing=True)
        self.stop()
        if "keep" in state["done"] and not state.get("emptied"):
            empty_folder(self.engine.folder(self.volume))
            self.keep(emptied=True)
        if holds(self.engine.volume(self.kept)):  # an empty one may have the owner that Docker gives
            self.carry(self.kept, self.volume)
        self.engine.remove_volume(self.kept)
        self.clean()
        self.forget()
        return True


def require_finished(home: Path) -> None:
    """Refuse to put other data into the volume while an upgrade is in the middle of it."""
    path = home / UPGRADE
    state = read_json(path, JOURNAL) if path.exists() else {"done": [COMPLETE]}
    if COMPLETE not in state["done"] or state.get("undoing"):
        raise BackupError(
            "An upgrade of Postgres is not complete. Start the playbook postgres_upgrade again, or undo it: "
            f"{home}/trigger-backup postgres-undo"
        )
