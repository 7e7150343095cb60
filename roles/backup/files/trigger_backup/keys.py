# SPDX-License-Identifier: MIT
"""Another key for the repository: the new one is added and tried before the old one is removed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from .plan import Target
from .process import BackupError, Shell
from .repository import ABSENT, OPEN, REFUSED, Repository

FILE = "key.new"


class Keys:
    """The keys that open a repository."""

    def __init__(self, shell: Shell, target: Target, folder: Path) -> None:
        self.shell = shell
        self.target = target
        self.folder = folder

    def repository(self, key: str) -> Repository:
        return Repository(self.shell, replace(self.target, key=key), self.folder / "cache")

    def opens(self, key: str) -> bool:
        """Tell whether a key opens the repository, which has to be there. What cannot be tried is an error."""
        repository = self.repository(key)
        found = repository.access()
        if found == ABSENT:
            raise BackupError(f"There is no repository at {repository.name} any more (backup_repository).")
        return found == OPEN

    def add(self, key: str) -> bool:
        """Let another key open the repository, too. Tells whether there was anything to do."""
        current = self.repository(self.target.key)
        if self.repository(key).access() != REFUSED or not current.exists():
            return False
        current.free_stale_locks()
        path = self.folder / FILE
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(key)
            current.restic("key", "add", "--new-password-file", str(path), doing="Adding the new key")
        finally:
            path.unlink(missing_ok=True)
        if not self.opens(key):
            raise BackupError(f"The new key does not open the repository {current.name}. The old one stays.")
        return True

    def remove(self, key: str) -> bool:
        """Keep a key from opening the repository. The one that backups use is never removed."""
        current = self.repository(self.target.key)
        if key == self.target.key:
            raise BackupError(
                "Backups still use the old key of the repository. Start the playbook secrets_rotate again."
            )
        if not current.exists() or not self.opens(key):
            return False
        rows = json.loads(self.repository(key).reads("key", "list", "--json", doing="Listing the keys"))
        current.free_stale_locks()
        for row in rows:
            if row["current"]:
                current.restic("key", "remove", row["id"], doing="Removing the old key")
        if self.opens(key):
            raise BackupError(f"The old key still opens the repository {current.name} (restic key list).")
        return True
