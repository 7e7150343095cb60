# SPDX-License-Identifier: MIT
"""Containers and volumes of Docker."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .process import BackupError, Shell

# What the roles put on everything that is theirs.
OURS = "dev.trigger.ansible/role=backup"


class Engine:
    """The engine of this host."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def inspect(self, container: str) -> dict[str, Any] | None:
        """Give what is known about a container; none if there is none."""
        done = self.shell.run(["docker", "container", "inspect", container])
        if done.returncode != 0:
            return None
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def running(self, container: str) -> bool:
        found = self.inspect(container)
        return bool(found and found["State"]["Running"])

    def address(self, container: str) -> str:
        """Give an address at which this host reaches a container; a restart may change it."""
        found = self.inspect(container)
        networks = found["NetworkSettings"]["Networks"] if found else {}
        addresses = [row["IPAddress"] for row in networks.values() if row["IPAddress"]]
        if not addresses:
            raise BackupError(f"The container {container} does not run. Deploy the installation first (playbook site).")
        return str(addresses[0])

    def image(self, container: str) -> str:
        """Give the name of the image of a container."""
        found = self.inspect(container)
        return str(found["Config"]["Image"]) if found else ""

    def program(self, container: str, *words: str) -> list[str]:
        """Give the command line of a program in a container."""
        return ["docker", "exec", "-i", container, *words]

    def ask(self, container: str, *words: str, data: bytes = b"", doing: str = "") -> str:
        """Run a program in a container and give what it prints."""
        return self.shell.output(self.program(container, *words), data=data, doing=doing)

    def copy_out(self, container: str, path: str, target: Path) -> None:
        """Copy a file of a container, which need not run."""
        self.shell.output(
            ["docker", "cp", "--follow-link", f"{container}:{path}", str(target)], doing=f"Copying {path}"
        )

    def stop(self, *containers: str) -> None:
        """Stop containers, each in the time that it was given when it was made."""
        self.shell.output(["docker", "stop", *containers])

    def start(self, *containers: str) -> None:
        self.shell.output(["docker", "start", *containers])

    def wait(self, container: str, seconds: float) -> None:
        """Wait until a container is healthy."""
        self._until(lambda: self._is_healthy(container), seconds, container, "was not healthy")

    def answers(self, container: str, port: int, path: str, seconds: float) -> None:
        """Wait until a container answers a request over HTTP."""
        self._until(lambda: self._has_answer(container, port, path), seconds, container, "did not answer")

    def _until(self, question: Callable[[], bool], seconds: float, container: str, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not question():
            if time.monotonic() > deadline:
                # All that is waited for has the time that the setting gives.
                raise BackupError(
                    f"{container} {failure} within {seconds:.0f} s (webapp_start_timeout_seconds). Its log says why: "
                    f"docker logs {container}"
                )
            time.sleep(0.2)

    def _is_healthy(self, container: str) -> bool:
        found = self.inspect(container)
        state = found["State"] if found else {}
        health = state.get("Health", {}).get("Status", "healthy" if state.get("Running") else "")
        return bool(health == "healthy")

    def _has_answer(self, container: str, port: int, path: str) -> bool:
        try:
            connection = http.client.HTTPConnection(self.address(container), port, timeout=5)
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException, BackupError):
            return False  # not yet

    def volume(self, name: str) -> Path | None:
        """Give the folder of a volume; none if there is no such volume."""
        done = self.shell.run(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", name])
        return Path(done.stdout.decode().strip()) if done.returncode == 0 else None

    def folder(self, name: str) -> Path:
        """Give the folder of a volume that must be there."""
        found = self.volume(name)
        if not found:
            raise BackupError(f"The volume {name} does not exist. Deploy the installation first (playbook site).")
        return found

    def make_volume(self, name: str, labels: Iterable[str] = (OURS,)) -> Path:
        """Make a volume unless it is there, and give its folder. Its labels tell the playbook uninstall whose it is."""
        flags = [word for label in labels for word in ("--label", label)]
        self.shell.output(["docker", "volume", "create", *flags, name])
        found = self.volume(name)
        assert found
        return found

    def containers(self, project: str, service: str = "") -> list[str]:
        """List the containers of a Compose project, or of one of its services."""
        filters = [f"label=com.docker.compose.project={project}"]
        filters += [f"label=com.docker.compose.service={service}"] if service else []
        words = ["docker", "ps", "--all", "--quiet", *(word for each in filters for word in ("--filter", each))]
        return self.shell.output(words).split()

    def projects(self, prefix: str) -> list[str]:
        """List the Compose projects whose names begin so."""
        words = ["docker", "ps", "--all", "--format", '{{.Label "com.docker.compose.project"}}']
        return sorted({name for name in self.shell.output(words).split() if name.startswith(prefix)})

    def remove_project(self, project: str) -> None:
        """Stop and remove the containers of a Compose project. Volumes stay."""
        self.remove_containers(self.containers(project), f"the project {project}")

    def remove_containers(self, containers: Sequence[str], what: str) -> None:
        """Stop containers in order, and remove them."""
        if containers:
            self.shell.output(["docker", "stop", *containers], doing=f"Stopping {what}")
            self.shell.output(["docker", "rm", "--force", *containers], doing=f"Removing {what}")

    def root(self) -> Path:
        """Give the folder in which the volumes are."""
        return Path(self.shell.output(["docker", "info", "--format", "{{.DockerRootDir}}"]).strip())

    def volumes(self, prefix: str) -> list[str]:
        """List the volumes whose names begin so."""
        names = self.shell.output(["docker", "volume", "ls", "--quiet"]).split()
        return [name for name in names if name.startswith(prefix)]

    def remove_volume(self, name: str) -> None:
        self.shell.output(["docker", "volume", "rm", "--force", name])
