# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError, hexadecimal
from ansible_collections.selfhosted.trigger_dev.plugins.modules import secret_file, secret_file_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.secret_file import Parameters, plan

Invoke = Callable[..., dict[str, Any]]
GENERATE = {"encryption_key": 32, "session_secret": 32}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trigger" / "secrets.json"


def write(path: Path, text: str, bits: int = 0o600) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(bits)


def wanted(**changes: Any) -> Parameters:
    defaults: dict[str, Any] = {"path": "/p", "generate": {}, "values": {}, "immutable": {}, "used": {}}
    return Parameters(**{**defaults, **changes})


def test_given_then_stored_then_new() -> None:
    decided = plan(
        {"stored": "s", "both": "old", "unknown": "u"},
        wanted(generate={"stored": 32, "both": 32, "new": 16, "given": 32}, values={"both": "v", "given": "g"}),
        lambda number: "x" * number,
    )
    assert decided.secrets == {"stored": "s", "both": "v", "unknown": "u", "new": "x" * 16, "given": "g"}
    assert decided.created == ["given", "new"]
    assert decided.replaced == ["both"]


def test_a_value_that_is_given_but_not_asked_for_is_stored_too() -> None:
    assert plan({}, wanted(values={"extra": "e"}), hexadecimal).secrets == {"extra": "e"}


def test_immutable_refuses_a_change_and_nothing_else() -> None:
    rule = {"key": "All would be lost. Unset webapp_encryption_key."}
    with pytest.raises(SecretFileError, match=r"All would be lost\. Unset webapp_encryption_key\.") as caught:
        plan({"key": "stored-value"}, wanted(values={"key": "given-value"}, immutable=rule), hexadecimal)
    assert "-value" not in str(caught.value)
    assert plan({"key": "same"}, wanted(values={"key": "same"}, immutable=rule), hexadecimal).replaced == []
    assert plan({}, wanted(values={"key": "first"}, immutable=rule), hexadecimal).created == ["key"]


def test_hexadecimal_has_the_length_and_differs() -> None:
    made = {hexadecimal(32) for _ in range(100)}
    assert len(made) == 100
    assert all(len(text) == 32 and set(text) <= set("0123456789abcdef") for text in made)


def test_empty_host(invoke: Invoke, path: Path) -> None:
    result = invoke(secret_file.main, path=str(path), generate=GENERATE)
    assert result["changed"]
    assert result["created"] == ["encryption_key", "session_secret"]
    assert result["secret_file"] == {
        "path": str(path),
        "secrets": json.loads(path.read_text()),
        "settled": False,
        "beside": {},
    }
    assert all(len(value) == 32 for value in result["secret_file"]["secrets"].values())
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert os.listdir(path.parent) == ["secrets.json"]


def test_second_run_changes_nothing(invoke: Invoke, path: Path) -> None:
    first = invoke(secret_file.main, path=str(path), generate=GENERATE)
    before = path.stat()
    second = invoke(secret_file.main, path=str(path), generate=GENERATE)
    assert not second["changed"]
    assert second["created"] == []
    assert second["secret_file"] == first["secret_file"] | {"settled": True}
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o640),
        lambda path: path.write_text('{"encryption_key": "1"}'),
        lambda path: path.unlink(),
    ],
    ids=["mode", "content", "no file"],
)
def test_a_check_tells_whether_there_is_anything_to_do(
    invoke: Invoke, path: Path, change: Callable[[Path], object]
) -> None:
    """Then it has read all that the run needs."""
    invoke(secret_file.main, path=str(path), generate=GENERATE)
    assert invoke(secret_file.main, path=str(path), generate=GENERATE, check=True)["secret_file"]["settled"] is True
    change(path)
    assert invoke(secret_file.main, path=str(path), generate=GENERATE, check=True)["secret_file"]["settled"] is False


