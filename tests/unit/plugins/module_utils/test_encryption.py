# SPDX-License-Identifier: MIT
"""Values get another key, with the cipher of Node and with that of another library, and never by halves."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database, DatabaseError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._encryption import (
    EncryptionError,
    Place,
    Vault,
    identity,
)

aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
InvalidTag = pytest.importorskip("cryptography.exceptions").InvalidTag
pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="the cipher is that of Node")

OLD, NEW, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2, "x" * 32
STORE = Place("SecretStore", "key", "value", "version = '2'")
TOKEN = Place("PersonalAccessToken", "id", "encryptedToken")
HOOK = Place("ProjectAlertChannel", "id", "properties", "type = 'WEBHOOK'", "secret")
Box = dict[str, str]


def seal(key: str, text: str) -> Box:
    """As the webapp does it; checked here by another library than Node's."""
    nonce = secrets.token_bytes(12)
    sealed = aead.AESGCM(key.encode()).encrypt(nonce, text.encode(), None)
    return {"nonce": nonce.hex(), "ciphertext": sealed[:-16].hex(), "tag": sealed[-16:].hex()}


def opened(key: str, box: Mapping[str, str]) -> str:
    sealed = bytes.fromhex(box["ciphertext"] + box["tag"])
    text: bytes = aead.AESGCM(key.encode()).decrypt(bytes.fromhex(box["nonce"]), sealed, None)
    return text.decode()


class Host:
    """Postgres with its tables as dictionaries, and Node in place of a container of it."""

    def __init__(self, tables: Mapping[str, dict[str, Any]], columns: Sequence[tuple[str, str]] = ()) -> None:
        self.tables = {name: dict(rows) for name, rows in tables.items()}
        self.columns = [("PersonalAccessToken", "encryptedToken"), *columns]
        self.commands: list[str] = []
        self.writes = 0
        self.loses = False
        self.code = 0

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        self.commands.append(" ".join(argv))
        if argv[:2] == ["docker", "run"]:
            if self.code:
                return Completed(self.code, "", f"it quotes {stdin}")
            done = subprocess.run(["node", "-e", argv[-1]], input=stdin, capture_output=True, text=True, check=True)
            return Completed(0, done.stdout, "")
        return Completed(0, json.dumps(self.answer(stdin)), "")

    def answer(self, query: str) -> list[dict[str, Any]]:
        if "information_schema" in query:
            return [{"table": table, "column": column} for table, column in self.columns]
        if found := re.search(r"to_regclass\('\"(\w+)\"'\)", query):
            return [{"there": found[1] in self.tables}]
        if "jsonb_to_recordset" in query:
            return self.write(query)
        found = re.search(r'FROM "(\w+)" t', query)
        assert found
        return [{"id": key, "box": box} for key, box in sorted(self.tables[found[1]].items())]

    def write(self, query: str) -> list[dict[str, Any]]:
        self.writes += 1
        changes = re.findall(r"UPDATE \"(\w+)\" t .*?jsonb_to_recordset\('(.*?)'::jsonb\)", query)
        assert query.count("step") >= 2 * len(changes)
        for table, text in changes:
            for row in json.loads(text):
                assert self.tables[table][row["id"]] == row["old"]
                self.tables[table][row["id"]] = seal(OTHER, "x") if self.loses and self.writes == 1 else row["fresh"]
        return [{"done": 1}]


@pytest.fixture
def texts() -> dict[str, dict[str, str]]:
    return {
        "SecretStore": {"environmentvariable:p:e:A": '{"secret":"grüße ✓"}', "environmentvariable:p:e:B": "x" * 9999},
        "PersonalAccessToken": {"t1": "tr_pat_0123"},
        "ProjectAlertChannel": {"c1": "whsec"},
    }


def host(texts: Mapping[str, Mapping[str, str]], key: str = OLD) -> Host:
    return Host({table: {name: seal(key, text) for name, text in rows.items()} for table, rows in texts.items()})


def plain(on: Host, key: str) -> dict[str, dict[str, str]]:
    return {table: {name: opened(key, box) for name, box in rows.items()} for table, rows in on.tables.items()}


def vault() -> Vault:
    return Vault(Database("pg", "main", "postgres"), [STORE, TOKEN, HOOK], "sha256:webapp")


def test_every_value_is_opened_by_the_new_key_and_by_no_other(texts: dict[str, dict[str, str]]) -> None:
    there = host(texts)
    before = json.dumps(there.tables)
    assert vault().check(there, OLD, NEW) == 4
    assert json.dumps(there.tables) == before, "the check changed something"
    assert vault().replace(there, OLD, NEW) == 4
    assert plain(there, NEW) == texts
    with pytest.raises(InvalidTag):
        plain(there, OLD)
    assert there.writes == 1, "one statement"
    said = " ".join(there.commands)
    assert [secret for secret in (OLD, NEW, "whsec", "tr_pat") if secret in said] == []
    assert "--network none" in said


def test_a_second_call_finds_nothing_to_do(texts: dict[str, dict[str, str]]) -> None:
    there = host(texts)
    vault().replace(there, OLD, NEW)
    after = json.dumps(there.tables)
    assert vault().replace(there, OLD, NEW) == 0
    assert json.dumps(there.tables) == after


