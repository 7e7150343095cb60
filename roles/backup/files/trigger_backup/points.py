# SPDX-License-Identifier: MIT
"""Points: states between two backups, at a cost that allows one every few minutes. The webapp is not stopped.

A point has the log of Postgres instead of a dump, and nothing of ClickHouse: that comes from the backup before it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from . import postgres as dump
from .create import base_backup, forget, note, results, resume, take
from .engine import Engine
from .plan import Plan
from .postgres import Postgres
from .process import BackupError, Say
from .quantity import moment
from .receive import SLOT, position
from .repository import Repository, Snapshot, usable
from .stores import Facts, Store
from .wal import Base, Log, Position, base_of, needed, number_of

# How long a point waits until the receiver runs, and has what the point needs.
RECEIVE_SECONDS = 60.0
# The log may take as much as the copy of the database, and this at least, before there is a new copy.
LOG_BYTES = 2**30
FAILED = "point_failed"
GOOD = "point"
RECEIVED = f"""
SELECT coalesce(r.write_lsn::text, '') FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
WHERE s.slot_name = '{SLOT}';
"""


class PostgresPoint(Postgres):
    """The database, as a physical copy and everything that was written since."""

    def __init__(self, engine: Engine, row: Mapping[str, Any], plan: Plan, say: Say) -> None:
        super().__init__(engine, row)
        self.log = Log(plan.home)
        self.say = say
        # A copy that is older than the last backup would make restores slow.
        self.renewed: float = base_backup(plan.home).get("time", 0.0)
        self.mark = ""
        self.lsn = ""

    def size(self) -> int:
        """A new copy stands beside the old one for a moment."""
        if not self.reason():
            return 0
        return int(self.sql(self.container, "SELECT sum(pg_database_size(oid)) FROM pg_database")[0][0])

    def reason(self) -> str:
        """Say why a new copy of the database is needed; nothing if the last one will do."""
        base = base_of(self.log.base)
        if not base:
            return "there is none yet"
        now = position(self)
        if base.timeline != now.timeline or base.start > now.lsn:
            return "the last one is of another history of the database"
        received = Position(now.timeline, self.received(), now.segment)
        missing = self.log.missing(needed(base, received))
        if missing:
            return f"the received log has a gap ({missing[0]})"
        if base.time < self.renewed:
            return "there is a newer backup"
        return "the log has grown" if has_grown(self.log, base) else ""

    def received(self, until: int = 1) -> int:
        """Wait until the receiver has a position, and give how far it is."""
        deadline = time.monotonic() + RECEIVE_SECONDS
        while True:
            rows = self.sql(self.container, RECEIVED)
            found = number_of(rows[0][0]) if rows and rows[0][0] else 0
            if found >= until:
                return found
            if time.monotonic() > deadline:
                raise BackupError(
                    "The log of Postgres is not received. See journalctl -u trigger-backup-receive on the control host."
                )
            time.sleep(0.3)

    def prepare(self) -> None:
        reason = self.reason()
        if reason:
            self.say(f"Copying the database: {reason}")
            self._copy_database()
        super().prepare()

    def _copy_database(self) -> None:
        """Make a physical copy. Its log comes from the receiver, which has to run before it begins."""
        self.received()
        words = ["pg_basebackup", "-U", self.user, "-D", "-", "-Ft", "-X", "none", "-c", "fast"]
        program = self.engine.program(self.container, *words)
        try:
            self.engine.shell.into_file(program, self.log.fresh, doing="Copying Postgres")
            self.log.replace_base(position(self).segment)
        finally:  # a part of a copy would take the room of the next one
            self.log.fresh.unlink(missing_ok=True)

    def snapshot(self) -> None:
        """Mark this moment in the log. The message is there to be committed: that writes the log at once."""
        self.mark = f"trigger_{time.time_ns()}"
        made = self.rows(
            f"BEGIN; SELECT pg_create_restore_point('{self.mark}'); "
            f"SELECT pg_logical_emit_message(true, '{SLOT}', ''); COMMIT;"
        )
        if not made or "/" not in made[0][0]:
            raise BackupError(f"Postgres gives no point: {' '.join(' '.join(row) for row in made)[-300:]}")
        self.lsn = made[0][0]

    def copy(self, stage: Path) -> Facts:
        until = number_of(self.lsn)
        self.received(until)
        now = position(self)
        base = base_of(self.log.base)
        assert base
        names = needed(base, Position(now.timeline, until, now.segment))
        missing = self.log.missing(names)
        if missing or base.timeline != now.timeline:
            raise BackupError(
                "The database was replaced while the point was made. The next point begins with a new copy."
            )
        self.log.gather(names)
        version = self.sql(self.container, "SHOW server_version")[0][0]
        facts: Facts = {"mark": self.mark, "lsn": self.lsn, "version": version, "exact": False}
        return {**facts, "database": self.database, "user": self.user, "paths": {"log": str(self.log.folder)}}


def has_grown(log: Log, base: Base | None) -> bool:
    """Tell whether the log takes more than a new copy of the database is worth."""
    return log.size() > max(base.bytes if base else 0, LOG_BYTES)


def bound(home: Path, say: Say) -> None:
    """Keep the log from filling the disk while points fail: only a new copy ends the need for it otherwise."""
    log = Log(home)
    if results(home).get(FAILED) and has_grown(log, base_of(log.base)):
        say("Removing the received log: it has grown while points failed")
        log.trim_all()


def point(plan: Plan, engine: Engine, repository: Repository, stores: Sequence[Store], say: Say) -> dict[str, Any]:
    """Make one point, note what became of it, and give that."""
    began = time.time()
    resume(plan, engine, stores, say)
    backup = base_backup(plan.home)
    if backup.get("repository") != repository.name:
        Log(plan.home).trim_all()
        say("The first backup has to be made before")
        return {"skipped": "there is no backup yet"}
    # The repository may not answer. It is asked only after the copy of the database, which ends the need for the log.
    unlock = bool(results(plan.home).get(FAILED))
    note(plan.home, FAILED, {"time": began, "error": ""})
    # The dump of the last backup lies there, too; a point has something better.
    left = [str(plan.stage / Path(dump.DUMP).parent)]
    of_backup: str = backup["id"]
    result = take(plan, engine, repository, stores, say, pause=False, backup=of_backup, excluded=left, unlock=unlock)
    result["seconds"] = round(time.time() - began, 1)
    result["time"] = began
    note(plan.home, GOOD, result)
    forget(plan.home, FAILED)
    return result


# -- the state of a time -----------------------------------------------------------------------------------------------

LATEST = "latest"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d([.]\d+)?)?(Z|[+-]\d\d:\d\d)")


def seconds_of(text: str) -> float:
    """Read a time as the setting has it."""
    try:
        if found := TIME.fullmatch(text):
            # Older versions of Python read no fraction of other than three or six digits.
            whole = text.replace(found[2] or "", "", 1).replace("Z", "+00:00")
            return datetime.fromisoformat(whole).timestamp() + float(f"0{found[2] or ''}")
    except ValueError:
        pass  # such as the 30th of February
    raise BackupError(f"backup_restore_time is {text}. Write it as 2026-01-31T12:00:00Z, or set it to {LATEST}.")


def written(seconds: float) -> str:
    """Write a time as the setting has it, not before that moment."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(math.ceil(seconds)))


