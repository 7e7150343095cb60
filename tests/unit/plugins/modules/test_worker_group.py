# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database, DatabaseError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_token import Token
from ansible_collections.selfhosted.trigger_dev.plugins.modules import worker_group
from ansible_collections.selfhosted.trigger_dev.plugins.modules.worker_group import (
    FILLED,
    INSERT_GROUP,
    INSERT_TOKEN,
    Parameters,
    RefusalError,
    Seen,
    create,
    identifier,
    is_missing,
    look,
)

Invoke = Callable[..., dict[str, Any]]
TOKEN = "tr_wgt_" + "aB3" * 13 + "z"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
WANTED = Parameters(Database("pg", "main", "postgres"), "gpu", "/groups/gpu", "With a GPU")
ROW = {
    "there": False,
    "bootstrapped": True,
    "user_of_queue": None,
    "token_in_use": False,
    "required": [["WorkerGroupToken", "id"], ["WorkerInstanceGroup", "masterQueue"]],
}
SEEN = Seen(**ROW)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [None, TOKEN, f"{TOKEN}\n"])
def test_a_missing_group_is_made(content: str | None) -> None:
    assert is_missing(SEEN, content, WANTED)


def test_a_group_that_is_there_is_left_alone() -> None:
    new_release = [["WorkerInstanceGroup", "planet"]]
    seen = replace(SEEN, there=True, user_of_queue="gpu", token_in_use=True, required=new_release)
    assert not is_missing(seen, "rubbish", WANTED)


@pytest.mark.parametrize(
    ("seen", "content", "words"),
    [
        (replace(SEEN, bootstrapped=False), None, ["no worker group yet", "[bootstrap]"]),
        (replace(SEEN, user_of_queue="other"), None, ["queue 'gpu'", "'other'"]),
        (
            replace(SEEN, required=[*SEEN.required, ["WorkerInstanceGroup", "planet"], ["WorkerGroupToken", "moon"]]),
            None,
            ["WorkerInstanceGroup.planet, WorkerGroupToken.moon", "POST /admin/api/v1/workers", "/groups/gpu"],
        ),
        (SEEN, "tr_wgt_hidden", ["/groups/gpu", "does not hold a worker token"]),
        (replace(SEEN, token_in_use=True), TOKEN, ["/groups/gpu", "already that of another worker group"]),
    ],
)
def test_refusals(seen: Seen, content: str | None, words: list[str]) -> None:
    with pytest.raises(RefusalError) as refused:
        is_missing(seen, content, WANTED)
    text = str(refused.value)
    for word in words:
        assert word in text
    assert "hidden" not in text
    assert TOKEN not in text


def test_ids_look_like_those_of_the_webapp() -> None:
    assert all(re.fullmatch(r"c[0-9a-z]{24}", identifier()) for _ in range(20))
    assert len({identifier() for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("table", "statement"), [("WorkerGroupToken", INSERT_TOKEN), ("WorkerInstanceGroup", INSERT_GROUP)]
)
def test_what_is_said_to_be_filled_is_filled(table: str, statement: str) -> None:
    columns = re.search(rf'INSERT INTO "{table}" \(([^)]*)\)', statement)
    assert columns
    assert columns[1].replace('"', "").split(", ") == FILLED[table]


class Runner:
    """A database that answers everything alike."""

    def __init__(self, *rows: dict[str, Any], code: int = 0) -> None:
        self.answer = Completed(code, json.dumps(rows), "duplicate key")
        self.asked = list[str]()

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        self.asked.append(stdin)
        return self.answer


def test_the_question() -> None:
    runner = Runner(ROW)
    assert look(WANTED, Token(TOKEN), runner) == SEEN
    (asked,) = runner.asked
    assert "name = 'gpu'" in asked
    assert f"'{HASH}'" in asked
    assert TOKEN not in asked
    assert look(WANTED, None, Runner({**ROW, "required": None})).required == []


def test_token_and_group_are_made_in_one_statement(tmp_path: Path) -> None:
    file = tmp_path / "gpu"
    runner = Runner({"id": "g"})
    create(replace(WANTED, path=str(file), group="g'pu"), Token(TOKEN), runner)
    assert file.read_text() == TOKEN
    assert file.stat().st_mode & 0o7777 == 0o600
    (asked,) = runner.asked
    inserted = re.findall(r"VALUES \(([^)]*)", asked.replace("\n", " "))
    token_id = inserted[0].split(", ")[0]
    assert inserted[0] == f"{token_id}, '{HASH}', now("
    assert f"'MANAGED', 'g''pu', 'g''pu', {token_id}, nullif('With a GPU'" in inserted[1]
    assert TOKEN not in asked


def test_the_token_outlives_a_refused_insert(tmp_path: Path) -> None:
    """The next run goes on with it."""
    file = tmp_path / "gpu"
    with pytest.raises(DatabaseError, match="duplicate key"):
        create(replace(WANTED, path=str(file)), Token(TOKEN), Runner(code=3))
    assert file.read_text() == TOKEN


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `docker` on PATH whose database has the group as soon as it was inserted; gives the log of inserts."""
    log = tmp_path / "inserts"
    missing, there = (json.dumps([{**ROW, "there": there}]) for there in (False, True))
    (tmp_path / "docker").write_text(
        "#!/bin/sh\nstatement=$(cat)\ncase $statement in\n"
        f"""*INSERT*) echo "$statement" >> {log}; echo '[{{"id": "g"}}]';;\n"""
        f"*) if test -e {log}; then echo '{there}'; else echo '{missing}'; fi;;\nesac\n"
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return log


def test_module(invoke: Invoke, docker: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    arguments = {"database": {"container": "pg"}, "group": "gpu", "path": str(file)}
    predicted = invoke(worker_group.main, check=True, **arguments)
    assert (predicted["changed"], predicted["worker_group"]) == (True, {"group": "gpu", "created": True})
    assert not file.exists()
    assert not docker.exists()
    made = invoke(worker_group.main, **arguments)
    assert (made["changed"], made["worker_group"]) == (True, {"group": "gpu", "created": True})
    assert made["diff"] == predicted["diff"] == {"before": "", "after": "gpu\n"}
    token = file.read_text()
    assert token.startswith("tr_wgt_")
    assert token not in json.dumps(made)
    assert hashlib.sha256(token.encode()).hexdigest() in docker.read_text()
    again = invoke(worker_group.main, **arguments)
    assert (again["changed"], again["worker_group"]) == (False, {"group": "gpu", "created": False})
    assert file.read_text() == token


def test_a_token_of_an_interrupted_run_is_used(invoke: Invoke, docker: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    assert invoke(worker_group.main, database={"container": "pg"}, group="gpu", path=str(file))["changed"]
    assert file.read_text() == TOKEN
    assert file.stat().st_mode & 0o7777 == 0o600
    assert HASH in docker.read_text()


def test_nothing_is_inserted_without_a_file(invoke: Invoke, docker: Path, tmp_path: Path) -> None:
    failed = invoke(
        worker_group.main, database={"container": "pg"}, group="gpu", path=str(tmp_path / "missing" / "token")
    )
    assert "No such file or directory" in failed["msg"]
    assert not docker.exists()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    failed = invoke(worker_group.main, database={"container": "pg"}, group="gpu", path=str(tmp_path / "link"))
    assert failed["msg"].startswith(f"{tmp_path / 'link'}: ")
    assert not docker.exists()
