# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._controller_paths import (
    file_to_write,
    folder_to_write,
)


def test_a_file_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "old.html").write_text("")
    for text in (str(tmp_path / "new.html"), str(tmp_path / "old.html"), "new.html", "~/new.html"):
        assert file_to_write(text) is None


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    assert "is a folder, and has to be a file" in str(file_to_write(str(tmp_path / "folder")))
    assert f"there is no folder {tmp_path}/missing" in str(file_to_write(str(tmp_path / "missing/x.html")))
    assert f"{tmp_path}/file is no folder" in str(file_to_write(str(tmp_path / "file/x.html")))


def test_a_folder_that_can_be_written(tmp_path: Path) -> None:
    for text in (tmp_path, tmp_path / "new", tmp_path / "new/below"):
        assert folder_to_write(str(text)) is None


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    for text in ("file", "file/below"):
        assert f"{tmp_path}/file is no folder" in str(folder_to_write(str(tmp_path / text)))
    assert f"{tmp_path}/lost is no folder" in str(folder_to_write(str(tmp_path / "lost/below")))


def test_what_is_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.html").write_text("")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "is closed to you" in str(file_to_write(str(tmp_path / "old.html")))
    assert f"{tmp_path} is closed to you" in str(file_to_write(str(tmp_path / "new.html")))
    assert f"{tmp_path} is closed to you" in str(folder_to_write(str(tmp_path / "new")))
