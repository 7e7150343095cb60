# SPDX-License-Identifier: MIT
"""What the program makes of restic's answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup.plan import Target
from trigger_backup.process import BackupError, Shell
from trigger_backup.repository import POINT, Repository, summary_of

OURS, THEIRS = "a" * 16, "b" * 16


class Restic(Shell):
    """Answers as restic does, by the first word of the command."""

    def __init__(self, **answers: tuple[int, str, str]) -> None:
        self.answers = answers
        self.calls: list[list[str]] = []
        self.environment: dict[str, str] = {}

    def run(self, words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        self.calls.append(list(words[1:]))
        self.environment = dict(options["environment"])
        command = next(word for word in words[1:] if not word.startswith("--"))
        code, out, err = self.answers.get(command, (0, "", ""))
        return subprocess.CompletedProcess(list(words), code, out.encode(), err.encode())


def repository(restic: Restic) -> Repository:
    target = Target(
        "s3:https://s3.example.com/b",
        {"AWS_SECRET_ACCESS_KEY": "hidden"},
        "secret-key",
        "",
        "",
        Path("/secrets.json"),
        Path("/run.lock"),
    )
    return Repository(restic, target, Path("/cache"))


def row(number: int, installation: str = OURS) -> dict[str, Any]:
    return {
        "id": f"{number:08x}{0:056x}",
        "time": f"2026-11-{number:02d}T02:30:00Z",
        "tags": ["trigger", f"installation={installation}"],
        "paths": ["/opt/trigger/backup/stage", "/x/blobs"],
    }


def listing(*rows: dict[str, Any]) -> tuple[int, str, str]:
    return (0, json.dumps(list(rows)), "")


def test_secrets_go_in_by_the_environment() -> None:
    restic = Restic()
    assert repository(restic).exists()
    assert restic.environment["RESTIC_PASSWORD"] == "secret-key"
    assert not [word for call in restic.calls for word in call if "secret-key" in word or "hidden" in word]


@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("stat /x/config: no such file or directory\nIs there a repository at the following location?\n/x", False),
        ("Stat: The specified bucket does not exist.", False),
        # restic asks that after every error.
        ("Stat: 403 Forbidden\nIs there a repository at the following location?", "cannot be read .backup_repository"),
        ("Fatal: wrong password or no key found", "backup_key"),
        ("Fatal: unable to open repository: dial tcp: connection refused hidden", "cannot be read .backup_repository"),
    ],
)
def test_a_missing_repository_is_told_from_a_closed_one(error: str, found: bool | str) -> None:
    restic = Restic(cat=(1, "", error))
    if isinstance(found, bool):
        assert repository(restic).exists() is found
        return
    with pytest.raises(BackupError, match=found) as caught:
        repository(restic).exists()
    assert "hidden" not in str(caught.value)


def test_the_latest_backup_of_the_installation_is_chosen() -> None:
    known = repository(Restic(snapshots=listing(row(2), row(1))))
    assert known.choose("latest", OURS).id == row(2)["id"]
    assert known.choose("latest", None).stage == "/opt/trigger/backup/stage"


@pytest.mark.parametrize(
    ("wanted", "rows", "words"),
    [
        ("latest", [], "has no backup"),
        ("latest", [row(1, THEIRS)], "no backup of this installation"),
        ("00000009", [row(1)], "no backup 00000009"),
        (row(1, THEIRS)["id"], [row(1, THEIRS)], "another installation.*encryption_key"),
    ],
)
def test_a_backup_that_cannot_be_meant_is_refused(wanted: str, rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(BackupError, match=words):
        repository(Restic(snapshots=listing(*rows))).choose(wanted, OURS)


def test_of_several_installations_one_has_to_be_named() -> None:
    with pytest.raises(BackupError, match="several installations"):
        repository(Restic(snapshots=listing(row(1), row(2, THEIRS)))).choose("latest", None)


def test_an_incomplete_backup_is_removed_again() -> None:
    summary = json.dumps({"message_type": "summary", "snapshot_id": "abc"})
    restic = Restic(backup=(3, summary, "error: open /x: permission denied"))
    with pytest.raises(BackupError, match="permission denied"):
        repository(restic).save(["/x"], OURS, 1.0)
    assert ["forget", "abc"] in restic.calls


def test_retention_is_passed_on_without_zeros() -> None:
    restic = Restic(snapshots=listing(row(1)), forget=(0, '[{"keep": [], "remove": null}]\n', ""))
    repository(restic).prune({"daily": 7, "weekly": 0}, 7)
    call = restic.calls[0]
    assert call[call.index("--keep-daily") + 1] == "7"
    assert "--keep-weekly" not in call
    assert "prune" not in [call[0] for call in restic.calls]


def test_an_old_backup_stays_while_points_need_it() -> None:
    """Two old backups: the point of one of them is young enough."""
    needed, other, young, old = (row(number) for number in (20, 21, 25, 12))
    for point, backup in ((young, needed), (old, other)):
        point["tags"] = [POINT, f"installation={OURS}", f"backup={backup['id'][:8]}"]
    groups = json.dumps([{"remove": [{"id": needed["id"]}, {"id": other["id"]}]}])
    restic = Restic(snapshots=listing(needed, other, young, old, row(26)), forget=(0, f"{groups}\n", ""))
    repository(restic).prune({"last": 1}, 7)
    (removal,) = (call for call in restic.calls if call[0] == "forget" and "--dry-run" not in call)
    assert set(removal) - {"forget", "--quiet"} == {other["id"], old["id"]}
    assert restic.calls[-1][0] == "prune"


def test_a_point_names_its_backup() -> None:
    summary = json.dumps({"message_type": "summary", "snapshot_id": "abc"})
    restic = Restic(backup=(0, summary, ""))
    repository(restic).save(["/x"], OURS, 5.0, "f" * 8, ["/x/left"])
    (call,) = restic.calls
    assert {POINT, "cut=5.000", "backup=ffffffff", "--exclude=/x/left"} <= set(call)
    assert "trigger" not in call[call.index("--tag") : call.index("--tag") + 2]


def test_the_summary_is_found_among_other_lines() -> None:
    lines = ['{"message_type":"status"}', "noise", '{"message_type":"summary","snapshot_id":"a"}']
    assert summary_of("\n".join(lines))["snapshot_id"] == "a"
    assert summary_of("noise") == {}


def test_a_backup_is_found_by_the_first_and_by_the_present_encryption_key() -> None:
    """The playbook secrets_rotate replaces the key, and an inventory may have either."""
    later = row(2)
    later["tags"].append(f"key={THEIRS}")
    restic = Restic(snapshots=listing(row(1), later))
    assert repository(restic).choose("latest", OURS).id == later["id"]
    assert repository(restic).choose("latest", THEIRS).id == later["id"]
    assert repository(restic).choose("latest", None).id == later["id"]
    with pytest.raises(BackupError, match="no backup of this installation"):
        repository(restic).choose("latest", "c" * 16)
    with pytest.raises(BackupError, match="of another installation"):
        repository(restic).choose(row(1)["id"], THEIRS)


def test_a_backup_says_its_key_only_where_that_is_another_one() -> None:
    restic = Restic(backup=(0, '{"message_type": "summary", "snapshot_id": "1"}', ""))
    repository(restic).save(["/x"], OURS, 1.0, key=OURS)
    repository(restic).save(["/x"], OURS, 1.0, key=THEIRS)
    assert [f"key={THEIRS}" in call for call in restic.calls] == [False, True]
