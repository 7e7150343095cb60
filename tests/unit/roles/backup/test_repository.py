# SPDX-License-Identifier: MIT
"""What the program makes of restic's answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from trigger_backup.address import for_restic, ssh_words
from trigger_backup.plan import Target
from trigger_backup.process import BackupError, Shell
from trigger_backup.repository import ABSENT, POINT, REFUSED, Repository, summary_of

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


def test_a_lock_that_was_left_hides_no_repository() -> None:
    """It is asked for before the locks of interrupted runs are removed."""

    class Locked(Restic):
        def run(self, words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
            done = super().run(words, **options)
            error = b"" if "--no-lock" in words else b"unable to create lock: repository is already locked exclusively"
            return subprocess.CompletedProcess(done.args, 1 if error else 0, done.stdout, error)

    assert repository(Locked()).exists()


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


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("rest:https://host:8000/path/", "rest:https://b%3Aa:p%2Fw%40%23@host:8000/path/"),
        ("rest:http://host", "rest:http://b%3Aa:p%2Fw%40%23@host"),
        ("s3:https://host/bucket", "s3:https://host/bucket"),
        ("/rest://x", "/rest://x"),
    ],
)
def test_a_login_of_a_rest_server_is_in_the_address_that_restic_gets(name: str, address: str) -> None:
    """The restic of Debian 12 takes it from nowhere else; the environment is the only place in which it stands."""
    login = {"RESTIC_REST_USERNAME": "b:a", "RESTIC_REST_PASSWORD": "p/w@#"}
    assert for_restic(name, login) == address
    assert for_restic(name, {}) == name


def test_a_login_in_an_address_is_in_no_message() -> None:
    restic = Restic(cat=(1, "", "Fatal: parse rest:http://backups:pass%2Fword%40x@host/: failed for pass/word@x"))
    target = Target(
        "rest:http://host/", {"RESTIC_REST_USERNAME": "backups", "RESTIC_REST_PASSWORD": "pass/word@x"}, "secret-key",
        "", "", Path("/secrets.json"), Path("/run.lock"),
    )  # fmt: skip
    with pytest.raises(BackupError, match="cannot be read") as caught:
        Repository(restic, target, Path("/cache")).exists()
    assert "word" not in str(caught.value)
    assert restic.environment["RESTIC_REPOSITORY"] == "rest:http://backups:pass%2Fword%40x@host/"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sftp:anna@host:/srv/backup", "-l anna host"),
        ("sftp:host:backup", "host"),
        ("sftp://anna@host:2222//srv/backup", "-p 2222 -l anna host"),
        ("sftp://host/backup", "host"),
        ("sftp://anna@[fd00::1]:2222//srv", "-p 2222 -l anna fd00::1"),
        ("rest:https://host/", None),
        ("/srv/sftp:x:y", None),
    ],
)
def test_the_login_of_sftp_is_tried_as_restic_does(name: str, words: str | None) -> None:
    assert ssh_words(name) == (["ssh", *words.split(), "-s", "sftp"] if words else [])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Stat(<config/>) returned error, retrying after 1s: The specified bucket does not exist", False),
        ("Stat(<config/>) returned error, retrying after 1s: connect: connection refused", "cannot be read.*refused"),
        ("", r"cannot be read.*gave no answer within 0 s\.$"),
    ],
)
def test_a_repository_that_gives_no_answer_is_told_by_what_was_said_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, found: bool | str
) -> None:
    (tmp_path / "restic").write_text(f'#!/bin/sh\necho "{said}" >&2\nexec sleep 60\n')
    (tmp_path / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("trigger_backup.repository.LOOK_SECONDS", 0.5)
    target = Target("s3:http://host/b", {}, "secret-key", "", "", Path("/secrets.json"), Path("/run.lock"))
    place = Repository(Shell(), target, tmp_path / "cache")
    if isinstance(found, bool):
        assert place.exists() is found
        return
    with pytest.raises(BackupError, match=found):
        place.exists()


@pytest.mark.parametrize(
    ("login", "told"),
    [
        ("echo 'Permission denied (publickey).' >&2; exit 255", "ssh says: Permission denied.*without a question"),
        ("exec sleep 60", "ssh gave no answer within 0.3 s, either"),
    ],
)
def test_ssh_is_asked_why_sftp_gives_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str, told: str
) -> None:
    for name, script in {"restic": "exec sleep 60", "ssh": login}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("trigger_backup.repository.LOOK_SECONDS", 0.5)
    monkeypatch.setattr("trigger_backup.repository.LOGIN_END_SECONDS", 0.3)
    target = Target("sftp:anna@host:/srv", {}, "secret-key", "", "", Path("/secrets.json"), Path("/run.lock"))
    with pytest.raises(BackupError, match=f"restic gave no answer within 0 s.*{told}"):
        Repository(Shell(), target, tmp_path / "cache").exists()


def test_exit_codes_of_a_newer_restic_tell_without_words() -> None:
    assert repository(Restic(cat=(12, "", ""))).access() == REFUSED
    assert repository(Restic(cat=(10, "", ""))).access() == ABSENT
