# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _systemd
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
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


@pytest.mark.parametrize("check", [False, True])
def test_a_folder_of_somebody_elses_stays_as_it_is(invoke: Invoke, base: Path, *, check: bool) -> None:
    wanted = arguments(base) | {"manage_folder": False}
    refused = invoke(file_set.main, check=check, **wanted)
    assert (refused["failed"], "must exist" in refused["msg"], base.exists()) == (True, True, False)
    base.mkdir(parents=True, mode=0o755)
    base.chmod(0o2755)
    result = invoke(file_set.main, check=check, **wanted)
    assert result["written"] == ["shared", "example.env", "shared/example.conf"]
    assert mode(base) == 0o2755
    assert (base / "example.env").exists() is not check


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
    result = invoke(file_set.main, check=check, **arguments(base), validate=[[*LOOK, "0"]])
    assert result["changed"]
    assert base.exists() is not check
    assert [path.name for path in base.parent.iterdir()] == ([] if check else ["example"])


@pytest.mark.parametrize("check", [False, True])
def test_what_the_command_refuses_is_not_written(invoke: Invoke, base: Path, check: bool) -> None:
    """Not even a part of it; and what it says is shown without the contents."""
    invoke(file_set.main, **arguments(base))
    before = {path: path.read_text() for path in base.rglob("*") if path.is_file()}
    refused = invoke(file_set.main, check=check, **arguments(base, content="KEY=bad-value\n"), validate=[[*LOOK, "3"]])
    assert refused["failed"]
    assert "sh refuses what was to be written" in refused["msg"]
    assert "nothing was changed" in refused["msg"]
    assert "bad-value" not in refused["msg"]
    assert {path: path.read_text() for path in base.rglob("*") if path.is_file()} == before
    assert [path.name for path in base.parent.iterdir()] == ["example"]


def test_the_command_looks_only_at_what_differs(invoke: Invoke, base: Path) -> None:
    invoke(file_set.main, **arguments(base))
    assert invoke(file_set.main, **arguments(base), validate=[["false"]])["changed"] is False


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


@pytest.fixture
def looked(tmp_path: Path) -> Path:
    """Where the validating program writes what it has seen."""
    return tmp_path / "looked"


def validating(looked: Path, code: int = 0, say: str = ":") -> list[str]:
    """A program that takes down the folder, and the owners, modes and contents that it finds there."""
    script = (
        f'stat -c "%a %u %n" "$1" >{looked}; cd "$1" && find . -mindepth 1 -printf "%P %m %U\\n" | sort >>{looked}; '
        f"{say}; exit {code}"
    )
    return ["sh", "-c", script, "validate", "%s"]


def test_the_new_files_are_looked_at_before_they_replace_the_old(
    invoke: Invoke, base: Path, tmp_path: Path, looked: Path
) -> None:
    invoke(file_set.main, **arguments(base))
    (base / "theirs").write_text("not given")
    say = f'cat example.env >>{looked}; echo "old: $(cat {base}/example.env)" >>{looked}'
    result = invoke(file_set.main, **arguments(base, content="KEY=other\n"), validate=[validating(looked, say=say)])
    assert result["written"] == ["example.env"]
    first, *rest = looked.read_text().splitlines()
    mode_of_scratch, owner, scratch = first.split()
    assert (mode_of_scratch, owner) == ("700", str(os.geteuid()))
    assert Path(scratch).parent == base.parent
    assert rest == [
        f"example.env 600 {os.geteuid()}",
        f"shared 750 {os.geteuid()}",
        f"shared/example.conf 444 {os.geteuid()}",
        "KEY=other",
        "old: KEY=value-of-key",
    ]
    assert os.listdir(base.parent) == ["example"]


