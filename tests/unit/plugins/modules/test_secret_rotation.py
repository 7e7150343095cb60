# SPDX-License-Identifier: MIT
"""A rotation survives an interruption at every moment: what is there tells how far it has come."""

from __future__ import annotations

import fcntl
import json
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _secret_switch
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._control_stack import StackError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_rotation import (
    IDENTITY,
    NEXT,
    PREVIOUS,
    Rotation,
    commit,
    look,
)
from ansible_collections.selfhosted.trigger_dev.plugins.modules import secret_file, secret_rotation
from ansible_collections.selfhosted.trigger_dev.plugins.modules.secret_rotation import carry_out, parameters

Invoke = Callable[..., dict[str, Any]]
SECRETS = {
    "postgres_password": "p" * 32,
    "redis_password": "r" * 32,
    "encryption_key": "e" * 32,
    "backup_key": "b" * 32,
}


class Killed(BaseException):
    """The program is gone, or as good as that."""


class Host:
    """Remembers what happens; dies at the command that is told."""

    def __init__(self, path: Path, dies_at: str = "", fails_at: str = "") -> None:
        self.path, self.dies_at, self.fails_at = path, dies_at, fails_at
        self.events: list[str] = []
        self.inputs: list[str] = []

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        command = " ".join(argv)
        self.inputs.append(stdin)
        stored = json.loads(self.path.read_text())
        event = next(
            (
                name
                for words, name in {
                    "psql": "alter",
                    "docker stop": "stop",
                    "docker start": "start",
                    " up --detach --wait --wait-timeout 9 trigger-redis": "services",
                    " up ": "webapp",
                    "key-add": "accept",
                    "key-remove": "revoke",
                    "script": "prepare",
                }.items()
                if words in command
            ),
            "",
        )
        if event:
            self.events.append(event + ("" if stored == SECRETS else " with new file"))
            if self.dies_at == event:
                raise Killed
            if self.fails_at == event:
                return Completed(1, "", f"it says no to {stdin}")
        if "State.Running" in command:
            return Completed(0, "true", "")
        return Completed(0, "webapp\ntrigger-redis\n" if "config" in command else "", "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "secrets.json"
    found.write_text(json.dumps(SECRETS))
    (tmp_path / "backup").mkdir()
    return found


def params(path: Path, state: str, *names: str, **more: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "path": str(path),
        "state": state,
        "generate": dict.fromkeys(names, 32),
        "webapp": "webapp-1",
        "directory": "/opt/trigger/webapp",
        "timeout": 9,
        "wait": True,
        "postgres": {"container": "pg", "user": "postgres"},
        "database": {
            "container": "pg", "name": "main", "user": "postgres", "url": None, "secrets_file": None,
            "ca_certificates": "",
        },
        "encrypted": [],
        "accept": [{"name": "backup_key", "argv": ["key-add"]}],
        "prepare": [{"name": "redis_password", "argv": ["script"]}],
        "revoke": [{"name": "backup_key", "argv": ["key-remove"]}],
        "lock_file": str(path.parent / "backup" / "lock"),
    }  # fmt: skip
    return defaults | more


def bring(path: Path, state: str, *names: str, host: Host | None = None, check: bool = False, **more: Any) -> Rotation:
    runner = host or Host(path)
    changed, found = carry_out(parameters(params(path, state, *names, **more), runner), runner, check, look(str(path)))
    assert changed or check or state != "begun" or not names or found.names
    return found


def stored(path: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(path.read_text())
    return found


def test_new_secrets_wait_beside_the_old_ones(path: Path) -> None:
    found = bring(path, "begun", "redis_password")
    assert stored(path) == SECRETS
    waiting = path.with_name(path.name + NEXT)
    assert stat.S_IMODE(waiting.stat().st_mode) == 0o600
    assert found.names == ["redis_password"]
    assert stored(waiting) == {**SECRETS, "redis_password": found.new["redis_password"]}
    assert len(found.new["redis_password"]) == 32


def test_a_rotation_that_goes_on_keeps_its_secrets_and_takes_more(path: Path) -> None:
    first = bring(path, "begun", "redis_password").new["redis_password"]
    again = bring(path, "begun", "redis_password", "backup_key")
    assert again.new["redis_password"] == first
    assert again.names == ["backup_key", "redis_password"]
    assert stored(path) == SECRETS


def test_a_dry_run_writes_nothing(path: Path) -> None:
    assert bring(path, "begun", "redis_password", check=True).names == ["redis_password"]
    assert sorted(each.name for each in path.parent.iterdir()) == ["backup", "secrets.json"]
    bring(path, "begun", "redis_password")
    before = sorted(path.parent.rglob("*"))
    host = Host(path)
    bring(path, "switched", host=host, check=True)
    assert sorted(path.parent.rglob("*")) == before
    assert host.events == []


def test_services_get_the_new_secrets_in_the_right_order(path: Path) -> None:
    host = Host(path)
    new = bring(path, "begun", *SECRETS).new
    found = bring(path, "switched", host=host)
    new_file = " with new file"
    assert host.events == [
        "accept", "stop", "alter", f"services{new_file}", f"prepare{new_file}", f"webapp{new_file}",
    ]  # fmt: skip
    assert found.stage == "switched"
    assert {name: stored(path)[name] for name in SECRETS} == {name: new[name] for name in SECRETS}
    assert stored(path.with_name(path.name + PREVIOUS)) == SECRETS
    assert host.inputs[host.inputs.index(f"{new['backup_key']}\n")]
    host = Host(path)
    bring(path, "complete", host=host)
    assert host.events == [f"revoke{new_file}"]
    assert f"{SECRETS['backup_key']}\n" in host.inputs
    assert sorted(each.name for each in path.parent.iterdir()) == ["backup", "secrets.json"]
    assert look(str(path)).stage == "none"


def test_without_services_the_webapp_goes_on(path: Path) -> None:
    host = Host(path)
    bring(path, "begun", "backup_key")
    bring(path, "switched", host=host, directory="")
    assert host.events == ["accept"]
    assert stored(path)["backup_key"] != SECRETS["backup_key"]


def test_only_what_is_replaced_is_touched(path: Path) -> None:
    host = Host(path)
    bring(path, "begun", "encryption_key")
    bring(path, "switched", host=host)
    assert host.events == ["stop", "services with new file", "webapp with new file"]


@pytest.mark.parametrize("moment", ["accept", "stop", "alter", "services", "prepare", "webapp"])
def test_a_killed_one_is_completed_with_the_same_secrets(path: Path, moment: str) -> None:
    new = bring(path, "begun", *SECRETS).new
    with pytest.raises(Killed):
        bring(path, "switched", host=Host(path, dies_at=moment))
    again = bring(path, "begun", *SECRETS)
    assert again.new == new, "other secrets were generated"
    bring(path, "switched")
    bring(path, "complete")
    assert stored(path) == new


def test_a_kill_between_the_two_files_is_completed(path: Path) -> None:
    new = bring(path, "begun", "redis_password").new
    path.with_name(path.name + PREVIOUS).write_text(json.dumps(SECRETS))
    assert look(str(path)).stage == "begun"
    bring(path, "switched")
    assert stored(path) == new


def test_what_fails_before_services_have_new_secrets_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(path, "begun", "postgres_password", "encryption_key")
    passwords: list[str] = []
    monkeypatch.setattr(_secret_switch, "set_password", lambda run, password, **_: passwords.append(password))

    class Vault:
        def replace(self, run: object, old: str, fresh: str) -> int:
            raise StackError("no container")

    host = Host(path)
    wanted = parameters(params(path, "switched"), host)
    object.__setattr__(wanted, "vault", Vault())
    with pytest.raises(StackError, match="no container"):
        carry_out(wanted, host, False, look(str(path)))
    assert host.events == ["stop", "start"]
    assert passwords[-1] == SECRETS["postgres_password"]
    assert len(passwords) == 2
    assert stored(path) == SECRETS
    assert look(str(path)).stage == "begun"


def test_a_command_that_fails_does_not_tell_the_secret(path: Path) -> None:
    new = bring(path, "begun", "backup_key").new["backup_key"]
    with pytest.raises(StackError, match="key-add failed for backup_key: it says no to") as caught:
        bring(path, "switched", host=Host(path, fails_at="accept"))
    assert new not in str(caught.value)
    assert stored(path) == SECRETS


def test_an_installation_keeps_its_identity(path: Path) -> None:
    for _ in range(2):
        bring(path, "begun", "encryption_key")
        bring(path, "switched")
        bring(path, "complete")
    assert stored(path)[IDENTITY] == secret_identity()
    bring(path, "begun", "redis_password")
    assert look(str(path)).names == ["redis_password"]


def secret_identity() -> str:
    from trigger_backup.plan import identity, identity_of

    assert identity_of(SECRETS) == identity(SECRETS["encryption_key"])
    assert identity_of({**SECRETS, IDENTITY: "a" * 16}) == "a" * 16
    return identity(SECRETS["encryption_key"])


def test_what_is_not_there_cannot_be_replaced(path: Path) -> None:
    with pytest.raises(SecretFileError, match="does not hold session_secret"):
        bring(path, "begun", "session_secret")
    path.unlink()
    with pytest.raises(SecretFileError, match="nothing to rotate"):
        look(str(path))


def test_it_is_not_complete_before_services_have_the_new_secrets(path: Path) -> None:
    bring(path, "begun", "redis_password")
    with pytest.raises(SecretFileError, match="redis_password is not complete"):
        bring(path, "complete")


def test_services_change_while_no_backup_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(path, "begun", "redis_password")
    waited: list[float] = []
    with open(path.parent / "backup" / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            fcntl.flock(lock, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", sleep)
        bring(path, "switched")
    assert waited == [1]


def test_a_module_that_goes_on_after_its_run_was_killed_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = bring(path, "begun", "redis_password").new
    with open(path.parent / "backup" / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def sleep(_: float) -> None:
            commit(str(path), look(str(path)))  # by the other one
            fcntl.flock(lock, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", sleep)
        host = Host(path)
        bring(path, "switched", host=host)
    assert stored(path) == new
    assert host.events == ["services with new file", "prepare with new file", "webapp with new file"]


def test_other_modules_refuse_an_unfinished_one(path: Path, invoke: Invoke) -> None:
    bring(path, "begun", "redis_password")
    values: dict[str, Any] = {"path": str(path), "generate": {"redis_password": 32}}
    failed = invoke(secret_file.main, **values)
    assert failed["failed"]
    assert "secrets.json.next is of a rotation of secrets that is not complete" in failed["msg"]
    assert "playbook secrets_rotate" in failed["msg"]
    assert not invoke(secret_file.main, **values, rotation_allowed=True).get("failed")


def test_the_module_tells_how_far_it_is(path: Path, invoke: Invoke) -> None:
    values = {name: value for name, value in params(path, "begun", "redis_password").items() if value is not None}
    values["database"] = {"container": "pg"}
    first = invoke(secret_rotation.main, **values)
    assert first["changed"]
    assert first["secret_rotation"]["resumed"] == []
    assert first["secret_rotation"]["found"] == "none"
    again = invoke(secret_rotation.main, **values)
    assert not again["changed"]
    assert again["secret_rotation"]["resumed"] == ["redis_password"]
    assert again["secret_rotation"]["found"] == "begun"


def test_the_server_gives_up_a_statement_before_the_client_does(path: Path) -> None:
    """Only the client can be killed here; psql in the container would go on, and commit."""
    limits = []

    def psql(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if "psql" not in argv:
            return Completed(0, "image", "")
        seconds = int(stdin.removeprefix("SET statement_timeout = ").partition(";")[0]) / 1000
        limits.append((seconds, timeout))
        return Completed(0, '[{"done": 1}]', "")

    place = {"table": "SecretStore", "key": "id", "column": "value"}
    given = parameters({**params(path, "switched"), "encrypted": [place]}, psql)
    assert given.vault
    given.vault.database.changed(psql, "UPDATE a SET b = 1 RETURNING 1 AS done")
    ((server, client),) = limits
    assert 30 < server < client
