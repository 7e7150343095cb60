# SPDX-License-Identifier: MIT
"""The registry's images: files that never change, and links to them."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from .engine import Engine
from .process import Shell, digest_of, remove_folder, used
from .stores import Facts, Files, Service, Store

TREE = "docker/registry/v2"
LINKS = "registry/repositories"
DIGEST = re.compile(r"(\w+):([0-9a-f]{64})\Z")


class Images(Store):
    """The bundled registry, where its images are in a volume."""

    name = "images"
    staged = ("registry",)

    def __init__(self, engine: Engine, row: Mapping[str, Any]) -> None:
        self.engine = engine
        self.container: str = row["container"]
        self.volume: str = row["volume"]
        # Garbage is collected under a lock on this file.
        self.lock_file = Path(row["lock_file"])
        self.lock: IO[bytes] | None = None

    def tree(self) -> Path:
        return self.engine.folder(self.volume) / TREE

    def stored(self) -> int:
        """The layers are stored from where they are."""
        return used(self.tree())

    def copy(self, stage: Path) -> Facts:
        """Copy the links before anything reads the files: a push writes them in the other order."""
        self.lock = open(self.lock_file, "rb")  # noqa: SIM115
        fcntl.flock(self.lock, fcntl.LOCK_SH)  # it waits for a collection of garbage
        links = stage / LINKS
        remove_folder(links)
        links.parent.mkdir(parents=True, exist_ok=True)
        source = self.tree() / "repositories"
        if not source.is_dir():  # nothing was ever pushed
            return {"links": 0, "paths": {}}
        copy_links(source, links)
        return {"links": sum(1 for _ in linked(links)), "paths": {"blobs": str(self.tree() / "blobs")}}

    def release(self) -> None:
        if self.lock:
            self.lock.close()
            self.lock = None

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        if not facts["links"]:
            return
        service.stop()
        tree = service.volume(self.volume) / TREE
        remove_folder(tree)
        tree.mkdir(parents=True)
        for name, source in (("blobs", files.at(facts["paths"]["blobs"])), ("repositories", files.stage / LINKS)):
            Shell().output(["cp", "--archive", str(source), str(tree / name)])

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        """Every link leads to a file, and every file is what its name says."""
        tree = service.volume(self.volume) / TREE
        wanted = list(linked(tree / "repositories")) if facts["links"] else []
        wrong = [] if len(wanted) == facts["links"] else [f"registry: {len(wanted)} links instead of {facts['links']}"]
        for digest in sorted(set(wanted)):
            path = tree / "blobs" / digest[0] / digest[1][:2] / digest[1] / "data"
            if not path.is_file():
                wrong.append(f"registry: the blob {digest[0]}:{digest[1]} is missing")
            elif digest_of(digest[0], path) != digest[1]:
                wrong.append(f"registry: the blob {digest[0]}:{digest[1]} is damaged")
        return wrong


def copy_links(source: Path, target: Path) -> None:
    """Copy every link. Uploads that go on, or were broken off, are no part of an image."""
    for parent, folders, names in os.walk(source):
        if "_uploads" in folders:
            folders.remove("_uploads")
        if "link" in names:
            place = target / Path(parent).relative_to(source)
            place.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                shutil.copy2(Path(parent, "link"), place / "link")


def linked(links: Path) -> Iterator[tuple[str, str]]:
    """Give the algorithm and the value of every digest that a link names."""
    for parent, _, names in os.walk(links):
        if "link" in names:
            found = DIGEST.match(Path(parent, "link").read_text().strip())
            if found:
                yield found[1], found[2]
