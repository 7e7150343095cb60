# SPDX-License-Identifier: MIT
"""The services of an installation on their own, without webapp and ports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .engine import Engine
from .plan import write_json
from .process import BackupError

# What a service needs to do its work; ports, neighbours and labels are left out.
KEPT = (
    "cap_add",
    "cap_drop",
    "command",
    "cpus",
    "entrypoint",
    "healthcheck",
    "image",
    "mem_limit",
    "memswap_limit",
    "pids_limit",
    "read_only",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "tmpfs",
    "ulimits",
    "user",
)
FILE = "compose.json"
# What Compose says when the time is over.
LATE = "not healthy after"


@dataclass(frozen=True)
class Change:
    """What a service with one volume is to have otherwise than in the source: image, place of the volume, variables."""

    image: str
    folder: str
    environment: Mapping[str, str]


NONE: Mapping[str, Change] = MappingProxyType({})


class Aside:
    """A Compose project of some services of another one. `prefix` stands before the names of its volumes."""

    def __init__(self, engine: Engine, name: str, folder: Path, wait_seconds: int, prefix: str = "") -> None:
        self.engine = engine
        self.name = name
        self.folder = folder
        self.wait_seconds = wait_seconds
        self.prefix = prefix

    @property
    def written(self) -> bool:
        """Tell whether there is a project, if only from an interrupted run."""
        return (self.folder / FILE).exists()

    def compose(self, *words: str) -> str:
        command = ["docker", "compose", "--project-name", self.name, "--file", str(self.folder / FILE)]
        return self.engine.shell.output([*command, *words], doing=f"Compose ({words[0]}, project {self.name})")

    def read(self, source: Path) -> dict[str, Any]:
        """Give a project as Compose understands it."""
        words = ["docker", "compose", "--project-directory", str(source), "--file", str(source / "compose.yml")]
        text = self.engine.shell.output([*words, "config", "--format", "json"], doing="Reading the services")
        found: dict[str, Any] = json.loads(text)
        return found

    def write(
        self, source: Path, services: Iterable[str], moved: tuple[Path, Path], changes: Mapping[str, Change] = NONE
    ) -> None:
        """Write the project, make its volumes. `moved`: where files of the source were to be, and where they are."""
        whole = self.read(source)
        for key, row in whole["volumes"].items():
            # As Compose would make them.
            owner = {"com.docker.compose.project": whole["name"], "com.docker.compose.volume": key}
            labels = {} if self.prefix else {**row.get("labels", {}), **owner}
            self.engine.make_volume(self.prefix + row["name"], [f"{name}={text}" for name, text in labels.items()])
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        rows = {name: whole["services"][name] for name in services if name in whole["services"]}
        names = {key: {"external": True, "name": self.prefix + row["name"]} for key, row in whole["volumes"].items()}
        write_json(
            self.folder / FILE,
            {
                "services": {
                    name: _changed(self._service(row, source / f"{name}.env", moved), changes.get(name))
                    for name, row in rows.items()
                },
                "volumes": names,
                "networks": {"default": {"internal": True}},
            },
        )

    def _service(self, row: Mapping[str, Any], environment: Path, moved: tuple[Path, Path]) -> dict[str, Any]:
        kept = {key: row[key] for key in KEPT if row.get(key) is not None}
        # Compose has put the secrets of that file among the environment.
        files = {"env_file": [str(environment)]} if environment.exists() else {}
        mounts = [self._mount(mount, moved) for mount in row.get("volumes", [])]
        return {**kept, **files, "volumes": mounts, "restart": "no"}

    def _mount(self, mount: Mapping[str, Any], moved: tuple[Path, Path]) -> dict[str, Any]:
        if mount["type"] != "bind":
            return {"type": "volume", "source": mount["source"], "target": mount["target"]}
        before, now = moved
        source = Path(mount["source"])
        if before in source.parents:
            source = now / source.relative_to(before)
        return {"type": "bind", "source": str(source), "target": mount["target"], "read_only": True}

    def up(
        self, source: Path, services: Sequence[str], moved: tuple[Path, Path], changes: Mapping[str, Change] = NONE
    ) -> None:
        """Write the project, start its services if there are any, and wait until they are healthy."""
        if services:
            self.write(source, services, moved, changes)
            try:
                self.compose("up", "--detach", "--wait", "--wait-timeout", str(self.wait_seconds))
            except BackupError as error:
                if LATE not in str(error):
                    raise
                limit = f"They have {self.wait_seconds} s to become healthy (webapp_start_timeout_seconds)."
                raise BackupError(f"{error} {limit}") from None

    def down(self) -> None:
        if self.written:
            self.compose("down", "--timeout", "60")
            shutil.rmtree(self.folder)


def _changed(row: dict[str, Any], change: Change | None) -> dict[str, Any]:
    if not change:
        return row
    mounts = [mount | ({"target": change.folder} if mount["type"] == "volume" else {}) for mount in row["volumes"]]
    return {**row, "image": change.image, "environment": dict(change.environment), "volumes": mounts}


class Volumes:
    """In place of a service, for a store that needs none to be restored."""

    container = ""

    def __init__(self, project: Aside) -> None:
        self.project = project

    def volume(self, name: str) -> Path:
        return self.project.engine.make_volume(self.project.prefix + name)

    def stop(self) -> None:
        """Nothing runs."""

    def start(self) -> None:
        """Nothing runs."""


class AsideService(Volumes):
    """A service of the project."""

    def __init__(self, project: Aside, name: str) -> None:
        super().__init__(project)
        self.container = f"{project.name}-{name}-1"

    def stop(self) -> None:
        self.project.engine.stop(self.container)

    def start(self) -> None:
        self.project.engine.start(self.container)
        self.project.engine.wait(self.container, self.project.wait_seconds)
