# SPDX-License-Identifier: MIT
"""A control host in a folder, whose program runs as its units run it. The engine is a script."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trigger_backup.plan import write_json

from testbed.common import ROOT
from tests.debian import unpacked

KEY = "key-of-the-repository"
ENCRYPTION = "e" * 32
SECONDS = 180
# No service runs, and there is no volume.
DOCKER = """
case "$*" in
  info*) echo / ;;
  "ps "* | "volume ls "*) ;;
  *) exit 1 ;;
esac
"""
NONE: Mapping[str, str] = MappingProxyType({})


class Control:
    """A control host whose installation is a few files."""

    def __init__(
        self, folder: Path, told: Mapping[str, Any], secrets: Sequence[str] = (), commands: Mapping[str, str] = NONE
    ) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls"
        self.directory = folder / "trigger"
        self.home = self.directory / "backup"
        self.home.mkdir(parents=True)
        (self.home / "trigger_backup").symlink_to(ROOT / "roles/backup/files/trigger_backup")
        self.secrets = [KEY, ENCRYPTION, *secrets]
        write_json(self.directory / "secrets.json", {"encryption_key": ENCRYPTION, "backup_key": KEY})
        write_json(self.home / "plan.json", plan(self.directory))
        self.command("docker", DOCKER)
        self.command("restic", f'exec {unpacked("usr/bin/restic", "restic")} "$@"')
        for name, script in commands.items():
            self.command(name, script)
        self.told = told
        self.tell(told)

    def tell(self, told: Mapping[str, Any]) -> None:
        """Write what the role writes."""
        for file in told["files"]:
            path = self.home / file["path"]
            path.unlink(missing_ok=True)
            path.touch(int(file.get("mode", "0600"), 8))
            path.write_text(file["content"])

    def command(self, name: str, script: str) -> None:
        """Put a command on the path that notes its arguments."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {self.calls}\n{script}\n')
        path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.home / "trigger-backup"), *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Without a terminal, at which ssh would ask.
            start_new_session=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.begin(*words)
        output, error = process.communicate(timeout=SECONDS)
        assert [secret for secret in self.secrets if secret in output + error] == []
        return process.returncode, output + error

    def succeed(self, *words: str) -> Any:
        code, output = self.run(*words)
        assert code == 0, output
        return json.loads(output.splitlines()[-1])

    def fail(self, *words: str) -> str:
        code, output = self.run(*words)
        assert code == 1, output
        return output


def plan(directory: Path) -> dict[str, Any]:
    return {
        "name": "https://trigger.example.com", "collection_version": "0.1.0", "trigger_version": "v4.2.0",
        "directory": str(directory), "secrets_file": str(directory / "secrets.json"),
        "webapp_container": "trigger-webapp-webapp-1", "webapp_start_seconds": 5, "pause": True, "stores": {},
        "left_out": {}, "keep": {"last": 1}, "check_percent": 0,
    }  # fmt: skip
