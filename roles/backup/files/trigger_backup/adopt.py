# SPDX-License-Identifier: MIT
"""Takes over an installation that was not made by this collection. It is only stopped, and can be started again."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import string
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .adopt_check import Check
from .adopt_source import SOURCE, Source, new_stores, old_stores
from .aside import Aside
from .engine import Engine
from .foreign import AdoptedImages, ForeignPostgres
from .journal import COMPLETE, Journal
from .plan import Plan
from .process import BackupError, Say, empty_folder, remove_folder
from .restore import PROJECTS, put_store
from .stores import Facts, Files, Store

# All bundled stores, also those that backups leave out.
PLAN = "adopt_plan.json"
ADOPTION = "adopt.json"
FOLDER = "adopt"
PROJECT = "trigger-adopt"
SUPERVISOR = "trigger-supervisor"
TOKEN = re.compile(r"tr_wgt_[0-9A-Za-z]{40}")
REFERENCE = re.compile(r"[\w.:/@-]+")
MOVE = """
UPDATE "WorkerDeployment" SET "imageReference" = '{to}' || substr("imageReference", length('{from}') + 1)
WHERE starts_with("imageReference", '{from}');
"""
GROUP = """
SELECT t."tokenHash" FROM "WorkerInstanceGroup" g JOIN "WorkerGroupToken" t ON t.id = g."tokenId" WHERE g.name = '{0}';
"""
RENEW = """
UPDATE "WorkerGroupToken" SET "tokenHash" = '{1}', "updatedAt" = now() AT TIME ZONE 'UTC'
WHERE id = (SELECT "tokenId" FROM "WorkerInstanceGroup" WHERE name = '{0}');
"""


class Adoption(Journal):
    """The adoption of an installation, which another call goes on with if it is interrupted."""

    def __init__(self, plan: Plan, engine: Engine, source: Source, say: Say) -> None:
        super().__init__(plan.home / ADOPTION, say)
        self.plan = plan
        self.engine = engine
        self.source = source
        self.stage = plan.home / FOLDER
        self.aside = Aside(engine, PROJECT, plan.home / "aside_adopt", plan.webapp_start_seconds)
        self.check = Check(plan, engine, source, self.aside, say)

    def run(self) -> dict[str, Any]:
        """Take over the data. What fails before the end starts the old installation again."""
        if self.state.get("undoing"):
            raise BackupError(f"The adoption is being undone. Finish that: {self.plan.home}/trigger-backup adopt-undo")
        if COMPLETE in self.done:
            return {**self.state["result"], "changed": False}
        if not self.state:
            try:
                sizes = self.check.run()
                for row in self.aside.read(self.plan.webapp_directory)["services"].values():
                    self.check.pull(row["image"])
            except Exception:
                self.forget_source()
                raise
            self.keep(sizes=sizes, done=[], **self.running())
        try:
            self.carry_out()
        except Exception as error:
            self.say("Starting the old installation again")
            try:
                self.undo(discard=False)
            except Exception as second:
                raise BackupError(
                    f"{error} The old installation did not start either: {second} Correct that, and run on the host: "
                    f"{self.plan.home}/trigger-backup adopt-undo"
                ) from None
            raise
        return {**self.state["result"], "changed": True}

    def carry_out(self) -> None:
        """Take the steps that are not done yet."""
        self.step("early", "Copying what never changes", self.copy_early)
        self.step("stop", "Stopping the old webapp", self.stop_webapp)
        self.step("copy", "Copying the stores", self.copy)
        self.step("stop_stores", "Stopping the old stores", lambda: self.halt(self.state["order"]))
        self.restore()
        remove_folder(self.stage)
        self.forget_source()
        result = {"stores": self.told(), "path": self.source.path, "projects": list(self.source.projects)}
        self.keep(done=[*self.done, COMPLETE], result=result)

    def forget_source(self) -> None:
        """Remove what holds passwords of the old installation. The role writes it again where an adoption begins."""
        (self.plan.home / SOURCE).unlink(missing_ok=True)

    def running(self) -> dict[str, Any]:
        """Give the restart policies of what runs, and the order in which it is started again: stores first."""
        policies = {}
        for project in self.source.projects:
            for container in self.engine.containers(project):
                row = self.engine.inspect(container)
                if row and row["State"]["Running"]:
                    policy = row["HostConfig"]["RestartPolicy"]
                    count = f":{policy['MaximumRetryCount']}" if policy.get("MaximumRetryCount") else ""
                    policies[row["Name"].lstrip("/")] = (policy["Name"] or "no") + count
        last = [self.source.webapp, *self.source.readers]
        order = [name for name in policies if name not in last] + [name for name in last if name in policies]
        return {"policies": policies, "order": order}

    def copy_early(self) -> None:
        """Copy objects and layers, which are written once: the copy in the pause takes what is new."""
        self.stage.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = old_stores(self.engine, self.source)
        if "objects" in old:
            old["objects"].copy(self.stage)
        if "images" in old:
            row = self.plan.stores["images"]
            self.engine.make_volume(row["volume"], row["labels"])
            AdoptedImages(self.engine, row).early(old["images"])

    def stop_webapp(self) -> None:
        """Stop who gives out runs, then the webapp. They stay stopped, also when the engine restarts."""
        self.halt(self.source.readers)
        runners = self.check.runners()
        if runners:
            self.engine.stop(*runners)
        if "stopped" not in self.state:
            self.keep(stopped=time.time())
        self.halt([self.source.webapp])

    def halt(self, containers: Sequence[str]) -> None:
        running = [name for name in containers if self.engine.running(name)]
        if running:
            self.engine.shell.output(["docker", "update", "--restart=no", *running], doing="Keeping containers stopped")
            self.engine.stop(*running)

    def copy(self) -> None:
        self.stage.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.engine.running(self.source.webapp):
            raise BackupError("Something else has started the old webapp. Stop it, and start the playbook adopt again.")
        facts: dict[str, Facts] = {}
        for name, store in old_stores(self.engine, self.source).items():
            self.say(f"Copying {name}")
            try:
                store.prepare()
                store.snapshot()
                facts[name] = {"exact": True, **store.copy(self.stage)}
            finally:
                store.release()
        self.copy_token()
        self.keep(facts=facts)

    def copy_token(self) -> None:
        target = self.stage / "token"
        target.unlink(missing_ok=True)
        try:
            self.engine.copy_out(self.source.webapp, self.source.token_path, target)
        except BackupError:
            self.say("The old installation has no file with the token of its workers; they get a new one")

    def restore(self) -> None:
        self.aside.down()
        stores = new_stores(self.engine, self.source, self.plan)
        left = [store for store in stores if store.name not in self.done]
        if not left:
            return
        begun: list[str] = self.state.get("begun", [])
        for store in left:
            volume = self.plan.stores[store.name].get("volume", "")
            folder = self.engine.volume(volume) if volume and store.name in begun else None
            if folder:  # a service may not start with half of its data
                empty_folder(folder)
        try:
            self.say("Starting the new stores on their own")
            self.aside.up(self.plan.webapp_directory, self.plan.services, (self.plan.directory, self.plan.directory))
            for store in left:
                begun.append(store.name)
                self.keep(begun=begun)
                self.step(store.name, f"Restoring {store.name}", partial(self.put, store))
        finally:
            self.aside.down()

    def put(self, store: Store) -> None:
        put_store(self.aside, self.plan, store, Files(Path("/"), self.stage), self.state["facts"][store.name])
        if isinstance(store, ForeignPostgres):
            container = f"{self.aside.name}-{self.plan.stores['postgres']['service']}-1"
            self.rename_images(store, container)
            self.put_token(store, container)

    def rename_images(self, store: ForeignPostgres, container: str) -> None:
        """Have deployments name their images as the registry is called now."""
        before, after = self.source.references["from"], self.source.references["to"]
        known = store.sql(container, """SELECT to_regclass('"WorkerDeployment"') IS NOT NULL""") == [["t"]]
        if known and before != after and REFERENCE.fullmatch(before) and REFERENCE.fullmatch(after):
            store.sql(container, MOVE.format(**{"from": before, "to": after}))

    def put_token(self, store: ForeignPostgres, container: str) -> None:
        """Keep the token of the workers if it fits, else make a new one: the database knows only its hash."""
        group = self.source.group.replace("'", "''")
        known = store.sql(container, """SELECT to_regclass('"WorkerInstanceGroup"') IS NOT NULL""") == [["t"]]
        rows = store.sql(container, GROUP.format(group)) if known else []
        if not rows:  # the webapp makes the group at its start, and the file with it
            return
        copied = self.stage / "token"
        text = copied.read_text(encoding="utf-8", errors="replace").strip() if copied.is_file() else ""
        if not TOKEN.fullmatch(text) or digest(text) != rows[0][0]:
            letters = string.ascii_letters + string.digits
            text = "tr_wgt_" + "".join(secrets.choice(letters) for _ in range(40))
            store.sql(container, RENEW.format(group, digest(text)))
        path = Path(self.source.token_file)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        owner = path.parent.stat()
        os.chown(fresh, owner.st_uid, owner.st_gid)
        os.replace(fresh, path)

    def told(self) -> dict[str, str]:
        """Say of each store what was taken over, in numbers that were compared."""
        facts = self.state["facts"]
        words = {
            "postgres": lambda row: f"{sum(row['rows'].values())} rows of {len(row['rows'])} tables",
            "redis": lambda row: f"{row['count']['keys']} keys",
            "clickhouse": lambda row: f"{sum(row['rows'].values())} rows of {len(row['rows'])} tables",
            "objects": lambda row: f"{row['objects']} objects ({row['bytes']} bytes)",
            "images": lambda row: f"{row['links']} links to layers and manifests",
        }
        return {name: words[name](row) for name, row in facts.items()}

    # -- afterwards --------------------------------------------------------------------------------------------------

    def finish(self) -> dict[str, Any]:
        """Note when the new webapp answered for the first time."""
        if COMPLETE not in self.done:
            raise BackupError("The adoption is not complete: start the playbook adopt again.")
        first = "seconds" not in self.state
        if first:
            self.keep(seconds=round(time.time() - self.state["stopped"]))
        result = self.state["result"]
        text = "; ".join(f"{name}: {words}" for name, words in result["stores"].items())
        return {"changed": first, "seconds": self.state["seconds"], "text": text, **result}

    def undo(self, discard: bool) -> bool:
        """Start the old installation again. Tells whether there was anything to do."""
        state = self.state
        if not state:
            self.forget_source()
            return False
        if COMPLETE in state["done"] and not discard and not state.get("undoing"):
            raise BackupError(
                "The adoption is complete. Everything that was done in the new installation would be lost: if that is "
                "meant, add --discard."
            )
        # Before anything of the new one is given up: without them there is nothing to go back to.
        missing = [name for name in state["order"] if self.engine.inspect(name) is None]
        if missing:
            raise BackupError(
                f"The old installation has been removed (there is no container {missing[0]}), so there is no way back "
                "to it. Nothing was changed."
            )
        self.keep(undoing=True)
        self.forget_source()
        self.aside.down()
        for project in [*self.engine.projects(SUPERVISOR), *PROJECTS]:
            self.engine.remove_project(project)
        for name in self.plan.volumes:
            folder = self.engine.volume(name)
            if folder:
                empty_folder(folder)
        for name in state["order"]:
            self.engine.shell.output(["docker", "update", f"--restart={state['policies'][name]}", name])
            self.engine.start(name)
        remove_folder(self.stage)
        self.forget()
        return True


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
