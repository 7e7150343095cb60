# SPDX-License-Identifier: MIT
"""Module htpasswd_info."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.selfhosted.trigger_dev.plugins.modules import htpasswd_info

from .conftest import Invoke


def test_the_text_is_read(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"me:$2y$05$x\n\xff\n")
    result = invoke(htpasswd_info.main, path=str(path))
    assert result["htpasswd"] == {"path": str(path), "content": "me:$2y$05$x\n\ufffd\n"}
    assert not result["changed"]


def test_no_file_is_an_empty_one(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke(htpasswd_info.main, path=str(tmp_path / "none/htpasswd"))["htpasswd"]["content"] == ""


def test_what_is_no_file_is_told(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke(htpasswd_info.main, path=str(tmp_path))["msg"] == f"{tmp_path}: Is a directory"