def test_files_beside_it_are_read_in_the_same_call(invoke: Invoke, path: Path, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text("trigger:$2y$hash\n")
    beside = {
        "registry": str(tmp_path / "htpasswd"),
        "none": str(tmp_path / "none"),
        "below": str(tmp_path / "htpasswd/x"),
    }
    result = invoke(secret_file.main, path=str(path), generate=GENERATE, beside=beside, check=True)
    assert result["secret_file"]["beside"] == {"registry": "trigger:$2y$hash\n", "none": "", "below": ""}
    refused = invoke(
        secret_file.main, path=str(path), generate=GENERATE, beside={"registry": str(tmp_path)}, check=True
    )
    assert refused["failed"]
    assert str(tmp_path) in refused["msg"]


def test_check_mode_on_an_empty_host(invoke: Invoke, path: Path) -> None:
    result = invoke(secret_file.main, path=str(path), generate=GENERATE, check=True)
    assert result["changed"]
    assert set(result["secret_file"]["secrets"]) == set(GENERATE)
    assert not path.parent.exists()


def test_wider_mode_is_tightened(invoke: Invoke, path: Path) -> None:
    write(path, '{"a": "1"}', 0o644)
    assert invoke(secret_file.main, path=str(path), check=True)["changed"]
    assert mode(path) == 0o644
    result = invoke(secret_file.main, path=str(path))
    assert result["changed"]
    assert result["diff"]["before"] == {"mode": "0644", "owner": f"{os.geteuid()}:{os.getegid()}", "names": ["a"]}
    assert mode(path) == 0o600
    assert not invoke(secret_file.main, path=str(path))["changed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_strange_group_is_set_right(invoke: Invoke, path: Path) -> None:
    write(path, '{"a": "1"}')
    os.chown(path, 1234, 1234)
    assert invoke(secret_file.main, path=str(path))["changed"]
    assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())
    # A folder that gives its group to what is made in it changes nothing.
    os.chown(path.parent, 0, 1234)
    path.parent.chmod(0o2700)
    assert invoke(secret_file.main, path=str(path), values={"b": "2"})["changed"]
    assert path.stat().st_gid == os.getegid()
    assert not invoke(secret_file.main, path=str(path), values={"b": "2"})["changed"]


def test_given_values_are_returned_unmasked_but_not_echoed(invoke: Invoke, path: Path) -> None:
    result = invoke(secret_file.main, path=str(path), values={"registry_password": "given-by-hand", "other": None})
    assert result["secret_file"]["secrets"] == {"registry_password": "given-by-hand"}
    assert "given-by-hand" not in json.dumps({**result, "secret_file": None})


def test_unknown_names_stay(invoke: Invoke, path: Path) -> None:
    write(path, '{"mine": "kept"}')
    invoke(secret_file.main, path=str(path), generate=GENERATE, values={"given": "v"})
    assert json.loads(path.read_text())["mine"] == "kept"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "hidden"\n', "ends in the middle. Restore it from a backup. Without one"),
        ('{"a": "hid', "ENCRYPTION_KEY"),
        ("", "is empty. Restore it"),
        ('{"a" "hidden"}', "is not JSON (line 1, column 6); repair it"),
        ('["hidden"]', "JSON object"),
        ('{"a": "hidden", "b": 1}', "value of b"),
        ('{"a": "hidden", "b": ""}', "value of b"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_alone(invoke: Invoke, path: Path, text: str, message: str) -> None:
    write(path, text, 0o644)
    for main in (secret_file.main, secret_file_info.main):
        result = invoke(main, path=str(path))
        assert result["failed"]
        assert message in result["msg"]
        assert "hidden" not in json.dumps(result)
    assert path.read_text() == text
    assert mode(path) == 0o644


def test_not_a_regular_file(invoke: Invoke, path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/etc/hostname")
    assert "not a regular file" in invoke(secret_file.main, path=str(path))["msg"]
    assert path.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"generate": {"a": 31}}, "even number"),
        ({"generate": {"a": 14}}, "at least 16"),
        ({"generate": {"a": "many"}}, "even number"),
        ({"values": {"a": ""}}, "a is an empty string"),
        ({"values": {"a": 12345678}}, "a is a value of type int"),
        (
            {"values": {"a": "hidden"}, "generate": {"a": 32}, "fixed_length": ["a"]},
            "a must have exactly 32 bytes, not 6",
        ),
        ({"values": {"a": "ä" * 32}, "generate": {"a": 32}, "fixed_length": ["a"]}, "exactly 32 bytes, not 64"),
        ({"fixed_length": ["a"]}, "not in generate"),
    ],
)
def test_bad_input_changes_nothing(invoke: Invoke, path: Path, arguments: dict[str, Any], message: str) -> None:
    result = invoke(secret_file.main, path=str(path), **arguments)
    assert result["failed"]
    assert message in result["msg"]
    assert "hidden" not in result["msg"]
    assert not path.parent.exists()


