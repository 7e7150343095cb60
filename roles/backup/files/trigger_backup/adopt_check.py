# SPDX-License-Identifier: MIT
"""What keeps an installation from being adopted. Everything still runs, and nothing is changed but images pulled."""

from __future__ import annotations

import re

from .adopt_source import Source, old_stores
from .aside import Aside
from .engine import Engine
from .plan import Plan
from .process import BackupError, Say, require_room, said
from .restore import STATE, holds

RUNNERS = "runner-"
OLDEST_POSTGRES = 14
# Workers that were heard of since then run.
CONNECTED = """
SELECT name FROM "WorkerInstance" WHERE "lastHeartbeatAt" > now() AT TIME ZONE 'UTC' - interval '2 minutes' ORDER BY 1;
"""


class Check:
    """Looks at the old installation, and at what the new one would be."""

    def __init__(self, plan: Plan, engine: Engine, source: Source, aside: Aside, say: Say) -> None:
        self.plan = plan
        self.engine = engine
        self.source = source
        self.aside = aside
        self.say = say

    def run(self) -> dict[str, int]:
        """Refuse what cannot be adopted while everything runs, and tell what there is."""
        for name in (STATE, "postgres_upgrade.json"):
            if (self.plan.home / name).exists():
                raise BackupError(
                    f"{self.plan.home / name} shows that a restore or an upgrade is kept. Accept it first."
                )
        lacking = sorted(set(self.source.stores) - set(self.plan.stores))
        if lacking:
            raise BackupError(
                f"The old installation holds {', '.join(lacking)}, and the settings have no bundled store for that on "
                "this host. Adopt it into the bundled ones; move the data to external ones afterwards."
            )
        self.engine.shell.output(["docker", "compose", "version"], doing="Asking for Compose")
        held = [name for name in self.plan.volumes if holds(self.engine.volume(name))]
        if held:
            raise BackupError(
                f"This host has an installation of this collection already (volume {', '.join(held)}). If it is not "
                "needed, remove it with its data (playbook uninstall)."
            )
        stopped = [
            row["container"]
            for name, row in self.source.stores.items()
            if name != "images" and not self.engine.running(row["container"])
        ]
        if stopped:
            raise BackupError(
                f"{', '.join(stopped)} does not run, and only a running store can be read. Start the old installation "
                f"({self.source.path}: docker compose up --detach)."
            )
        self.check_versions()
        self.check_workers()
        for store in old_stores(self.engine, self.source).values():
            store.prepare()
            store.release()
        return self.measure()

    def check_versions(self) -> None:
        images = {name: row["image"] for name, row in self.aside.read(self.plan.webapp_directory)["services"].items()}
        old = old_stores(self.engine, self.source)
        found = int(old["postgres"].sql(old["postgres"].container, "SHOW server_version")[0][0].split(".")[0])
        image = images[self.plan.stores["postgres"]["service"]]
        newest = self.version(image, "postgres", r"\(PostgreSQL\) (\d+)")
        if not OLDEST_POSTGRES <= found <= newest[0]:
            raise BackupError(
                f"The data is of Postgres {found}, and webapp_postgres_image ({image}) takes over what is of "
                f"{OLDEST_POSTGRES} to {newest[0]}."
            )
        said_version = old["redis"].info(old["redis"].container)["redis_version"]
        image = images[self.plan.stores["redis"]["service"]]
        if numbers(said_version)[:2] > self.version(image, "redis-server", r"v=(\d+)\.(\d+)"):
            raise BackupError(
                f"The data is of Redis {said_version}, and webapp_redis_image ({image}) is older. Set it to an image "
                "of that version or a later one."
            )

    def version(self, image: str, program: str, pattern: str) -> tuple[int, ...]:
        """Ask an image, which is pulled now if it is missing."""
        self.pull(image)
        words = ["docker", "run", "--rm", "--network", "none", "--entrypoint", program, image, "--version"]
        done = self.engine.shell.run(words)
        found = re.search(pattern, done.stdout.decode(errors="replace"))
        if done.returncode != 0 or not found:
            raise BackupError(f"{image} is no image of {program}: {said(done)[:300]}")
        return tuple(int(part) for part in found.groups())

    def pull(self, image: str) -> None:
        if self.engine.shell.run(["docker", "image", "inspect", image]).returncode != 0:
            self.say(f"Pulling {image}")
            self.engine.shell.output(["docker", "pull", "--quiet", image])

    def runners(self) -> list[str]:
        words = ["docker", "ps", "--filter", f"name=^{RUNNERS}", "--format", "{{.Names}}"]
        return self.engine.shell.output(words).split()

    def check_workers(self) -> None:
        postgres = old_stores(self.engine, self.source)["postgres"]
        here = sum(1 for name in self.source.readers if self.engine.running(name))
        connected = [row[0] for row in postgres.sql(postgres.container, CONNECTED)]
        if len(connected) > here:
            raise BackupError(
                f"{len(connected)} workers called the webapp in the last 2 minutes ({', '.join(connected[:5])}), and "
                f"{here} of them run on this host. Stop the supervisors on the other hosts, and put those hosts into "
                "the inventory as workers."
            )
        running = self.runners()
        if running and not self.source.interrupt:
            raise BackupError(
                f"{len(running)} runs are in progress on this host (docker ps --filter name={RUNNERS}). Wait until "
                "they are over. If they may be interrupted, set adopt_interrupt_enabled to true: the webapp starts "
                "each of them again after about 5 minutes."
            )

    def measure(self) -> dict[str, int]:
        sizes = {name: store.size() for name, store in old_stores(self.engine, self.source).items()}
        copied = sum(size for name, size in sizes.items() if name != "images")
        require_room([(self.plan.home, copied), (self.engine.root(), sum(sizes.values()))], "the adoption")
        return sizes


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
