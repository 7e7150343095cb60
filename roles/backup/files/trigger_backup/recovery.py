# SPDX-License-Identifier: MIT
"""Recovers a server of Postgres from a physical copy and the log that continues it, to a mark in that log."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import process
from .engine import Engine
from .process import BackupError, empty_folder, remove_folder, said
from .stores import Service
from .wal import BASE, HISTORY, PARTIAL, SEGMENT

# In the folder of the data, where the server is while it recovers: a path relative to it fits every image.
LOG = "trigger_log"
SETTINGS = "postgresql.auto.conf"
WANTED = """
restore_command = 'cp {log}/%f %p'
recovery_target_name = '{mark}'
recovery_target_action = 'promote'
"""


def data_folder(found: dict[str, Any]) -> Path:
    """Give the folder on the host that has the data of a container."""
    told = dict(text.split("=", 1) for text in found["Config"]["Env"])
    inside = Path(told.get("PGDATA", "/var/lib/postgresql/data"))
    for mount in found["Mounts"]:
        place = Path(mount["Destination"])
        if place == inside or place in inside.parents:
            return Path(mount["Source"]) / inside.relative_to(place)
    raise BackupError(f"The data of Postgres ({inside}) is in no volume.")


def recover(engine: Engine, service: Service, sql: Callable[[str], list[list[str]]], source: Path, mark: str) -> None:
    """Replace the data of a new server, and wait until it has reached the mark."""
    found = engine.inspect(service.container)
    assert found
    folder = data_folder(found)
    service.stop()
    owner = folder.stat()
    empty_folder(folder)
    unpack = ["tar", "--extract", "--file", str(source / BASE), "--directory", str(folder), "--numeric-owner"]
    engine.shell.output(unpack, doing="Unpacking the copy of Postgres")
    put_log(source, folder / LOG)
    settings = (folder / SETTINGS).read_text(encoding="utf-8")
    (folder / SETTINGS).write_text(settings + WANTED.format(log=LOG, mark=mark), encoding="utf-8")
    (folder / "recovery.signal").touch(mode=0o600)
    engine.shell.output(["chown", "--recursive", f"{owner.st_uid}:{owner.st_gid}", str(folder)])
    try:
        service.start()
        await_end(engine, service.container, sql)
    except BackupError as error:
        raise BackupError(f"{error} Its log ends: {last_words(engine, service.container)}") from None
    (folder / SETTINGS).write_text(settings, encoding="utf-8")
    remove_folder(folder / LOG)
    sql("SELECT pg_reload_conf();")


def put_log(source: Path, target: Path) -> None:
    """Copy the files of the log. One that was not complete is named as if it were: its rest is empty."""
    target.mkdir(mode=0o700)
    for path in source.iterdir():
        name = path.name.removesuffix(PARTIAL)
        if SEGMENT.match(name) or name.endswith(HISTORY):
            shutil.copyfile(path, target / name)


def await_end(engine: Engine, container: str, sql: Callable[[str], list[list[str]]]) -> None:
    """Wait until the server takes changes. It answers before that, and ends if the log does not reach the mark."""
    deadline = time.monotonic() + process.LONG_SECONDS
    while sql("SELECT pg_is_in_recovery();") != [["f"]]:
        if time.monotonic() > deadline:
            raise BackupError(f"Postgres still reads its log after {process.LONG_SECONDS / 3600:.0f} h.")
        if not engine.running(container):
            raise BackupError("Postgres has ended while it read its log.")
        time.sleep(0.5)


def last_words(engine: Engine, container: str) -> str:
    """Give the end of the log of a container."""
    done = engine.shell.run(["docker", "logs", "--tail", "8", container])
    return " ".join(said(done).split())