def test_a_failed_write_leaves_the_old_file(invoke: Invoke, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, '{"a": "1"}')

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = invoke(secret_file.main, path=str(path), generate=GENERATE)
    assert result["msg"] == f"{path}: No space left on device"
    assert path.read_text() == '{"a": "1"}'
    assert os.listdir(path.parent) == ["secrets.json"]


def test_info(invoke: Invoke, path: Path) -> None:
    write(path, '{"a": "1", "b": "2"}')
    assert invoke(secret_file_info.main, path=str(path))["secret_file"]["secrets"] == {"a": "1", "b": "2"}
    assert invoke(secret_file_info.main, path=str(path), names=["b"])["secret_file"]["secrets"] == {"b": "2"}
    advised = invoke(secret_file_info.main, path=str(path), names=["c"], advice="Or set it.")
    assert advised["msg"].endswith("leaves it out). Or set it.")
    missing = invoke(secret_file_info.main, path=str(path), names=["b", "c"])
    assert "does not hold c" in missing["msg"]
    assert "Run the play of the control host first" in missing["msg"]


@pytest.mark.parametrize("check", [True, False])
def test_a_dry_run_knows_what_the_run_would_have_generated(invoke: Invoke, path: Path, check: bool) -> None:
    write(path, '{"a": "1"}')
    result = invoke(
        secret_file_info.main,
        path=str(path),
        names=["a", "b"],
        predicted={"a": "x", "b": "2"},
        check=check,
    )
    if check:
        assert "secret_file" in result, result
        assert result["secret_file"]["secrets"] == {"a": "1", "b": "2"}
    else:
        assert "does not hold b" in result["msg"]


def test_info_without_a_file(invoke: Invoke, path: Path) -> None:
    result = invoke(secret_file_info.main, path=str(path))
    assert "does not exist. Run the play of the control host first" in result["msg"]


@pytest.fixture
def in_use(tmp_path: Path) -> dict[str, dict[str, str]]:
    """An installation whose webapp has two of the secrets."""
    environment = tmp_path / "webapp.env"
    environment.write_text('APP="1"\nENCRYPTION_KEY="stored-key"\nSESSION_SECRET="stored-secret"\n')
    rows = {"encryption_key": "ENCRYPTION_KEY=", "session_secret": "SESSION_SECRET=", "new_secret": "NEW_SECRET="}
    return {name: {"path": str(environment), "starts": starts, "loss": "All is lost."} for name, starts in rows.items()}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("text", [None, '{"session_secret": "stored-secret"}'])
def test_a_secret_in_use_is_never_generated_anew(
    invoke: Invoke, path: Path, in_use: dict[str, dict[str, str]], text: str | None, check: bool
) -> None:
    if text is not None:
        write(path, text)
    wanted = {**GENERATE, "new_secret": 32}
    result = invoke(secret_file.main, check=check, path=str(path), generate=wanted, in_use=in_use)
    assert result["failed"]
    assert "holds no encryption_key" in result["msg"]
    assert ("session_secret" in result["msg"]) == (text is None)
    assert "new_secret" not in result["msg"]
    assert f"ENCRYPTION_KEY in {in_use['encryption_key']['path']}" in result["msg"]
    assert result["msg"].count("All is lost.") == 1
    assert "stored-" not in json.dumps(result)
    assert (path.read_text() if path.exists() else None) == text


def test_a_secret_in_use_may_be_given_and_a_new_one_be_generated(
    invoke: Invoke, path: Path, in_use: dict[str, dict[str, str]]
) -> None:
    write(path, '{"session_secret": "stored-secret"}')
    wanted = {**GENERATE, "new_secret": 32}
    result = invoke(
        secret_file.main, path=str(path), generate=wanted, values={"encryption_key": "k" * 32}, in_use=in_use
    )
    assert result["created"] == ["encryption_key", "new_secret"]


def test_a_host_without_an_installation_has_nothing_in_use(
    invoke: Invoke, path: Path, in_use: dict[str, dict[str, str]]
) -> None:
    for row in in_use.values():
        Path(row["path"]).unlink(missing_ok=True)
    assert invoke(secret_file.main, path=str(path), generate=GENERATE, in_use=in_use)["changed"]
