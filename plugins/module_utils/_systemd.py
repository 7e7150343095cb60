# SPDX-License-Identifier: MIT
"""Writes, starts and removes units of systemd."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _units
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically

# Options of a module, as documented by the fragment `units`.
_TEXT = {"type": "str", "required": True}
UNITS = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "name": _TEXT,
        "content": _TEXT,
        "state": {"type": "str", "choices": ["present", "enabled", "started"], "default": "present"},
        "restart": {"type": "bool", "default": True},
        "follows": {"type": "list", "elements": "path", "default": []},
    },
}
ABSENT = {"type": "list", "elements": "str", "default": []}
FOLDER = str(_units.FOLDER)

MODE = 0o644
NAME = re.compile(r"[A-Za-z0-9:_.@-]+\.(service|timer|socket|path|target)")
# More than the units of this collection may take to start and to stop.
SECONDS = 900
PROPERTIES = ("ActiveState", "UnitFileState", "NeedDaemonReload", "ActiveEnterTimestamp")
# How systemd prints times with TZ=UTC and LC_ALL=C.
TIME = "%a %Y-%m-%d %H:%M:%S UTC"
ENABLED = ("enabled", "static")
ACTIVE = ("active", "activating", "reloading")


class UnitError(Exception):
    """Something that the user must set right."""


@dataclass(frozen=True)
class Unit:
    """A unit as it should be."""

    name: str
    content: str
    state: str
    restart: bool
    follows: Sequence[str]


@dataclass(frozen=True)
class State:
    """What systemd knows of a unit. `since`: seconds since 1970 of its start, 0 where it has not been started."""

    outdated: bool
    enabled: bool
    active: bool
    failed: bool
    since: float

    @classmethod
    def of(cls, shown: Mapping[str, str]) -> State:
        since = 0.0
        # Of a unit that was never started it is empty, or "n/a" (systemd 249).
        with suppress(ValueError):
            moment = datetime.strptime(shown.get("ActiveEnterTimestamp", ""), TIME)
            since = moment.replace(tzinfo=timezone.utc).timestamp()
        return cls(
            outdated=shown.get("NeedDaemonReload") == "yes",
            enabled=shown.get("UnitFileState") in ENABLED,
            active=shown.get("ActiveState") in ACTIVE,
            failed=shown.get("ActiveState") == "failed",
            since=since,
        )


class Systemd:
    """The service manager of this host."""

    def __init__(self, runner: Run) -> None:
        self._run = runner

    def __call__(self, *words: str) -> str:
        done = self._run(["/usr/bin/env", "TZ=UTC", "systemctl", *words], timeout=SECONDS)
        if done.code != 0:
            raise UnitError(f"systemctl {' '.join(words)}: {done.error}")
        return done.stdout

    def states(self, names: Sequence[str]) -> dict[str, State]:
        """Ask for all of them at once."""
        if not names:
            return {}
        shown = self("show", f"--property={','.join(PROPERTIES)}", "--", *names)
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.strip().split("\n\n")]
        return {name: State.of(block) for name, block in zip(names, blocks)}


def content(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def right_access(path: str) -> bool:
    status = os.stat(path)
    return (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (os.geteuid(), os.getegid(), MODE)


def newer(path: str, since: float, now: float) -> bool:
    """Tell whether a file is newer than a start. One of the future would be that after each start."""
    return os.path.exists(path) and int(since) < int(os.stat(path).st_mtime) <= now


def to_start(unit: Unit, state: State, path: str, *, written: bool, now: float) -> bool:
    """Tell whether to start a unit, or to start it again."""
    if unit.state != "started":
        return False
    if not state.active:
        return True
    return unit.restart and (written or any(newer(each, state.since, now) for each in (path, *unit.follows)))


def remove(systemd: Systemd, base: str, names: Sequence[str]) -> None:
    """Stop before the files go: without them systemd would not know how. A timer first: it starts its service."""
    leaving = sorted(names, key=lambda name: (not name.endswith(".timer"), name))
    systemd("disable", "--", *leaving)
    # One that systemd could not load cannot be stopped either.
    if active := [name for name, state in systemd.states(leaving).items() if state.active]:
        systemd("stop", "--", *active)
    if failed := [name for name, state in systemd.states(leaving).items() if state.failed]:
        systemd("reset-failed", "--", *failed)
    for name in leaving:
        os.unlink(os.path.join(base, name))


def check(units: Sequence[Unit], absent: Sequence[str]) -> None:
    """Check what argument specs cannot."""
    names = [unit.name for unit in units]
    if wrong := [name for name in (*names, *absent) if not NAME.fullmatch(name)]:
        raise UnitError(f"not the name of a unit: {', '.join(wrong)}")
    if both := sorted(set(names) & set(absent)):
        raise UnitError(f"to be there and to be absent: {', '.join(both)}")


def bring_about(
    systemd: Systemd, base: str, units: Sequence[Unit], absent: Sequence[str], *, dry: bool
) -> dict[str, Any]:
    """Bring units about, and remove absent ones; or tell what that would change."""
    check(units, absent)
    paths = {unit.name: os.path.join(base, unit.name) for unit in units}
    before = {name: content(path) for name, path in paths.items()}
    written = [unit for unit in units if before[unit.name] != unit.content or not right_access(paths[unit.name])]
    removed = [name for name in absent if os.path.lexists(os.path.join(base, name))]
    states = systemd.states([*paths, *absent])
    reloaded = bool(written or removed or any(state.outdated for state in states.values()))
    if not dry:
        if removed:
            remove(systemd, base, removed)
        for unit in written:
            write_atomically(paths[unit.name], unit.content, MODE)
        if reloaded:
            systemd("daemon-reload")
            states = systemd.states(list(paths))
    now = datetime.now(timezone.utc).timestamp()
    enabled = [unit.name for unit in units if unit.state != "present" and not states[unit.name].enabled]
    started = [
        unit.name
        for unit in units
        if to_start(unit, states[unit.name], paths[unit.name], written=unit in written, now=now)
    ]
    if not dry:
        if enabled:
            systemd("enable", "--", *enabled)
        if started:
            systemd("restart", "--", *started)
    return {
        "changed": bool(reloaded or enabled or started),
        "written": [unit.name for unit in written],
        "reloaded": reloaded,
        "enabled": enabled,
        "started": started,
        "removed": removed,
        "diff": [
            {
                "before_header": paths[unit.name],
                "after_header": paths[unit.name],
                "before": before[unit.name] or "",
                "after": unit.content,
            }
            for unit in written
        ],
    }
