# SPDX-License-Identifier: MIT
"""Redis: the file of a BGSAVE. It has to be of the same moment as Postgres, or queued runs are lost (measured)."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .engine import Engine
from .process import BackupError, Session, remove_folder
from .stores import Facts, Files, Service, Store

FILE = "redis/dump.rdb"
# A server with appendonly ignores a dump.rdb; as the base of its append-only file it reads it (measured).
APPEND = "appendonlydir"
BASE = "appendonly.aof.1.base.rdb"
# The file of a backup that is under way, beside that of Redis.
HELD = "trigger-backup.rdb"
# How long the webapp waits for it. Redis holds its state from the first moment on, and writes it then.
HOLD_SECONDS = 5.0
MANIFEST = f"file {BASE} seq 1 type b\n"


class Redis(Store):
    """The queues of the webapp."""

    name = "redis"
    staged = ("redis",)

    def __init__(self, engine: Engine, row: Mapping[str, Any]) -> None:
        self.engine = engine
        self.container: str = row["container"]
        self.volume: str = row["volume"]
        self.keys: dict[str, int] = {}
        self.saves = 0
        self.session: Session | None = None

    def ask(self, container: str, *words: str) -> str:
        if self.session and container == self.container:
            answer = "\n".join(self.session.ask(" ".join(words), until=self.until)).strip()
        else:
            answer = self.engine.ask(container, "redis-cli", *words, doing="Asking Redis").strip()
        if re.match(r"\(error\)|ERR|NOAUTH|WRONGPASS|MISCONF|LOADING", answer):
            raise BackupError(f"Redis ({container}) refuses {' '.join(words)}: {answer[:200]}")
        return answer

    def info(self, container: str) -> dict[str, str]:
        """Give everything that Redis tells of itself, in one call."""
        lines = (line.partition(":") for line in self.ask(container, "INFO").splitlines())
        return {name: value.strip() for name, _, value in lines if value}

    def size(self) -> int:
        return int(self.info(self.container)["used_memory"])

    def prepare(self) -> None:
        """Wait for what Redis saves by itself, before the webapp is stopped."""
        self.release()
        self._wait(forever=True)
        # Connected already: so it saves at the moment at which Postgres holds its state.
        self.session = Session(self.engine.program(self.container, "redis-cli"), "ECHO", "Redis")
        self.ask(self.container, "PING")

    def snapshot(self) -> None:
        state = self._wait(forever=False)
        if state["rdb_bgsave_in_progress"] != "0" or state["aof_rewrite_in_progress"] != "0":
            raise BackupError("Redis has begun to save its data by itself. Start the backup again.")
        self.keys = counted(state)
        self.saves = int(state["rdb_saves"]) + 1
        self.ask(self.container, "BGSAVE")
        state = self._wait(forever=False)
        if state["rdb_bgsave_in_progress"] == "0":
            self._hold(state)

    def _wait(self, forever: bool) -> dict[str, str]:
        """Wait until Redis writes nothing; for as long as the webapp may wait, or for ever."""
        deadline = time.monotonic() + HOLD_SECONDS
        while True:
            found = self.info(self.container)
            if found["rdb_bgsave_in_progress"] == found["aof_rewrite_in_progress"] == "0":
                return found
            if not forever and time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def _hold(self, found: Mapping[str, str]) -> None:
        """Give the file a second name: the next save of Redis puts another one in its place."""
        folder = self.engine.folder(self.volume)
        os.link(folder / "dump.rdb", folder / HELD)
        if found["rdb_last_bgsave_status"] != "ok":
            raise BackupError(f"Redis could not save its data. Its log says why: docker logs {self.container}")
        if int(found["rdb_saves"]) != self.saves:
            raise BackupError("Redis saved its data once more during the backup. Start the backup again.")

    def copy(self, stage: Path) -> Facts:
        held = self.engine.folder(self.volume) / HELD
        if not held.exists():
            self._hold(self._wait(forever=True))
        (stage / FILE).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(held, stage / FILE)
        return {"count": self.keys, "version": self.info(self.container)["redis_version"]}

    def release(self) -> None:
        if self.session:
            self.session.close()
            self.session = None
        folder = self.engine.volume(self.volume)
        if folder:
            (folder / HELD).unlink(missing_ok=True)

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        service.stop()
        folder = service.volume(self.volume)
        owner = folder.stat()
        (folder / "dump.rdb").unlink(missing_ok=True)
        remove_folder(folder / APPEND)
        (folder / APPEND).mkdir()
        shutil.copyfile(files.stage / FILE, folder / APPEND / BASE)
        (folder / APPEND / "appendonly.aof.manifest").write_text(MANIFEST)
        for path in (folder / APPEND, *(folder / APPEND).iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)
            path.chmod(0o700 if path.is_dir() else 0o600)
        service.start()

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        """Keys that end by themselves may have done so."""
        if not facts["exact"]:
            return []
        found, wanted = counted(self.info(service.container)), facts["count"]
        lasting = (found["keys"] - found["expires"], wanted["keys"] - wanted["expires"])
        return [] if lasting[0] == lasting[1] else [f"Redis: {lasting[0]} lasting keys instead of {lasting[1]}"]


def counted(info: Mapping[str, str]) -> dict[str, int]:
    """Count the keys, and of them those that end by themselves."""
    counts = dict(part.split("=") for part in info.get("db0", "keys=0,expires=0").split(","))
    return {"keys": int(counts["keys"]), "expires": int(counts["expires"])}