def test_an_interrupted_one_is_completed(texts: dict[str, dict[str, str]]) -> None:
    there = host(texts)
    there.tables["SecretStore"]["environmentvariable:p:e:A"] = seal(
        NEW, texts["SecretStore"]["environmentvariable:p:e:A"]
    )
    assert vault().replace(there, OLD, NEW) == 3
    assert plain(there, NEW) == texts


def test_a_value_that_cannot_be_opened_ends_it_before_anything_is_written(texts: dict[str, dict[str, str]]) -> None:
    there = host(texts)
    there.tables["SecretStore"]["lost"] = seal(OTHER, "old text")
    for call in (vault().check, vault().replace):
        with pytest.raises(EncryptionError, match="does not open 1 values in the database: SecretStore lost"):
            call(there, OLD, NEW)
    assert there.writes == 0


@pytest.mark.parametrize("change", ["tag", "ciphertext", "nonce"])
def test_a_changed_value_is_not_taken_for_a_right_one(texts: dict[str, dict[str, str]], change: str) -> None:
    there = host(texts)
    box = there.tables["PersonalAccessToken"]["t1"]
    box[change] = ("0" if box[change][0] != "0" else "1") + box[change][1:]
    with pytest.raises(EncryptionError, match="PersonalAccessToken t1"):
        vault().replace(there, OLD, NEW)


def test_a_short_tag_is_refused(texts: dict[str, dict[str, str]]) -> None:
    """Node takes shorter ones, which are easier to forge, unless it is told."""
    there = host(texts)
    box = there.tables["PersonalAccessToken"]["t1"]
    box["tag"] = box["tag"][:8]
    with pytest.raises(EncryptionError, match="PersonalAccessToken t1"):
        vault().replace(there, OLD, NEW)


def test_what_cannot_be_read_back_is_taken_back(texts: dict[str, dict[str, str]]) -> None:
    there = host(texts)
    before = json.dumps(there.tables)
    there.loses = True

    def write(query: str, own: Any = there.write) -> list[dict[str, Any]]:
        if there.writes == 0:
            return list(own(query))
        there.tables = json.loads(before)
        there.writes += 1
        return [{"done": 1}]

    there.write = write  # type: ignore[method-assign]
    with pytest.raises(EncryptionError, match=r"does not open|the new key does not open"):
        vault().replace(there, OLD, NEW)
    assert there.writes == 2
    assert plain(there, OLD) == texts


def test_a_table_that_is_missing_has_no_values(texts: dict[str, dict[str, str]]) -> None:
    there = host({"PersonalAccessToken": texts["PersonalAccessToken"]})
    assert vault().replace(there, OLD, NEW) == 1


def test_nothing_encrypted_needs_no_container() -> None:
    there = Host({"PersonalAccessToken": {}})
    assert vault().replace(there, OLD, NEW) == 0
    assert [command for command in there.commands if "docker run" in command] == []


def test_a_column_that_is_not_known_is_refused(texts: dict[str, dict[str, str]]) -> None:
    there = host(texts)
    there.columns.append(("Vault", "encryptedThing"))
    with pytest.raises(EncryptionError, match=r"Vault\.encryptedThing"):
        vault().check(there, OLD, NEW)


@pytest.mark.parametrize("odd", ["text", {"nonce": "00"}, {"nonce": 1, "ciphertext": "", "tag": ""}, 5])
def test_another_format_is_refused(texts: dict[str, dict[str, str]], odd: Any) -> None:
    there = host(texts)
    there.tables["ProjectAlertChannel"]["c2"] = odd
    with pytest.raises(EncryptionError, match="unknown format: ProjectAlertChannel c2"):
        vault().check(there, OLD, NEW)


def test_a_container_that_fails_quotes_nothing(texts: dict[str, dict[str, str]]) -> None:
    there = host(texts)
    there.code = 125
    with pytest.raises(EncryptionError, match="ended with code 125") as caught:
        vault().check(there, OLD, NEW)
    assert OLD not in str(caught.value)


def test_statements_take_only_the_rows_and_the_key_that_are_meant() -> None:
    assert "FROM \"ProjectAlertChannel\" t WHERE type = 'WEBHOOK'" in HOOK.query
    assert "t.\"properties\"::jsonb -> 'secret'" in HOOK.query
    update = HOOK.update("boxes")
    assert "jsonb_set(t.\"properties\"::jsonb, '{secret}', n.fresh)" in update
    assert "t.\"properties\"::jsonb -> 'secret' = n.old" in update
    assert 'SET "encryptedToken" = n.fresh' in TOKEN.update("boxes")


def test_a_database_that_fails_is_told(texts: dict[str, dict[str, str]]) -> None:
    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(1, "", "no such container")

    with pytest.raises(DatabaseError, match="no such container"):
        vault().check(run, OLD, NEW)


def test_backups_know_an_installation_by_the_same_text() -> None:
    from trigger_backup.plan import identity as of_backups

    assert identity(OLD) == of_backups(OLD)
