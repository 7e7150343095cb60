# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._apparmor import engine_uses_it, kernel_has_it


@pytest.mark.parametrize(
    ("enabled", "profiles", "has"),
    [("Y\n", True, True), ("N\n", True, False), ("Y\n", False, False), ("", True, False)],
)
def test_the_kernel_has_it_where_profiles_can_be_loaded(
    tmp_path: Path, enabled: str, profiles: bool, has: bool
) -> None:
    (tmp_path / "enabled").write_text(enabled)
    if profiles:
        (tmp_path / "profiles").mkdir()
    assert kernel_has_it(tmp_path / "enabled", tmp_path / "profiles") is has


def test_a_kernel_without_it(tmp_path: Path) -> None:
    assert kernel_has_it(tmp_path / "enabled", tmp_path) is False


@pytest.mark.parametrize(
    ("info", "uses"),
    [
        ({"SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"]}, True),
        ({"SecurityOptions": ["name=seccomp,profile=builtin"]}, False),
        ({"SecurityOptions": None}, False),
        ({}, False),
    ],
)
def test_what_the_engine_says(info: dict[str, object], uses: bool) -> None:
    assert engine_uses_it(info) is uses
