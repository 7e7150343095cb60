# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database
from ansible_collections.selfhosted.trigger_dev.plugins.modules import worker_instance
from ansible_collections.selfhosted.trigger_dev.plugins.modules.worker_instance import (
    Instance,
    Parameters,
    alive,
    delete,
    look,
    message,
)

Invoke = Callable[..., dict[str, Any]]
WANTED = Parameters(Database("pg", "main", "postgres"), "bootstrap", ["w1", "o'hara"], 60)


@pytest.mark.parametrize(
    ("seconds", "names"), [(0, []), (10, ["ahead"]), (60, ["ahead", "young"]), (61, ["ahead", "old", "young"])]
)
def test_who_is_alive(seconds: int, names: list[str]) -> None:
    ages = {"young": 10.0, "old": 60.0, "silent": None, "ahead": -0.5}
    assert alive([Instance(name, age) for name, age in ages.items()], seconds) == names


def test_the_message_names_them() -> None:
    text = message(["w1", "w2"], WANTED)
    assert "w1, w2" in text
    assert "'bootstrap'" in text
    assert "60 s" in text
    assert "Nothing was deleted" in text


def test_questions_to_the_database() -> None:
    asked = list[str]()

    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        asked.append(stdin)
        row = {"name": "w1"} if "DELETE" in stdin else {"name": "w1", "age": None}
        return Completed(0, json.dumps([row]), "")

    assert look(WANTED, fake) == [Instance("w1", None)]
    assert delete(WANTED, fake) == ["w1"]
    for statement in asked:
        assert "g.name = 'bootstrap'" in statement
        assert """'["w1", "o''hara"]'::json""" in statement
    assert "AT TIME ZONE 'UTC'" in asked[0]
    assert "DELETE" not in asked[0]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `docker` on PATH whose database holds two instances until they are deleted; gives the log of deletions."""
    log = tmp_path / "deletions"
    rows = json.dumps([{"name": "w2", "age": 30.0}, {"name": "w1", "age": None}])
    (tmp_path / "docker").write_text(
        "#!/bin/sh\nstatement=$(cat)\ncase $statement in\n"
        f"""*DELETE*) echo "$statement" >> {log}; echo '[{{"name": "w2"}}, {{"name": "w1"}}]';;\n"""
        f"*) if test -e {log}; then echo '[]'; else echo '{rows}'; fi;;\nesac\n"
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return log


def test_module(invoke: Invoke, docker: Path) -> None:
    arguments = {"database": {"container": "pg"}, "names": ["w1", "w2", "never"]}
    refused = invoke(worker_instance.main, alive_seconds=60, **arguments)
    assert "60 s: w2." in refused["msg"]
    predicted = invoke(worker_instance.main, check=True, **arguments)
    assert not docker.exists()
    done = invoke(worker_instance.main, alive_seconds=30, **arguments)
    assert docker.exists()
    for result in (predicted, done):
        assert result["changed"]
        assert result["worker_instances"] == {"group": "bootstrap", "removed": ["w1", "w2"]}
        assert result["diff"] == {"before": "w1\nw2\n", "after": ""}
    again = invoke(worker_instance.main, **arguments)
    assert not again["changed"]
    assert again["worker_instances"]["removed"] == []


def test_a_database_that_does_not_answer(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'No such container: pg' >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "No such container: pg" in invoke(worker_instance.main, database={"container": "pg"}, names=["w"])["msg"]
