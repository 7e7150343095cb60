# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.write_problem import write_problem


def test_a_path_is_judged_by_what_is_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_problem(str(tmp_path / "new")) == ""
    assert write_problem(str(tmp_path / "missing/new"), "folder") == ""
    assert "there is no folder" in write_problem(str(tmp_path / "missing/new"))
    assert "is no folder" in write_problem(str(tmp_path / "file"), "folder")


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(AnsibleFilterError, match="must be one of file, folder"):
        write_problem("/x", "link")
