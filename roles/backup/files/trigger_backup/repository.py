# SPDX-License-Identifier: MIT
"""The repository of restic: encrypted, and each content stored once."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .address import encoded, for_restic, ssh_words
from .plan import Target
from .process import TOO_SLOW, BackupError, Shell, said

TAG = "trigger"
# Of a state between two backups, see points.py.
POINT = "trigger-point"
# The same on every host: restic compares a backup with the last one of the same host and paths.
HOST = "trigger"
MANIFEST = "manifest.json"
DAY = 86400.0
# restic 0.18 tries for 15 minutes what cannot be read, such as a bucket that is not there.
# Each time it tells why (measured).
# An answer takes a second, and a disk that has to start ten.
LOOK_SECONDS = 60.0
# What came of a look: the key opens the repository, does not, or there is none. Exit codes since restic 0.17.
OPEN, REFUSED, ABSENT = "open", "refused", "absent"
WRONG_KEY, NO_REPOSITORY = 12, 10
# For the reason of a login that has failed already.
LOGIN_SECONDS = 10
# And if the server says nothing once it is connected.
LOGIN_END_SECONDS = 30
# Points that one call removes: a command line is not endless.
AT_ONCE = 500
NONE_THERE = r"no such file|does not exist|NoSuchKey|NoSuchBucket|\b404\b"


@dataclass(frozen=True)
class Snapshot:
    """A backup in the repository."""

    id: str
    time: str
    installation: str
    paths: tuple[str, ...]
    # Unix seconds of the state that it has. Of a backup without that tag, when it was stored.
    cut: float = 0.0
    # Of a point: the short id of the backup that has the rest of it.
    backup: str = ""
    point: bool = False
    # By the encryption key that it has, where that is not the first one of its installation.
    key: str = ""

    def is_of(self, installation: str | None) -> bool:
        """Tell whether it may be of an installation; none is any."""
        return installation in (None, self.installation) or (self.key != "" and self.key == installation)

    @property
    def short(self) -> str:
        """Its id as restic 0.14 tells it after a backup, and as people write it."""
        return short(self.id)

    @property
    def stage(self) -> str:
        """The folder that has the manifest."""
        return next(path for path in self.paths if path.endswith("/backup/stage"))


class Repository:
    """A repository, and the key to it."""

    def __init__(self, shell: Shell, target: Target, cache: Path) -> None:
        self.shell = shell
        self.name = target.repository
        self.key = target.key
        # Short values, such as a switch, would mask single characters of an error.
        values = [value for value in (target.key, *target.environment.values()) if len(value) > 5]
        self.secrets = [*values, *map(encoded, values)]
        self.environment = {
            **target.environment,
            "RESTIC_REPOSITORY": for_restic(target.repository, target.environment),
            "RESTIC_PASSWORD": self.key,
            "RESTIC_CACHE_DIR": str(cache),
            "RESTIC_PROGRESS_FPS": "0.01",
        }

    @property
    def folder(self) -> Path | None:
        """Give the folder of this host that has it, if one has."""
        return Path(self.name) if self.name.startswith("/") else None

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

    def look(self) -> subprocess.CompletedProcess[bytes]:
        """Read the first file of the repository, which the key has to open."""
        words = ["restic", "--no-lock", "cat", "config"]
        return self.shell.run(words, environment=self.environment, seconds=LOOK_SECONDS)

    def access(self) -> str:
        """Tell what came of a look. Anything but an answer to that is an error: it tells nothing of the key."""
        done = self.look()
        late = done.returncode == TOO_SLOW
        text = said(done)
        if done.returncode == 0:
            return OPEN
        if done.returncode == WRONG_KEY or "wrong password" in text or "no key found" in text:
            return REFUSED
        # restic asks whether there is one after every error; these say that there is none.
        if done.returncode == NO_REPOSITORY or re.search(NONE_THERE, text):
            return ABSENT
        if late:
            last = f" Its last words: {text}" if (done.stderr + done.stdout).strip() else ""
            text = f"restic gave no answer within {LOOK_SECONDS:.0f} s.{last}"
        reason = self._reason(text) + self._said_by_ssh(text, late=late)
        raise BackupError(f"The repository {self.name} cannot be read (backup_repository): {reason}")

    def exists(self) -> bool:
        """Tell whether there is a repository, which the key has to open. No lock of an interrupted run hinders that."""
        found = self.access()
        if found == REFUSED:
            raise BackupError(
                f"The key does not open the repository {self.name}. Set trigger_secrets.backup_key to the key that it "
                "was made with, or set backup_repository to another place."
            )
        return found == OPEN

    def _said_by_ssh(self, text: str, *, late: bool) -> str:
        """Give the reason of a login that failed. restic often ends before it has printed what ssh says (measured)."""
        words = ssh_words(self.name)
        if not words or not (late or "unable to start the sftp session" in text):
            return ""
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={LOGIN_SECONDS}"]
        done = self.shell.run([words[0], *options, *words[1:]], seconds=LOGIN_END_SECONDS)
        if done.returncode == TOO_SLOW:
            return f" ssh gave no answer within {LOGIN_END_SECONDS} s, either. Try it as root: {' '.join(words)}"
        found = f" ssh says: {said(done)}" if done.returncode else ""
        return f"{found} As root on the control host, this must work without a question: {' '.join(words)}"

    def make(self) -> None:
        self.restic("init", doing="Creating the repository")

    def free_stale_locks(self) -> None:
        """Remove what an interrupted run of this host has left; locks of others that run stay."""
        self.restic("unlock", doing="Removing stale locks")

    def require_lock(self) -> None:
        """See that restic can lock the repository, as it does to store something: so it can write there, and is alone.

        To list the backups needs such a lock, unless it is told otherwise.
        """
        doing = "Locking the repository (backup_repository), which has to be writable and in use by no other program,"
        self.restic("snapshots", "--json", "--latest", "1", doing=doing)

    def snapshots(self) -> list[Snapshot]:
        """List the backups, the newest last."""
        return [row for row in self.states(TAG) if not row.point]

    def newest(self) -> Snapshot:
        """Give the newest backup. Others may have removed all of them, and left points."""
        known = self.snapshots()
        if not known:
            raise BackupError(
                f"{self.name} has no backup any more (backup_repository), and a point needs the one that it belongs "
                "to. Set backup_repository to where the backups are."
            )
        return known[-1]

    def states(self, *tags: str) -> list[Snapshot]:
        """List backups and points, or what has one of the tags, the newest last."""
        flags = [word for tag in tags or (TAG, POINT) for word in ("--tag", tag)]
        rows = json.loads(self.reads("snapshots", "--json", *flags, doing="Listing the backups")) or []
        return sorted(map(snapshot_of, rows), key=lambda row: row.cut)

    def choose(self, wanted: str, installation: str | None) -> Snapshot:
        """Give the backup that is meant: an id, its beginning, or the latest one of the installation."""
        known = self.snapshots() if wanted == "latest" else self.states()
        if wanted != "latest":
            found = [row for row in known if len(wanted) >= 8 and row.id.startswith(wanted)]
            if len(found) != 1:
                last = ", ".join(row.id[:8] for row in known[-5:]) or "none"
                raise BackupError(f"{self.name} has no backup {wanted}. The last ones: {last} (playbook backup_list).")
        else:
            found = [row for row in known if row.is_of(installation)]
            if not found:
                of = " of this installation" if known else ""
                raise BackupError(
                    f"{self.name} has no backup{of} (backup_repository). If this host was deployed as a new one by "
                    "mistake, set trigger_secrets.backup_key and backup_restore_replace_enabled to true."
                )
            if len({row.installation for row in found}) > 1:
                raise BackupError(f"{self.name} has backups of several installations. Name one (playbook backup_list).")
        chosen = found[-1]
        if not chosen.is_of(installation):
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

    def save(
        self,
        paths: Iterable[str],
        installation: str,
        cut: float,
        backup: str = "",
        excluded: Iterable[str] = (),
        key: str = "",
    ) -> dict[str, Any]:
        """Store a backup, or a point of one, whole or not at all."""
        tag = POINT if backup else TAG
        words = ["backup", "--json", "--quiet", "--host", HOST, "--tag", tag, "--tag", f"installation={installation}"]
        words += ["--tag", f"cut={cut:.3f}", *(["--tag", f"backup={backup}"] if backup else [])]
        words += ["--tag", f"key={key}"] if key not in ("", installation) else []
        words += [f"--exclude={path}" for path in excluded]
        done = self.shell.run(["restic", *words, *paths], environment=self.environment)
        summary = summary_of(done.stdout.decode(errors="replace"))
        if done.returncode != 0:
            # 3: some files could not be read, and what could is stored all the same.
            if summary.get("snapshot_id"):
                self.restic("forget", summary["snapshot_id"], doing="Removing the incomplete backup")
            self.require()
            raise BackupError(f"Storing the backup failed ({self.name}): {self._reason(said(done))}")
        return summary

    def require(self) -> None:
        """See that there is a repository, and that the key opens it."""
        if not self.exists():
            raise BackupError(
                f"There is no repository at {self.name}. Set backup_repository to where the backups are, or mount "
                "its disk. If no backup was made yet, make one (playbook backup)."
            )

    def prune(self, keep: Mapping[str, int], point_days: int) -> None:
        """Remove backups and points that are older than the retention, and what only they held."""
        words = [word for name, number in keep.items() if number for word in (f"--keep-{name}", str(number))]
        words = ["forget", "--tag", TAG, "--group-by", "", *words, "--dry-run", "--json"]
        groups = json.loads(self.restic(*words, doing="Looking for old backups").splitlines()[0])
        old = {row["id"] for group in groups for row in group["remove"] or []}
        ids = unwanted(self.states(), old, point_days)
        for number in range(0, len(ids), AT_ONCE):
            self.restic("forget", *ids[number : number + AT_ONCE], "--quiet", doing="Removing old backups")
        if ids:
            self.restic("prune", "--quiet", doing="Removing what old backups held")

    def check(self, percent: int) -> None:
        """Read a part of everything that is stored, and compare it with its checksums."""
        self.free_stale_locks()
        part = ["--read-data-subset", f"{percent}%"] if percent else []
        self.restic("check", *part, "--quiet", doing="Checking the repository")

    def fetch(self, snapshot: Snapshot, folder: Path, included: Iterable[str] = ()) -> None:
        """Write everything of a backup below a folder, as it was; or what is below some of its paths."""
        words = ["--target", str(folder), *(f"--include={path}" for path in included)]
        self.reads("restore", snapshot.id, *words, "--quiet", doing="Fetching the backup")

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


def snapshot_of(row: Mapping[str, Any]) -> Snapshot:
    """Read what restic tells of a snapshot."""
    told = dict(tag.split("=", 1) for tag in row["tags"] if "=" in tag)
    cut = float(told["cut"]) if "cut" in told else seconds_of(row["time"])
    point = POINT in row["tags"]
    installation = told.get("installation", "")
    backup, key = told.get("backup", ""), told.get("key", "")
    return Snapshot(row["id"], row["time"], installation, tuple(row["paths"]), cut, backup, point, key)


def short(identity: str) -> str:
    return identity[:8]


def seconds_of(text: str) -> float:
    """Give the Unix seconds of a time of restic, which has up to nine digits behind the point."""
    found = re.fullmatch(r"(.{19})(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not found:
        return 0.0
    zone = "+00:00" if found[3] == "Z" else found[3]
    return datetime.fromisoformat(found[1] + zone).timestamp() + float(found[2] or 0)


def usable(states: Iterable[Snapshot]) -> list[Snapshot]:
    """Leave out points whose backup is gone."""
    rows = list(states)
    backups = {row.short for row in rows if not row.point}
    return [row for row in rows if not row.point or row.backup in backups]


def unwanted(states: Iterable[Snapshot], old: set[str], point_days: int) -> list[str]:
    """Give the ids of points that are too old or cannot be used, and of old backups that no other point needs."""
    rows = list(states)
    newest = max((row.cut for row in rows), default=0.0)
    kept = [row for row in usable(rows) if row.point and row.cut >= newest - point_days * DAY]
    points, backups = {row.id for row in kept}, {row.backup for row in kept}
    return [
        row.id for row in rows if (row.id not in points if row.point else row.id in old and row.short not in backups)
    ]