def apart(minutes: int) -> float:
    """Give the seconds between two points from which on there is a gap. A backup delays the next point."""
    return max(15, 3 * minutes) * 60.0


def state_at(states: Sequence[Snapshot], text: str, installation: str | None, minutes: int, now: float) -> Snapshot:
    """Choose the newest backup or point at or before a time."""
    wanted = now if text == LATEST else seconds_of(text)
    if wanted > now + 60:
        raise BackupError(f"backup_restore_time is {text}, which is in the future: it is {written(now)}.")
    known = [row for row in usable(states) if row.is_of(installation)]
    if len({row.installation for row in known}) > 1:
        raise BackupError("The repository has backups of several installations: set backup_restore_snapshot instead.")
    before = [row for row in known if row.cut <= wanted]
    if not before:
        first = f"The first state is of {written(known[0].cut)}." if known else "There is no backup of it."
        raise BackupError(f"Nothing of this installation was saved before {text} (backup_restore_time). {first}")
    chosen = before[-1]
    if text != LATEST and wanted - chosen.cut > apart(minutes):
        after = [row for row in known if row.cut > wanted]
        then = f" The next state is of {written(after[0].cut)}." if after else ""
        raise BackupError(
            f"Nothing was saved between {written(chosen.cut)} and {text} (backup_restore_time). The latest possible "
            f"time before is {written(chosen.cut)}: set backup_restore_time to that.{then}"
        )
    return chosen


def spans(states: Sequence[Snapshot], minutes: int) -> list[tuple[float, str]]:
    """Say in a line from when to when there are points without a gap; each with its beginning."""
    found: list[list[Snapshot]] = []
    last = Snapshot("", "", "", ())
    for row in usable(states):
        if row.cut - last.cut > apart(minutes) or row.installation != last.installation:
            found.append([])
        if row.point:
            found[-1].append(row)
        last = row
    return [
        (rows[0].cut, f"points    {moment(rows[0].cut)} to {moment(rows[-1].cut)}: {len(rows)} (backup_restore_time)")
        for rows in found
        if rows
    ]
