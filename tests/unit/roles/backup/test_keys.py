# SPDX-License-Identifier: MIT
"""Another key for the repository: at no moment does no key open it, and no key stands in a command."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup import __main__ as program
from trigger_backup.keys import Keys
from trigger_backup.plan import Target, identity, known_identity
from trigger_backup.process import TOO_SLOW, BackupError, Shell

OLD, NEW = "old-key-0123456789", "new-key-9876543210"


class Restic(Shell):
    """A repository with some keys; it knows who asks by the environment."""

    def __init__(self, *keys: str, exists: bool = True) -> None:
        self.keys = list(keys)
        self.there = exists
        self.deaf = False
        # Key -> exit code of calls with it, at once and once a key was removed.
        self.lost: dict[str, int] = {}
        self.lost_after_removal: dict[str, int] = {}
        self.calls: list[str] = []

    def run(self, words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        call = [word for word in words[1:] if not word.startswith("--no-lock")]
        self.calls.append(" ".join(call))
        key = options["environment"]["RESTIC_PASSWORD"]
        if not self.there:
            return subprocess.CompletedProcess(list(words), 1, b"", b"stat /x/config: no such file or directory")
        if key in self.lost:
            return subprocess.CompletedProcess(list(words), self.lost[key], b"", b"dial tcp: i/o timeout")
        if key not in self.keys:
            return subprocess.CompletedProcess(list(words), 1, b"", b"Fatal: wrong password or no key found")
        answer = b""
        if call[:2] == ["key", "add"]:
            path = Path(call[3])
            assert path.stat().st_mode & 0o777 == 0o600
            if not self.deaf:
                self.keys.append(path.read_text())
        if call[:2] == ["key", "list"]:
            rows = [{"id": f"{number:08x}", "current": each == key} for number, each in enumerate(self.keys)]
            answer = json.dumps(rows).encode()
        if call[:2] == ["key", "remove"]:
            number = int(call[2], 16)
            assert self.keys[number] != key, "restic refuses to remove the key that is in use"
            if not self.deaf:
                del self.keys[number]
            self.lost = self.lost_after_removal
        return subprocess.CompletedProcess(list(words), 0, answer, b"")


def keys(restic: Restic, folder: Path, key: str = OLD) -> Keys:
    return Keys(
        restic, Target("/var/backups/trigger", {}, key, "", "", Path("/secrets.json"), Path("/run.lock")), folder
    )


def test_the_new_key_opens_it_before_the_old_one_is_removed(tmp_path: Path) -> None:
    restic = Restic(OLD)
    assert keys(restic, tmp_path).add(NEW) is True
    assert restic.keys == [OLD, NEW]
    assert keys(restic, tmp_path).add(NEW) is False, "a second call has nothing to do"
    assert keys(restic, tmp_path, NEW).remove(OLD) is True
    assert restic.keys == [NEW]
    assert keys(restic, tmp_path, NEW).remove(OLD) is False
    assert list(tmp_path.iterdir()) == [], "the key stays in a file"
    assert [call for call in restic.calls if OLD in call or NEW in call] == []


def test_a_repository_that_was_never_made_needs_no_key(tmp_path: Path) -> None:
    restic = Restic(exists=False)
    assert keys(restic, tmp_path).add(NEW) is False
    assert keys(restic, tmp_path, NEW).remove(OLD) is False


def test_a_key_that_does_not_open_it_ends_it(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="backup_key"):
        keys(Restic("another"), tmp_path).add(NEW)
    restic = Restic(OLD)
    restic.deaf = True
    with pytest.raises(BackupError, match="The new key does not open"):
        keys(restic, tmp_path).add(NEW)
    assert restic.keys == [OLD]


@pytest.mark.parametrize("code", [1, TOO_SLOW, 137])
def test_a_key_that_could_not_be_tried_does_not_count_as_removed(tmp_path: Path, code: int) -> None:
    """The network, for example: the old key may still open the repository."""
    restic = Restic(OLD, NEW)
    restic.lost = {OLD: code}
    with pytest.raises(BackupError, match="cannot be read"):
        keys(restic, tmp_path, NEW).remove(OLD)
    with pytest.raises(BackupError, match="cannot be read"):
        keys(restic, tmp_path, NEW).add(OLD)
    # It is lost after the removal only.
    restic.lost = {}
    restic.lost_after_removal = {OLD: code}
    with pytest.raises(BackupError, match="cannot be read"):
        keys(restic, tmp_path, NEW).remove(OLD)


def test_a_repository_that_is_gone_does_not_count_as_closed(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="any more"):
        keys(Restic(exists=False), tmp_path).opens(OLD)


def test_the_key_of_backups_is_never_removed(tmp_path: Path) -> None:
    restic = Restic(OLD, NEW)
    with pytest.raises(BackupError, match="still use the old key"):
        keys(restic, tmp_path, OLD).remove(OLD)
    assert restic.keys == [OLD, NEW]
    with pytest.raises(BackupError, match="backup_key"):
        keys(Restic(OLD), tmp_path, NEW).remove(OLD)
    restic.deaf = True
    with pytest.raises(BackupError, match="still opens"):
        keys(restic, tmp_path, NEW).remove(OLD)


def test_the_command_reads_the_key_from_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    restic = Restic(OLD)
    folder = tmp_path / "backup"
    folder.mkdir()
    told = {"repository": "/r", "environment": {}, "key": OLD, "installation": "", "trigger_version": "v4.2.0"}
    (folder / "repository.json").write_text(json.dumps({**told, "secrets_file": "/s", "run_lock": "/l"}))
    monkeypatch.setattr(program, "Shell", lambda: restic)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{NEW}\n"))
    assert program.main(["--directory", str(tmp_path), "key-add"]) == 0
    assert restic.keys == [OLD, NEW]
    said = capsys.readouterr()
    assert json.loads(said.out) == {"changed": True}
    assert NEW not in said.out + said.err


def test_an_installation_is_known_by_its_first_key(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first, second = "1" * 32, "2" * 32

    def target(installation: str) -> Target:
        return Target("/r", {}, OLD, installation, "", path, Path("/run.lock"))

    path.write_text(json.dumps({"encryption_key": first}))
    assert known_identity(target("")) == identity(first)
    path.write_text(json.dumps({"encryption_key": second, "installation_identity": identity(first)}))
    assert known_identity(target("")) == identity(first)
    # The inventory has the new key.
    assert known_identity(target(identity(second))) == identity(first)
    # It has that of another installation.
    assert known_identity(target(identity("3" * 32))) == identity("3" * 32)
    assert known_identity(target(identity(second)), replaced=True) == identity(second)
