# SPDX-License-Identifier: MIT
"""How far a rotation of secrets has come: two files beside the secrets file, of the same format, tell.

NEXT is there from its beginning until services take the new secrets, PREVIOUS from then on until nothing needs the
old ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._encryption import identity
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError, read

NEXT, PREVIOUS = ".next", ".previous"
MODE = 0o600
NONE, BEGUN, SWITCHED = "none", "begun", "switched"
# Of the installation, which its backups are told by: without it that of its encryption key.
IDENTITY = "installation_identity"
UNFINISHED = (
    "is of a rotation of secrets that is not complete. Start the playbook secrets_rotate again; it completes that."
)


@dataclass(frozen=True)
class Rotation:
    """What is being replaced."""

    stage: str
    old: Mapping[str, str] = field(repr=False)
    new: Mapping[str, str] = field(repr=False)

    @property
    def names(self) -> list[str]:
        return sorted(name for name, value in self.old.items() if self.new.get(name, value) != value)


def is_begun(path: str) -> bool:
    """Tell whether secrets wait for services to take them."""
    return os.path.lexists(path + NEXT)


def look(path: str) -> Rotation:
    """Find out how far a rotation has come."""
    found = read(path)
    if not found.exists:
        raise SecretFileError(f"{path} does not exist, so there is nothing to rotate. Deploy first (playbook site).")
    if is_begun(path):
        return Rotation(BEGUN, found.secrets, {**found.secrets, **read(path + NEXT).secrets})
    previous = read(path + PREVIOUS)
    if previous.exists:
        return Rotation(SWITCHED, previous.secrets, found.secrets)
    return Rotation(NONE, found.secrets, found.secrets)


def begin(found: Rotation, lengths: Mapping[str, int], generate: Callable[[int], str]) -> Rotation:
    """Decide on new secrets. An interrupted rotation keeps those that it has; once services have them, all stay."""
    if found.stage == SWITCHED:
        return found
    if not lengths and found.stage == NONE:
        return found
    missing = sorted(set(lengths) - set(found.old))
    if missing:
        raise SecretFileError(f"The secrets file does not hold {', '.join(missing)}. Deploy first (playbook site).")
    fresh = {name: generate(length) for name, length in lengths.items() if name not in found.names}
    new = {**found.new, **fresh}
    key = found.old.get("encryption_key")
    if key and new["encryption_key"] != key:
        new.setdefault(IDENTITY, identity(key))
    return Rotation(BEGUN, found.old, new)


def text(secrets: Mapping[str, str]) -> str:
    return json.dumps(secrets, indent=2, sort_keys=True) + "\n"


def store(path: str, rotation: Rotation) -> None:
    """Keep the new secrets beside the old ones."""
    write_atomically(path + NEXT, text(rotation.new), MODE)


def commit(path: str, rotation: Rotation) -> None:
    """Let the new secrets take the place of the old ones, which are kept."""
    write_atomically(path + PREVIOUS, text(rotation.old), MODE)
    os.replace(path + NEXT, path)


def forget(path: str) -> None:
    """Give up the old secrets."""
    os.unlink(path + PREVIOUS)
