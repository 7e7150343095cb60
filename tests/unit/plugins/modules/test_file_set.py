# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.modules import file_set

from .conftest import Invoke

ME = {"owner": os.geteuid(), "group": os.getegid()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "trigger" / "example"


def arguments(base: Path, content: str = "KEY=value-of-key\n") -> dict[str, Any]:
    return {
        "path": str(base),
        "folders": [{"path": "shared", "mode": "0750", **ME}],
        "files": [
            {"path": "example.env", "content": content, **ME},
            {"path": "shared/example.conf", "content": "plain\n", "mode": "0444", **ME},
        ],
    }


def test_all_of_it_on_an_empty_host(invoke: Invoke, base: Path) -> None:
    result = invoke(file_set.main, **arguments(base))
    assert (result["changed"], result["fresh"]) == (True, True)
    assert result["written"] == [".", "shared", "example.env", "shared/example.conf"]
    assert (base / "example.env").read_text() == "KEY=value-of-key\n"
    assert mode(base.parent) == 0o700
    assert [mode(base / name) for name in (".", "shared", "example.env", "shared/example.conf")] == [
        0o700,
        0o750,
        0o600,
        0o444,
    ]


def test_a_second_run_changes_nothing(invoke: Invoke, base: Path) -> None:
    invoke(file_set.main, **arguments(base))
    inode = (base / "example.env").stat().st_ino
    result = invoke(file_set.main, **arguments(base))
    assert (result["changed"], result["fresh"], result["written"]) == (False, False, [])
    assert (base / "example.env").stat().st_ino == inode


def test_check_mode_tells_the_same_and_writes_nothing(invoke: Invoke, base: Path) -> None:
    told = invoke(file_set.main, check=True, **arguments(base))
    assert not base.exists()
    assert told["written"] == invoke(file_set.main, **arguments(base))["written"]


def test_what_differs_is_mended_and_the_rest_stays(invoke: Invoke, base: Path) -> None:
    invoke(file_set.main, **arguments(base))
    (base / "example.env").chmod(0o644)
    (base / "shared").chmod(0o755)
    (base / "theirs").write_text("kept")
    result = invoke(file_set.main, **arguments(base))
    assert result["written"] == ["shared", "example.env"]
    assert (mode(base / "example.env"), mode(base / "shared")) == (0o600, 0o750)
    assert (base / "theirs").read_text() == "kept"


LOOK = [
    "sh",
    "-c",
    'cat "$1/example.env" "$1/shared/example.conf" >&2; stat -c %a "$1" "$1/shared"; exit "$2"',
    "sh",
    "%s",
]


@pytest.mark.parametrize("check", [False, True])
def test_a_command_looks_at_all_of_it_first(invoke: Invoke, base: Path, check: bool) -> None:
    base.parent.mkdir()
    result = invoke(file_set.main, check=check, **arguments(base), validate=[*LOOK, "0"])
    assert result["changed"]
    assert base.exists() is not check
    assert [path.name for path in base.parent.iterdir()] == ([] if check else ["example"])


@pytest.mark.parametrize("check", [False, True])
def test_what_the_command_refuses_is_not_written(invoke: Invoke, base: Path, check: bool) -> None:
    """Not even a part of it; and what it says is shown without the contents."""
    invoke(file_set.main, **arguments(base))
    before = {path: path.read_text() for path in base.rglob("*") if path.is_file()}
    refused = invoke(file_set.main, check=check, **arguments(base, content="KEY=bad-value\n"), validate=[*LOOK, "3"])
    assert refused["failed"]
    assert "sh refuses what was to be written" in refused["msg"]
    assert "nothing was changed" in refused["msg"]
    assert "bad-value" not in refused["msg"]
    assert {path: path.read_text() for path in base.rglob("*") if path.is_file()} == before
    assert [path.name for path in base.parent.iterdir()] == ["example"]


def test_the_command_looks_only_at_what_differs(invoke: Invoke, base: Path) -> None:
    invoke(file_set.main, **arguments(base))
    assert invoke(file_set.main, **arguments(base), validate=["false"])["changed"] is False


def test_changed_content_replaces_the_file(invoke: Invoke, base: Path) -> None:
    invoke(file_set.main, **arguments(base))
    result = invoke(file_set.main, **arguments(base, content="KEY=other\n"))
    assert result["written"] == ["example.env"]
    assert (base / "example.env").read_text() == "KEY=other\n"
    assert sorted(os.listdir(base)) == ["example.env", "shared"]


def test_no_content_is_shown(invoke: Invoke, base: Path) -> None:
    shown = str(invoke(file_set.main, **arguments(base)))
    assert "example.env" in shown
    assert "value-of-key" not in shown
    assert "plain" not in shown


def test_no_content_reaches_the_log_of_the_host(invoke: Invoke, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda self, text, log_args=None: logged.append(f"{text} {log_args}"))
    invoke(file_set.main, **arguments(base))
    assert any("Invoked with" in line for line in logged)
    assert not any("value-of-key" in line for line in logged)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other", "a/../../b", "", "."])
def test_paths_stay_below_the_folder(invoke: Invoke, base: Path, path: str) -> None:
    result = invoke(file_set.main, path=str(base), files=[{"path": path, "content": "x", **ME}])
    assert result["failed"]
    assert not base.exists()


def test_a_mode_is_octal(invoke: Invoke, base: Path) -> None:
    result = invoke(file_set.main, path=str(base), files=[{"path": "a", "content": "x", "mode": "rw", **ME}])
    assert "octal" in result["msg"]


def test_a_folder_in_place_of_a_file_is_an_error(invoke: Invoke, base: Path) -> None:
    (base / "example.env").mkdir(parents=True)
    result = invoke(file_set.main, **arguments(base))
    assert "example.env is not a plain file" in result["msg"]
    assert not (base / "shared").exists()
