# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_token import new_token, parse, read_file


def test_a_new_token_is_one() -> None:
    tokens = [new_token() for _ in range(50)]
    assert all(parse(token.text) == token for token in tokens)
    assert len({token.text for token in tokens}) == 50
    assert len(tokens[0].text) == 47
    # All kinds of characters are made use of.
    assert {kind for token in tokens for kind in map(kind_of, token.text[7:])} == {"digit", "lower", "upper"}


def kind_of(letter: str) -> str:
    return "digit" if letter.isdigit() else "lower" if letter.islower() else "upper"


def test_reading(tmp_path: Path) -> None:
    file = tmp_path / "worker_token"
    assert read_file(str(file)) is None
    file.write_text("content")
    assert read_file(str(file)) == "content"
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    for odd in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic links|regular file") as refused:
            read_file(str(tmp_path / odd))
        assert refused.value.filename == str(tmp_path / odd)
