# SPDX-License-Identifier: MIT
"""What plays of tests keep for each other is what they would have built themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import preloaded


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection with one module."""
    for folder in ("plugins/modules", "plugins/module_utils", "packages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "plugins/modules/told.py").write_text("first")
    monkeypatch.setattr(preloaded, "CACHE", tmp_path / ".cache")
    monkeypatch.setattr(preloaded, "PLUGINS", tmp_path / "plugins")
    monkeypatch.setattr(preloaded, "PACKAGES", tmp_path / "packages")
    return tmp_path


def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder where a play finds built modules; its own is an empty one."""
    folder.mkdir()
    monkeypatch.setattr("ansible.constants.DEFAULT_LOCAL_TMP", str(folder))
    preloaded.keep_built_modules()
    return (folder / "ansiballz_cache").resolve(strict=True)


@pytest.mark.parametrize("changed", ["plugins/modules/told.py", "plugins/module_utils/added.py", "packages/added.py"])
def test_a_play_finds_what_another_has_built_of_the_same(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    first = kept(checkout / "first", monkeypatch)
    assert first.is_relative_to(checkout / ".cache")
    assert kept(checkout / "second", monkeypatch) == first
    (checkout / changed).write_text("another text")
    assert kept(checkout / "third", monkeypatch) != first
