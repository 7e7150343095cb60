# SPDX-License-Identifier: MIT
"""The write-ahead log of Postgres: what is received of it, and the physical copy that it continues."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .process import remove_folder

# Below the folder of backups: what the receiver writes, and what goes into points.
RECEIVED = "received"
LOG = "log"
BASE = "base.tar"
PARTIAL = ".partial"
HISTORY = ".history"
SEGMENT = re.compile(r"[0-9A-F]{24}\Z")


@dataclass(frozen=True)
class Position:
    """A place in the log of a server."""

    timeline: int
    lsn: int
    # Bytes of a file of the log.
    segment: int


@dataclass(frozen=True)
class Base:
    """A physical copy of all databases, as far as its own label tells of it."""

    timeline: int
    start: int
    bytes: int
    time: float


def number_of(lsn: str) -> int:
    """Turn a position as Postgres writes it into a number."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def base_of(path: Path) -> Base | None:
    """Read the label of a copy, which is the first file of the archive; none if there is no copy."""
    try:
        with tarfile.open(path) as archive:
            first = archive.next()
            label = archive.extractfile(first) if first and first.name == "backup_label" else None
            text = label.read().decode() if label else ""
    except (FileNotFoundError, tarfile.TarError):
        return None
    start = re.search(r"^START WAL LOCATION: (\S+)", text, re.MULTILINE)
    timeline = re.search(r"^START TIMELINE: (\d+)", text, re.MULTILINE)
    if not start or not timeline:
        return None
    facts = path.stat()
    return Base(int(timeline[1]), number_of(start[1]), facts.st_size, facts.st_mtime)


def segment_name(timeline: int, number: int, size: int) -> str:
    each = 2**32 // size
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


def needed(base: Base, until: Position) -> list[str]:
    """Name the files of the log from the beginning of a copy to a position."""
    numbers = range(base.start // until.segment, (until.lsn - 1) // until.segment + 1)
    return [segment_name(base.timeline, number, until.segment) for number in numbers]


class Log:
    """The log on this host. Complete files are linked, not copied, into the folder that goes into points."""

    def __init__(self, home: Path) -> None:
        self.received = home / RECEIVED
        self.folder = home / LOG
        self.base = self.folder / BASE
        # A copy that is under way; what is left of one must not get into a point.
        self.fresh = home / "base.new"

    def has(self, name: str) -> bool:
        return any((folder / name).exists() for folder in (self.folder, self.received))

    def missing(self, names: list[str]) -> list[str]:
        """Name what is neither here nor under way. Only the last one may be incomplete."""
        last = names[-1:]
        return [
            name
            for name in names
            # In this order: the receiver renames it when it is complete.
            if not (name in last and (self.received / (name + PARTIAL)).exists()) and not self.has(name)
        ]

    def size(self) -> int:
        """Give the bytes that the received files take. Those that points have are the same files."""
        return sum(path.stat().st_size for path in segments(self.received))

    def gather(self, names: list[str]) -> None:
        """Bring the files together that a recovery from the copy needs."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        for path in self.folder.glob("*" + PARTIAL):
            path.unlink()
        for name in [*names, *(path.name for path in self.received.glob("*" + HISTORY))]:
            if not (self.folder / name).exists():
                self._take(name)

    def _take(self, name: str) -> None:
        try:
            os.link(self.received / name, self.folder / name)
        except FileNotFoundError:  # the receiver still writes it
            try:
                shutil.copyfile(self.received / (name + PARTIAL), self.folder / (name + PARTIAL))
            except FileNotFoundError:  # it is complete since
                os.link(self.received / name, self.folder / name)

    def replace_base(self, segment: int) -> None:
        """Put a new copy into force, and remove what only the old one needed."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        with open(self.fresh, "rb") as file:
            os.fsync(file.fileno())  # before what it replaces is gone
        os.replace(self.fresh, self.base)
        base = base_of(self.base)
        assert base
        self.trim(segment_name(base.timeline, base.start // segment, segment))

    def trim(self, first: str) -> None:
        """Remove complete files before one. The receiver goes on after the newest that it finds."""
        for folder in (self.folder, self.received):
            for path in segments(folder):
                if path.name < first:
                    path.unlink()

    def trim_all(self) -> None:
        """Keep nothing but what the receiver goes on from."""
        self.trim(max((path.name for path in segments(self.received)), default=""))

    def reset(self) -> None:
        """Forget everything: what comes now does not continue it."""
        self.fresh.unlink(missing_ok=True)
        remove_folder(self.folder)
        remove_folder(self.received)


def segments(folder: Path) -> Iterator[Path]:
    """Give the complete files of the log in a folder."""
    yield from sorted(path for path in (folder.iterdir() if folder.exists() else []) if SEGMENT.match(path.name))
