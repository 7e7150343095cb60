# SPDX-License-Identifier: MIT
"""What every store can do."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

Facts = dict[str, Any]

# Workers and runs bridge 34 s without the webapp (measured), and it takes its time to stop and to start. A backup that
# waits longer for its stores does more harm than one that fails.
PAUSE_SECONDS = 15.0


class Service(Protocol):
    """A running service: in the installation, or on its own while something is restored."""

    container: str

    def volume(self, name: str) -> Path:
        """Give the folder of one of its volumes."""

    def stop(self) -> None:
        """Stop it."""

    def start(self) -> None:
        """Start it and wait until it is healthy."""


class Store:
    """A part of the installation that holds data. What a store need not do is not written there."""

    name = ""
    # Files and folders of the stage that are its own.
    staged: tuple[str, ...] = ()
    # When all that it is asked has to be answered (time.monotonic), see limited.
    until = math.inf

    def size(self) -> int:
        """Give the bytes that a copy takes beside the data, at most."""
        return 0

    def stored(self) -> int:
        """Give the bytes that a repository without any backup takes for it, at most."""
        return self.size()

    def prepare(self) -> None:
        """See that the state can be held, and wait for what would delay that. The webapp still runs."""

    def snapshot(self) -> None:
        """Hold on to the present state. The webapp does not run meanwhile, so this must be short.

        A store to which new data does no harm need not hold it.
        """

    def copy(self, stage: Path) -> Facts:
        """Copy the state that was held, and tell what it consists of. `paths` names folders outside of the stage.

        `exact`: whether the counts are those of the copy, see compare.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Let go of the state, whatever became of it. What an interrupted backup has left goes, too."""

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        """Put a state into a service that runs and is empty. A second call begins anew."""

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        """Tell what of a restored state is not as it was."""
        return []

    def level(self, service: Service, facts: Mapping[str, Any]) -> None:
        """Make a restored state fit those of the other stores."""


class Files:
    """What was fetched out of a backup: each path of the host at which it was made, below a folder of its own."""

    def __init__(self, root: Path, stage: Path) -> None:
        self.root = root
        # Of the host that made the backup.
        self.origin = stage

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    @property
    def stage(self) -> Path:
        return self.at(str(self.origin))


@contextmanager
def limited(stores: Sequence[Store]) -> Iterator[None]:
    """Let all stores answer within the same few seconds, whatever they are asked and however often."""
    until = time.monotonic() + PAUSE_SECONDS
    for store in stores:
        store.until = until
    try:
        yield
    finally:
        for store in stores:
            store.until = math.inf


def differences(what: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Compare two sets of counts."""
    return [
        f"{what} {name}: {found.get(name, 'missing')} instead of {wanted.get(name, 'nothing')}"
        for name in sorted({*wanted, *found})
        if wanted.get(name) != found.get(name)
    ]
