# SPDX-License-Identifier: MIT
"""What a node keeps of the modules that Ansible sends is what they hold."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import zipfile
import zipimport
from pathlib import Path
from types import CodeType

import pytest

from testbed.common import TESTBED

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps anything")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the node's program at work, with a folder of this test."""
    # It is put back at the end.
    monkeypatch.setattr(zipimport, "_compile_source", zipimport._compile_source)  # type: ignore[attr-defined]
    monkeypatch.syspath_prepend(TESTBED / "nodes")
    switch = tmp_path / "switch"
    switch.touch()
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: exists(switch if path == "/etc/compiled-modules" else path))
    program = importlib.import_module("compiled_modules")
    del sys.modules[program.__name__]
    monkeypatch.setattr(program, "FOLDER", str(tmp_path / "kept"))
    return tmp_path / "kept"


def compiled(folder: Path, text: str) -> CodeType | None:
    """Compile a module of an archive, as a task does that finds it there."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "payload.zip", "w") as archive:
        archive.writestr("sent.py", text)
    return zipimport.zipimporter(str(folder / "payload.zip")).get_code("sent")


def value(code: CodeType | None) -> object:
    assert code is not None
    found: dict[str, object] = {}
    exec(code, found)
    return found["VALUE"]


def test_the_same_text_is_compiled_once(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert value(compiled(tmp_path / "first", "VALUE = 1\n")) == 1
    (file,) = kept.iterdir()
    assert file.name.startswith("sent.py-")
    assert kept.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(builtins, "compile", None)
    assert value(compiled(tmp_path / "second", "VALUE = 1\n")) == 1


def test_another_text_of_the_same_length_is_another(kept: Path, tmp_path: Path) -> None:
    assert value(compiled(tmp_path / "first", "VALUE = 1\n")) == 1
    assert value(compiled(tmp_path / "second", "VALUE = 2\n")) == 2
    assert len(list(kept.iterdir())) == 2


def test_without_shortcuts_python_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = zipimport._compile_source  # type: ignore[attr-defined]
    monkeypatch.syspath_prepend(TESTBED / "nodes")
    del sys.modules[importlib.import_module("compiled_modules").__name__]
    assert zipimport._compile_source is usual  # type: ignore[attr-defined]
