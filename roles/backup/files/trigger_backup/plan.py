# SPDX-License-Identifier: MIT
"""What is backed up, and where to.

The role writes both: plan.json, which goes into each backup, and repository.json, which does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .process import BackupError

# Of what a backup holds. A backup of a later format is refused.
FORMAT = 2
# Beside the secrets file while a rotation has new secrets that services do not have yet.
NEXT_SECRETS = ".next"


@dataclass(frozen=True)
class Advice:
    """What to do about a file that cannot be read."""

    missing: str
    damaged: str


def written_by(playbook: str) -> Advice:
    """Give that for a file of a role, which the playbook writes anew."""
    return Advice(f"The playbook {playbook} writes it.", f"Remove it; the playbook {playbook} writes it again.")


HERE = written_by("backup")
_RESTORE_SECRETS = "It has the only encryption key of the data: restore it from a backup or from your vault."
SECRETS = Advice(_RESTORE_SECRETS, f"Do not remove it. {_RESTORE_SECRETS}")
# Of what was fetched.
SAVED = Advice(*["What was saved is not complete. Restore another backup (playbook backup_list)."] * 2)
# Of what takes several steps. Without it, nobody knows what is replaced and where the old data is.
JOURNAL = Advice(*["Do not remove it: only it knows the way back. Restore it from a copy of the disk."] * 2)


@dataclass(frozen=True)
class Target:
    """The repository of restic."""

    repository: str
    # Of restic, such as the keys of S3.
    environment: Mapping[str, str] = field(repr=False)
    key: str = field(repr=False)
    # Which installation the inventory is of, as far as it says so, and the version that it wants.
    installation: str
    trigger_version: str
    # Where the secrets of this host are, if it has any.
    secrets_file: Path
    # What a run of a playbook that changes the installation holds.
    run_lock: Path
    # How far points are apart.
    point_minutes: int = 5


@dataclass(frozen=True)
class Plan:
    """An installation, as far as a backup needs to know it."""

    # trigger_origin; people know an installation by it.
    name: str
    collection_version: str
    trigger_version: str
    # Where all files of the installation are.
    directory: Path
    secrets_file: Path
    webapp_container: str
    webapp_start_seconds: int
    pause: bool
    # Name of a store -> what is peculiar to it.
    stores: Mapping[str, Mapping[str, Any]]
    # What is not backed up -> why.
    left_out: Mapping[str, str]
    keep: Mapping[str, int]
    check_percent: int
    # Whether there are states between two backups, and for how many days they are kept.
    points: bool = False
    point_keep_days: int = 7

    @property
    def webapp_directory(self) -> Path:
        return self.directory / "webapp"

    @property
    def secrets_are_outside(self) -> bool:
        """Tell whether the secrets are somewhere else than the other files."""
        return self.directory not in self.secrets_file.parents

    @property
    def secrets_copy(self) -> Path:
        """Give the place of the secrets among the files of a backup, which has folders as the installation has them."""
        outside = self.secrets_are_outside
        return Path(self.secrets_file.name) if outside else self.secrets_file.relative_to(self.directory)

    @property
    def volumes(self) -> list[str]:
        return [row["volume"] for row in self.stores.values() if row.get("volume")]

    @property
    def services(self) -> list[str]:
        """Those that hold the stores, by their names in the project of the webapp."""
        return [row["service"] for row in self.stores.values() if row.get("service")]

    @property
    def home(self) -> Path:
        return home(self.directory)

    @property
    def stage(self) -> Path:
        """What is copied before it is backed up."""
        return self.home / "stage"


def home(directory: Path) -> Path:
    """Give the folder of backups in the folder of an installation."""
    return directory / "backup"


def read_json(path: Path, advice: Advice = HERE) -> Any:
    """Read a file of the role or of this program."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackupError(f"{path} is missing. {advice.missing}") from None
    except ValueError:
        raise BackupError(f"{path} is damaged. {advice.damaged}") from None


def write_json(path: Path, content: Any) -> None:
    """Replace a file in one step, for root only."""
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def target_of(directory: Path) -> Target:
    content = read_json(home(directory) / "repository.json")
    paths = {name: Path(content[name]) for name in ("secrets_file", "run_lock")}
    return Target(**{**content, **paths})


def plan_of(path: Path, advice: Advice = HERE) -> Plan:
    """Read a plan, that of this host or of a backup."""
    content = read_json(path, advice)
    paths = {name: Path(content[name]) for name in ("directory", "secrets_file")}
    # A later version of the collection may write more. What this one could not restore has a later format.
    known = {each.name: content[each.name] for each in fields(Plan) if each.name in content}
    return Plan(**{**known, **paths})


def require_rotated(secrets_file: Path) -> None:
    """Refuse while new secrets wait for the stores to take them: which ones a store has then, nobody knows."""
    if secrets_file.with_name(secrets_file.name + NEXT_SECRETS).exists():
        raise BackupError(
            "A rotation of secrets is not complete, so a backup of now could not be restored. Start the playbook"
            " secrets_rotate again; it completes that."
        )


def secrets_of(path: Path, advice: Advice = SECRETS) -> dict[str, str]:
    """Read the secrets of the installation."""
    content: dict[str, str] = read_json(path, advice)
    return content


def identity(encryption_key: str) -> str:
    """Tell installations apart by their encryption key; the result tells nothing about it."""
    return hashlib.sha256(f"selfhosted.trigger_dev backup {encryption_key}".encode()).hexdigest()[:16]


def identity_of(secrets: Mapping[str, str]) -> str:
    """Give what tells an installation from others. It stays when the playbook secrets_rotate replaces the key."""
    return secrets.get("installation_identity") or identity(secrets["encryption_key"])


def known_identity(target: Target, replaced: bool = False) -> str | None:
    """Tell which installation is meant: what the inventory says, else what this host has, unless that is replaced."""
    if replaced or not target.secrets_file.is_file():
        return target.installation or None
    secrets = secrets_of(target.secrets_file)
    key = secrets.get("encryption_key", "")
    if not key or target.installation not in ("", identity(key)):
        return target.installation or None
    return identity_of(secrets)
