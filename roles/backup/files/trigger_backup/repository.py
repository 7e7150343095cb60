# SPDX-License-Identifier: MIT
"""The repository of restic: encrypted, and each content stored once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plan import Target
from .process import BackupError, Shell, said

TAG = "trigger"
# The same on every host: restic compares a backup with the last one of the same host and paths.
HOST = "trigger"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Snapshot:
    """A backup in the repository."""

    id: str
    time: str
    installation: str
    paths: tuple[str, ...]

    @property
    def stage(self) -> str:
        """The folder that has the manifest."""
        return next(path for path in self.paths if path.endswith("/backup/stage"))


class Repository:
    """A repository, and the key to it."""

    def __init__(self, shell: Shell, target: Target, cache: Path) -> None:
        self.shell = shell
        self.name = target.repository
        # Short values, such as a switch, would mask single characters of an error.
        self.secrets = [value for value in (target.key, *target.environment.values()) if len(value) > 5]
        self.environment = {
            **target.environment,
            "RESTIC_REPOSITORY": target.repository,
            "RESTIC_PASSWORD": target.key,
            "RESTIC_CACHE_DIR": str(cache),
            "RESTIC_PROGRESS_FPS": "0.01",
        }

    def restic(self, *words: str, doing: str, accept: Iterable[int] = (0,)) -> str:
        """Run restic, and give what it prints."""
        done = self.shell.run(["restic", *words], environment=self.environment)
        if done.returncode not in accept:
            raise BackupError(f"{doing} failed ({self.name}): {self._reason(said(done))}")
        text: str = done.stdout.decode(errors="replace")
        return text

    def reads(self, *words: str, doing: str) -> str:
        """Run restic without a lock: what an interrupted run has left must not keep anybody from a restore."""
        return self.restic("--no-lock", *words, doing=doing)

    def _reason(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def exists(self) -> bool:
        """Tell whether there is a repository, which the key has to open."""
        done = self.shell.run(["restic", "cat", "config"], environment=self.environment)
        if done.returncode == 0:
            return True
        text = said(done)
        if "wrong password" in text or "no key found" in text:
            raise BackupError(
                f"The key does not open the repository {self.name}. Set trigger_secrets.backup_key to the key that it "
                "was made with, or set backup_repository to another place."
            )
        # restic asks whether there is one after every error; these say that there is none.
        if re.search(r"no such file|does not exist|NoSuchKey|NoSuchBucket|\b404\b", text):
            return False
        raise BackupError(f"The repository {self.name} cannot be read (backup_repository): {self._reason(text)}")

    def make(self) -> None:
        self.restic("init", doing="Creating the repository")

    def free_stale_locks(self) -> None:
        """Remove what an interrupted run of this host has left; locks of others that run stay."""
        self.restic("unlock", doing="Removing stale locks")

    def snapshots(self) -> list[Snapshot]:
        """List the backups, the newest last."""
        rows = json.loads(self.reads("snapshots", "--json", "--tag", TAG, doing="Listing the backups")) or []
        return sorted(
            (
                Snapshot(
                    row["id"],
                    row["time"],
                    next((tag.partition("=")[2] for tag in row["tags"] if tag.startswith("installation=")), ""),
                    tuple(row["paths"]),
                )
                for row in rows
            ),
            key=lambda row: row.time,
        )

    def choose(self, wanted: str, installation: str | None) -> Snapshot:
        """Give the backup that is meant: an id, its beginning, or the latest one of the installation."""
        known = self.snapshots()
        if wanted != "latest":
            found = [row for row in known if len(wanted) >= 8 and row.id.startswith(wanted)]
            if len(found) != 1:
                last = ", ".join(row.id[:8] for row in known[-5:]) or "none"
                raise BackupError(f"{self.name} has no backup {wanted}. The last ones: {last} (playbook backup_list).")
        else:
            found = [row for row in known if installation in (None, row.installation)]
            if not found:
                of = " of this installation" if known else ""
                raise BackupError(
                    f"{self.name} has no backup{of} (backup_repository). If this host was deployed anew by mistake, "
                    "set trigger_secrets.backup_key and backup_restore_replace_enabled to true."
                )
            if len({row.installation for row in found}) > 1:
                raise BackupError(f"{self.name} has backups of several installations. Name one (playbook backup_list).")
        chosen = found[-1]
        if installation not in (None, chosen.installation):
            raise BackupError(
                f"The backup {chosen.id[:8]} is of another installation: its encryption key is not that of this "
                "inventory or host. Correct trigger_secrets.encryption_key, or choose another backup."
            )
        return chosen

    def manifest(self, snapshot: Snapshot) -> dict[str, Any]:
        """Read what a backup says about itself."""
        text = self.reads("dump", snapshot.id, f"{snapshot.stage}/{MANIFEST}", doing="Reading the manifest")
        found: dict[str, Any] = json.loads(text)
        return found

    def save(self, paths: Iterable[str], installation: str) -> dict[str, Any]:
        """Store a backup, whole or not at all."""
        words = ["backup", "--json", "--quiet", "--host", HOST, "--tag", TAG, "--tag", f"installation={installation}"]
        done = self.shell.run(["restic", *words, *paths], environment=self.environment)
        summary = summary_of(done.stdout.decode(errors="replace"))
        if done.returncode != 0:
            # 3: some files could not be read, and what could is stored all the same.
            if summary.get("snapshot_id"):
                self.restic("forget", summary["snapshot_id"], doing="Removing the incomplete backup")
            raise BackupError(f"Storing the backup failed ({self.name}): {self._reason(said(done))}")
        return summary

    def prune(self, keep: Mapping[str, int]) -> None:
        """Remove backups that are older than the retention, and what only they held."""
        words = [word for name, number in keep.items() if number for word in (f"--keep-{name}", str(number))]
        self.restic(
            "forget", "--tag", TAG, "--group-by", "", *words, "--prune", "--quiet", doing="Removing old backups"
        )

    def check(self, percent: int) -> None:
        """Read a part of everything that is stored, and compare it with its checksums."""
        self.free_stale_locks()
        part = ["--read-data-subset", f"{percent}%"] if percent else []
        self.restic("check", *part, "--quiet", doing="Checking the repository")

    def fetch(self, snapshot: Snapshot, folder: Path) -> None:
        """Write everything of a backup below a folder, as it was."""
        self.reads("restore", snapshot.id, "--target", str(folder), "--quiet", doing="Fetching the backup")

    def size(self, snapshot: Snapshot) -> int:
        """Give the bytes that a backup takes when it is fetched."""
        text = self.reads("stats", snapshot.id, "--mode", "restore-size", "--json", doing="Measuring the backup")
        return int(json.loads(text)["total_size"])


def summary_of(output: str) -> dict[str, Any]:
    """Find restic's last word in its output."""
    for line in reversed(output.splitlines()):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("message_type") == "summary":
            return row
    return {}
