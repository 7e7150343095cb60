# SPDX-License-Identifier: MIT
"""Receives the log of Postgres: pg_receivewal in a container of its own, with a replication slot of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .engine import Engine
from .plan import Plan
from .postgres import Postgres
from .process import BackupError
from .wal import RECEIVED, Log, Position, number_of, segment_name, segments

SLOT = "trigger_backup"
CONTAINER = "trigger-backup-receive"
NAME = "pg_receivewal"
# Files of the log on the host, in the container.
FOLDER = "/received"
# A position that was received is told after this time at most. The server waits for nothing.
TELL_SECONDS = 1
MEMORY = "256m"
POSITION = """
SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int, pg_current_wal_lsn(),
  (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size');
"""
STATE = f"SELECT coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = '{SLOT}';"
DROP = f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{SLOT}';"


def position(postgres: Postgres) -> Position:
    """Give the present position of the server."""
    row = postgres.sql(postgres.container, POSITION, database="postgres")[0]
    return Position(int(row[0]), number_of(row[1]), int(row[2]))


def prepare(postgres: Postgres, log: Log, say: Callable[[str], None]) -> None:
    """See that there is a slot, and that what is here already belongs to it."""
    state = postgres.sql(postgres.container, STATE, database="postgres")
    if not state or state[0][0] == "lost" or ahead(log, position(postgres)):
        # A new server, a restored one, or one that could not wait any longer. The next point begins with a new copy.
        say("Beginning with a new copy: what was received before does not continue")
        log.reset()
        postgres.sql(postgres.container, DROP, database="postgres")
        create = f"SELECT pg_create_physical_replication_slot('{SLOT}', true);"
        postgres.sql(postgres.container, create, database="postgres")


def ahead(log: Log, now: Position) -> bool:
    """Tell whether more was received than this server has written: its volume is of an earlier time."""
    newest = max((path.name for path in segments(log.received)), default="")
    return newest > segment_name(now.timeline, now.lsn // now.segment, now.segment)


def command(engine: Engine, container: str, user: str, folder: Path) -> list[str]:
    """Give the command that receives until the server ends. It uses the image and the loopback address of the server.

    There the server of the official image trusts, as it does on its socket: no password has to be passed.
    """
    found = engine.inspect(container)
    if not found or not found["State"]["Running"]:
        raise BackupError(f"The container {container} does not run. Deploy the installation first (playbook site).")
    owner = folder.stat()
    words = ["docker", "run", "--rm", "--init", "--name", CONTAINER, "--label", "dev.trigger.ansible/role=backup"]
    words += ["--network", f"container:{container}", "--read-only", "--cap-drop", "ALL", "--memory", MEMORY]
    words += ["--security-opt", "no-new-privileges", "--log-driver", "none"]
    words += ["--user", f"{owner.st_uid}:{owner.st_gid}", "--volume", f"{folder}:{FOLDER}"]
    words += ["--entrypoint", NAME, found["Image"]]
    # Where the connection ends, systemd starts it anew: the server may have another container by then.
    words += ["--host", "127.0.0.1", "--username", user, "--slot", SLOT, "--directory", FOLDER]
    return [*words, "--no-loop", "--no-password", "--status-interval", str(TELL_SECONDS)]


def receive(plan: Plan, engine: Engine, postgres: Postgres, say: Callable[[str], None]) -> list[str]:
    """Make everything ready, and give the command that receives."""
    engine.shell.run(["docker", "rm", "--force", CONTAINER])  # of an interrupted run
    log = Log(plan.home)
    prepare(postgres, log, say)
    log.received.mkdir(exist_ok=True, mode=0o700)
    owner = engine.folder(postgres.volume).stat()
    os.chown(log.received, owner.st_uid, owner.st_gid)
    return command(engine, postgres.container, postgres.user, log.received)


def leave(home: Path, engine: Engine, row: Mapping[str, Any] | None) -> bool:
    """Remove the slot and what was received: a slot that is not used keeps the log on the disk of the server."""
    found = engine.inspect(row["container"]) if row else None
    if row and found:
        if not found["State"]["Running"]:
            raise BackupError(
                f"{row['container']} does not run, so its replication slot stays. Start it (playbook site)."
            )
        postgres = Postgres(engine, row)
        postgres.sql(postgres.container, DROP, database="postgres")
    there = (home / RECEIVED).exists()
    Log(home).reset()
    return there
