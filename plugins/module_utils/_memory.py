# SPDX-License-Identifier: MIT
"""What memory a host has, and which containers use it, by what the kernel says of both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# The last part of a path that names a container, whatever stands around it: docker-<id>.scope, <id>.
CONTAINER = re.compile(r".*/[^/]*?([0-9a-f]{64})[^/]*")


@dataclass(frozen=True)
class Memory:
    total: int
    available: int


def memory(meminfo: str) -> Memory:
    """Read /proc/meminfo. What the kernel can drop at once counts as available."""
    rows = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    return Memory(*(int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable")))


def _numbers(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}


def _used(folder: Path, total: str, cached: str) -> int | None:
    """Count as `docker stats` does: without pages that the kernel can drop at once."""
    try:
        whole = int((folder / total).read_text())
        return max(0, whole - _numbers(folder / "memory.stat").get(cached, 0))
    except (OSError, ValueError):
        # It has ended meanwhile, or the kernel does not count.
        return None


def _groups(proc: Path) -> Iterator[tuple[str, str, bool]]:
    """Give the container of every process: its identity, the path of its group, and whether that is of version 1."""
    for file in proc.glob("[0-9]*/cgroup"):
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            number, controllers, path = line.split(":", 2)
            named = CONTAINER.match(path)
            if named and (number == "0" or "memory" in controllers.split(",")):
                yield named[1], named[0], number != "0"


def used_by_containers(identities: Iterable[str], proc: Path = PROC, cgroups: Path = CGROUPS) -> Mapping[str, int]:
    """Give the bytes that each of the running containers uses, as far as the kernel counts them."""
    left, found = set(identities), {}
    for identity, path, is_old in _groups(proc):
        if identity in left:
            below = path.lstrip("/")
            used = (
                _used(cgroups / "memory" / below, "memory.usage_in_bytes", "total_inactive_file")
                if is_old
                else _used(cgroups / below, "memory.current", "inactive_file")
            )
            if used is not None:
                found[identity] = used
                left.discard(identity)
    return found