def test_refused_files_change_nothing(invoke: Invoke, base: Path, looked: Path) -> None:
    invoke(file_set.main, **arguments(base))
    (base / "shared").chmod(0o755)
    command = validating(looked, code=3, say='echo "on stdout"; echo "$PWD/example.env: no such word" >&2')
    for check in (False, True):
        result = invoke(file_set.main, check=check, **arguments(base, content="KEY=other\n"), validate=[command])
        assert result["failed"]
        assert "(exit code 3); nothing was changed. on stdout\n" in result["msg"]
        assert f"{base}/example.env: no such word" in result["msg"]
        assert (base / "example.env").read_text() == "KEY=value-of-key\n"
        assert mode(base / "shared") == 0o755
        assert os.listdir(base.parent) == ["example"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("code", [0, 1])
def test_an_empty_host(invoke: Invoke, base: Path, tmp_path: Path, looked: Path, check: bool, code: int) -> None:
    result = invoke(file_set.main, check=check, **arguments(base), validate=[validating(looked, code)])
    assert result.get("failed", False) == bool(code)
    scratch = looked.read_text().split()[2]
    assert Path(scratch).parent == tmp_path, "the nearest folder that exists"
    assert base.exists() == (not check and not code)
    assert sorted(os.listdir(tmp_path)) == ["looked"] + ["trigger"] * base.exists()


def test_nothing_to_look_at(invoke: Invoke, base: Path, looked: Path) -> None:
    invoke(file_set.main, **arguments(base))
    (base / "shared").chmod(0o755)
    result = invoke(file_set.main, **arguments(base), validate=[validating(looked, code=1)])
    assert result["written"] == ["shared"]
    assert not looked.exists()


def test_a_folder_that_is_there_and_not_given_is_in_the_copy(invoke: Invoke, base: Path, looked: Path) -> None:
    (base / "a/b").mkdir(parents=True)
    (base / "a").chmod(0o751)
    (base / "a/b").chmod(0o755)
    files = [{"path": "a/b/c", "content": "x", **ME}]
    assert invoke(file_set.main, path=str(base), files=files, validate=[validating(looked)])["changed"]
    assert [line.split()[:2] for line in looked.read_text().splitlines()[1:]] == [
        ["a", "751"],
        ["a/b", "755"],
        ["a/b/c", "600"],
    ]


def test_what_a_program_quotes_of_the_files_is_masked(invoke: Invoke, base: Path, looked: Path) -> None:
    content = "first line of it\nPASSWORD='s3cret word'\n"
    say = "echo \"bad: PASSWORD='s3cret word', it is s3cret word\"; cat example.env >&2"
    result = invoke(file_set.main, **arguments(base, content=content), validate=[validating(looked, 1, say)])
    assert "bad: ********, it is ********" in result["msg"]
    assert "s3cret" not in str(result["msg"])
    assert "first line" not in str(result["msg"])


def test_only_the_end_of_a_long_message_is_shown(invoke: Invoke, base: Path, looked: Path) -> None:
    say = "seq 1 100000; echo the end"
    msg = invoke(file_set.main, **arguments(base), validate=[validating(looked, 1, say)])["msg"]
    assert msg.endswith("the end")
    assert len(msg) < 3000


def test_a_program_that_is_missing(invoke: Invoke, base: Path) -> None:
    result = invoke(file_set.main, **arguments(base), validate=[["no-such-program", "%s"]])
    assert "(exit code 127); nothing was changed. no-such-program: no such program" in result["msg"]
    assert not base.exists()


def test_whoever_ends_the_module_leaves_no_copy(invoke: Invoke, base: Path, tmp_path: Path, looked: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    # Its input ends when the module waits for it. Before that nothing would wait for the program itself.
    command = validating(looked, say="cat; kill -TERM $PPID; sleep 30")
    with (
        patch_module_args({**arguments(base), "validate": [command], "_ansible_check_mode": False}),
        pytest.raises(SystemExit) as end,
    ):
        file_set.main()
    assert end.value.code == 128 + signal.SIGTERM
    assert os.listdir(tmp_path) == ["looked"]
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize("check", [True, False])
def test_a_diff_shows_the_content_of_what_may_be_shown_alone(invoke: Invoke, base: Path, check: bool) -> None:
    def files(text: str, secret: str) -> list[dict[str, Any]]:
        return [
            {"path": "Caddyfile", "content": text, "shown": True, **ME},
            {"path": "example.env", "content": secret, **ME},
        ]

    invoke(file_set.main, path=str(base), files=files("old line\n", "KEY=old-secret\n"))
    result = invoke(file_set.main, check=check, path=str(base), files=files("new line\n", "KEY=new-secret\n"))
    listed, shown = result["diff"]
    path = str(base / "Caddyfile")
    assert shown == {"before_header": path, "after_header": path, "before": "old line\n", "after": "new line\n"}
    assert set(listed["after"]) == {"Caddyfile", "example.env"}
    assert "secret" not in str(result)


def test_a_diff_without_a_change_of_what_may_be_shown_has_no_text(invoke: Invoke, base: Path) -> None:
    row = {"path": "Caddyfile", "content": "line\n", "shown": True, **ME}
    invoke(file_set.main, path=str(base), files=[row])
    assert len(invoke(file_set.main, path=str(base), files=[row | {"mode": "0400"}])["diff"]) == 1


@pytest.mark.parametrize("check", [False, True])
def test_units_follow_the_files(
    invoke: Invoke, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, check: bool
) -> None:
    units = tmp_path / "units"
    units.mkdir()
    (units / "old.timer").write_text("")
    calls: list[str] = []

    def systemctl(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert (base / "example.env").exists() is not check
        calls.append(argv[3])
        return Completed(0, "ActiveState=active\n\nActiveState=inactive\n", "")

    monkeypatch.setattr(_systemd, "FOLDER", str(units))
    monkeypatch.setattr(file_set, "run", systemctl)
    wanted = [{"name": "example.timer", "content": "[Timer]\n", "state": "started"}]
    result = invoke(file_set.main, check=check, **arguments(base), units=wanted, absent_units=["old.timer"])
    names = ["example.timer"]
    assert result["units"] == {
        "written": names,
        "reloaded": True,
        "enabled": names,
        "started": names,
        "removed": ["old.timer"],
    }
    assert result["changed"] is True
    assert [each["after"] for each in result["diff"] if each["after_header"] == str(units / "example.timer")] == [
        "[Timer]\n"
    ]
    assert sorted(path.name for path in units.iterdir()) == (["old.timer"] if check else names)
    assert calls == (
        ["show"] if check else ["show", "disable", "show", "stop", "show", "daemon-reload", "show", "enable", "restart"]
    )


def applying(base: Path, answer: str, code: int = 0) -> list[str]:
    """A program that needs the files, and says on its error output how many there are."""
    script = f'ls "$1" | wc -l >&2; cat "$1/example.env" >"$1/seen"; echo \'{answer}\'; exit {code}'
    return ["sh", "-c", script, "sh", str(base)]


@pytest.mark.parametrize("changed", [False, True])
def test_a_program_applies_the_files_each_time(invoke: Invoke, base: Path, *, changed: bool) -> None:
    answer = json.dumps({"changed": changed, "closed": ["192.0.2.1:22"]})
    first = invoke(file_set.main, **arguments(base), apply=applying(base, answer))
    assert (first["changed"], first["applied"]) == (True, json.loads(answer))
    assert (base / "seen").read_text() == "KEY=value-of-key\n"
    (base / "seen").unlink()
    second = invoke(file_set.main, **arguments(base), apply=applying(base, answer))
    assert (second["changed"], second["applied"]) == (changed, json.loads(answer))
    assert (base / "seen").exists()


def test_in_check_mode_a_program_that_may_not_be_there_does_not_run(invoke: Invoke, base: Path) -> None:
    wanted = arguments(base) | {"apply": applying(base, '{"changed": true}')}
    assert invoke(file_set.main, check=True, **wanted)["applied"] == {}
    invoke(file_set.main, **wanted)
    (base / "seen").unlink()
    told = invoke(file_set.main, check=True, **wanted)
    assert (told["changed"], told["written"], told["applied"]) == (True, [], {"changed": True})
    assert (base / "seen").exists()


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ('{"changed": true}', 1, ": 2"),
        ("done", 0, "does not tell in JSON whether it changed something: done"),
        ("[1]", 0, "does not tell in JSON"),
        ('{"done": []}', 0, "does not tell in JSON"),
    ],
)
def test_a_program_that_fails_or_does_not_tell_ends_before_the_units(
    invoke: Invoke, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, message: str
) -> None:
    monkeypatch.setattr(_systemd, "FOLDER", str(tmp_path))
    units = [{"name": "example.timer", "content": "[Timer]\n", "state": "started"}]
    result = invoke(file_set.main, **arguments(base), apply=applying(base, answer, code), units=units)
    assert result["failed"]
    assert message in result["msg"]
    assert not (tmp_path / "example.timer").exists()


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("settled", [False, True])
def test_compose_is_asked_where_no_file_differs_and_units_follow_a_settled_project(
    invoke: Invoke, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, settled: bool, check: bool
) -> None:
    container = {"Name": "example-1", "Service": "example", "State": "running" if settled else "exited"}

    def programs(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if argv[0] == "docker":
            asked.append(argv[argv.index("--project-directory") + 1])
            return Completed(0, json.dumps(container) if "ps" in argv else "Container example-1 Running", "")
        return Completed(0, "", "")

    asked: list[str] = []
    monkeypatch.setattr(_systemd, "FOLDER", str(tmp_path))
    monkeypatch.setattr(file_set, "run", programs)
    units = [{"name": "example.timer", "content": "[Timer]\n", "state": "present"}]
    first = invoke(file_set.main, **arguments(base), compose=True, units=units)
    assert (first["compose"]["settled"], asked, first["units"]["written"]) == (False, [], [])
    assert not (tmp_path / "example.timer").exists()
    second = invoke(file_set.main, check=check, **arguments(base), compose=True, units=units)
    assert second["compose"]["settled"] is settled
    assert [row["Name"] for row in second["compose"]["containers"]] == ["example-1"] * settled
    assert asked == [str(base)] * 2
    assert second["units"]["written"] == ["example.timer"] * settled
    assert (tmp_path / "example.timer").exists() is (settled and not check)


def test_compose_is_not_asked_unless_wanted(invoke: Invoke, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_set, "run", None)
    invoke(file_set.main, **arguments(base))
    assert invoke(file_set.main, **arguments(base))["compose"] == {"settled": False, "containers": [], "actions": []}


def test_files_without_units_ask_no_service_manager(
    invoke: Invoke, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_set, "run", None)
    assert invoke(file_set.main, **arguments(base))["units"] == {
        "written": [],
        "reloaded": False,
        "enabled": [],
        "started": [],
        "removed": [],
    }
