# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _file
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import engine_config
from ansible_collections.selfhosted.trigger_dev.plugins.modules.engine_config import (
    LOOPBACK,
    NONE,
    RELOAD,
    RESTART,
    ConfigError,
    Engine,
    Parameters,
    State,
    action_needed,
    change,
    loaded,
    parse,
    parse_state,
    plan,
    read,
    validate,
)

Invoke = Callable[..., dict[str, Any]]
LOGS = {"live-restore": True, "log-driver": "json-file", "log-opts": {"max-size": "20m"}}
CLEAN = State({}, {}, NONE)


class Killed(Exception):
    """The run ends here, like by SIGKILL."""


class Host:
    """systemctl, docker and dockerd of a host, with an engine that behaves like dockerd."""

    def __init__(self, path: Path, refuses: str = "") -> None:
        self.path = path
        self.refuses = refuses
        self.active = True
        self.no_answer = Completed(1, "", "Cannot connect")
        self.names = ["trigger-supervisor-supervisor-1"]
        self.log: list[str] = []
        self.kill_at: int | None = None
        self.loaded: dict[str, Any] = self.file()

    def file(self) -> dict[str, Any]:
        return parse(read(str(self.path)) or "", str(self.path))

    def systemctl(self, verb: str) -> int:
        if verb == "is-active":
            return 0 if self.active else 3
        if verb == "reload":
            content = self.file()
            if self.refuses not in content:
                fixed = {k: v for k, v in self.loaded.items() if k not in engine_config.RELOADABLE}
                self.loaded = {**fixed, **{k: v for k, v in content.items() if k in engine_config.RELOADABLE}}
        if verb == "restart":
            self.active = self.refuses not in self.file()
            if not self.active:
                return 1
            self.loaded = self.file()
        return 0

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if argv[0] == "systemctl":
            if argv[1] == "is-active":
                return Completed(self.systemctl(argv[1]), "", "")
            self.log.append(argv[1])
            code = self.systemctl(argv[1])
            if self.kill_at is not None and len(self.log) == self.kill_at:
                raise Killed
            return Completed(code, "", "failed" if code else "")
        if list(argv[:2]) == ["docker", "ps"]:
            return Completed(0, "\n".join(self.names), "")
        if list(argv[:2]) == ["docker", "info"]:
            insecure = self.loaded.get("insecure-registries", [])
            info = {
                "ServerVersion": "29.10.0",
                "LiveRestoreEnabled": self.loaded.get("live-restore", False),
                "Labels": self.loaded.get("labels", []),
                "RegistryConfig": {
                    "IndexConfigs": {name: {"Secure": False} for name in insecure if "/" not in name},
                    "InsecureRegistryCIDRs": [name for name in insecure if "/" in name],
                },
            }
            return Completed(0, json.dumps(info), "") if self.active else self.no_answer
        raise AssertionError(argv)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "daemon.json"


def parameters(path: Path, settings: dict[str, Any]) -> Parameters:
    return Parameters(settings, str(path), f"{path}.trigger_dev", "docker", re.compile("^/?runner-"), 5)


def run(host: Host, settings: dict[str, Any]) -> tuple[str, list[str]]:
    """Do what main() does, without Ansible around it."""
    wanted = parameters(host.path, settings)
    now = 0.0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    engine = Engine(host, wanted, lambda: now, pause)
    before = read(wanted.path)
    state = parse_state(read(wanted.state_path) or "", wanted.state_path)
    decided = plan(parse(before or "", wanted.path), state, settings, engine.running())
    host.log.clear()
    if decided.write or decided.action != NONE or decided.remember:
        change(wanted, engine, before, state, decided)
    return decided.action, list(host.log)


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        ({}, {}, NONE),
        ({"debug": True}, {"debug": True}, NONE),
        ({}, {"insecure-registries": ["r:5000"]}, RELOAD),
        ({"labels": ["a=b"], "live-restore": True}, {}, RELOAD),
        ({}, {"log-opts": {"max-size": "1m"}}, RESTART),
        ({"log-driver": "local"}, {"debug": True}, RESTART),
        ({"live-restore": True}, {"live-restore": True, "no-new-privileges": True}, RESTART),
        ({"debug": True}, {"debug": 1}, RELOAD),
        ({}, {"features": {"containerd-snapshotter": True}}, RESTART),
    ],
)
def test_action(before: dict[str, Any], after: dict[str, Any], action: str) -> None:
    assert action_needed(before, after) == action


def test_interrupted_runs_are_made_good_by_the_stronger_action() -> None:
    assert plan({"debug": True}, State({}, {"debug": True}, RESTART), {"debug": True}, True).action == RESTART
    assert plan({}, State({}, {}, RELOAD), {"log-driver": "local"}, True).action == RESTART


def test_an_engine_that_does_not_run_is_told_nothing() -> None:
    decided = plan({}, State({}, {}, RESTART), LOGS, False)
    assert (decided.action, decided.write) == (NONE, True)


def test_options_of_another_log_driver_are_left_out() -> None:
    decided = plan({"log-driver": "journald"}, CLEAN, LOGS, True)
    assert decided.settings == {"log-driver": "journald", "live-restore": True}
    assert decided.kept == ["log-driver", "log-opts"]


@pytest.mark.parametrize("operators", [True, False])
def test_a_flag_of_the_operators_stays_and_is_nothing_to_restart_for(path: Path, operators: bool) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"no-new-privileges": operators}))
    host = Host(path)
    decided = plan(host.file(), CLEAN, {"no-new-privileges": True}, True)
    assert (decided.action, decided.write, decided.kept) == (NONE, False, [] if operators else ["no-new-privileges"])
    run(host, {"no-new-privileges": True})
    run(host, {})
    assert json.loads(path.read_text()) == {"no-new-privileges": operators}


def test_a_flag_that_an_older_deployment_did_not_have_comes_and_goes(path: Path) -> None:
    host = Host(path)
    run(host, LOGS)
    assert run(host, {**LOGS, "no-new-privileges": True}) == (RESTART, ["reload", "restart"])
    assert host.loaded == {**LOGS, "no-new-privileges": True}
    assert run(host, LOGS) == (RESTART, ["reload", "restart"])
    assert host.loaded == LOGS


@pytest.mark.parametrize(
    ("info", "settings", "missing"),
    [
        ({"LiveRestoreEnabled": False}, {"live-restore": True}, ["live-restore"]),
        ({"LiveRestoreEnabled": True}, {"live-restore": True}, []),
        ({"Labels": None}, {"labels": ["a=b"]}, ["labels"]),
        (
            {"RegistryConfig": {"IndexConfigs": {"r:5000": {"Secure": False}, "s": {"Secure": True}}}},
            {"insecure-registries": ["r:5000", "s"]},
            ["insecure-registries"],
        ),
        (
            {
                "RegistryConfig": {
                    "IndexConfigs": {"r:5000": {"Secure": False}},
                    "InsecureRegistryCIDRs": ["10.0.0.0/8"],
                }
            },
            {"insecure-registries": ["r:5000", "10.0.0.0/8"]},
            [],
        ),
        ({}, {"shutdown-timeout": 5}, []),
    ],
)
def test_loaded(info: dict[str, Any], settings: dict[str, Any], missing: list[str]) -> None:
    assert loaded(info, settings) == missing


def test_reload_before_restart_and_nothing_on_the_second_run(path: Path) -> None:
    host = Host(path)
    assert run(host, LOGS) == (RESTART, ["reload", "restart"])
    assert host.loaded == LOGS == json.loads(path.read_text())
    before = path.stat().st_mtime_ns
    assert run(host, LOGS) == (NONE, [])
    assert path.stat().st_mtime_ns == before


def test_without_live_restore_there_is_nothing_to_load_first(path: Path) -> None:
    assert run(Host(path), {"log-driver": "json-file"}) == (RESTART, ["restart"])


def test_reload_is_enough_for_registries(path: Path) -> None:
    host = Host(path)
    assert run(host, {"insecure-registries": ["r:5000"]}) == (RELOAD, ["reload"])
    assert host.loaded == {"insecure-registries": ["r:5000", *LOOPBACK]}


@pytest.mark.parametrize("theirs", [[], ["op:5000"], ["127.0.0.0/8"], list(LOOPBACK)])
def test_the_loopback_is_named_where_the_operator_names_registries(path: Path, theirs: list[str]) -> None:
    """With such a key, an empty one too, engines from 29.10 on have no trust in it by themselves."""
    path.parent.mkdir()
    path.write_text(json.dumps({**LOGS, "insecure-registries": theirs}))
    host = Host(path)
    lacking = [one for one in LOOPBACK if one not in theirs]
    assert run(host, LOGS) == ((RELOAD, ["reload"]) if lacking else (NONE, []))
    assert host.loaded["insecure-registries"] == [*theirs, *lacking]
    assert run(host, LOGS) == (NONE, [])
    wanted = {**LOGS, "insecure-registries": ["r:5000"]}
    assert run(host, wanted)[0] == RELOAD
    assert set(host.loaded["insecure-registries"]) == {*theirs, "r:5000", *LOOPBACK}
    assert run(host, wanted) == (NONE, [])
    run(host, LOGS)
    assert set(host.file().get("insecure-registries", [])) == ({*theirs, *LOOPBACK} if theirs else set())
    assert run(host, LOGS) == (NONE, [])
    run(host, {})
    assert host.file().get("insecure-registries", []) == theirs


def test_the_loopback_goes_with_our_registry_and_is_not_missed_without_one(path: Path) -> None:
    host = Host(path)
    run(host, {**LOGS, "insecure-registries": ["r:5000"]})
    assert host.loaded["insecure-registries"] == ["r:5000", *LOOPBACK]
    assert run(host, {**LOGS, "insecure-registries": []}) == (RELOAD, ["reload"])
    assert host.file() == LOGS


def test_an_empty_list_of_the_operators_does_not_come_and_go(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"insecure-registries": []}')
    host = Host(path)
    host.kill_at = 1
    with pytest.raises(Killed):
        run(host, {"live-restore": True})
    host.kill_at = None
    for _ in range(2):
        run(host, {"live-restore": True})
        assert host.file()["insecure-registries"] == list(LOOPBACK)
    run(host, {})
    assert host.file() == {}


def test_settings_go_when_they_are_not_asked_for(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"labels": ["site=1"], "log-opts": {"tag": "x"}}')
    host = Host(path)
    run(host, {**LOGS, "labels": ["ours=1"]})
    assert host.loaded["labels"] == ["site=1", "ours=1"]
    run(host, {})
    assert json.loads(path.read_text()) == {"labels": ["site=1"], "log-opts": {"tag": "x"}}


def test_mode_of_the_file_stays(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("{}")
    path.chmod(0o640)
    run(Host(path), LOGS)
    assert path.stat().st_mode & 0o777 == 0o640
    assert Path(f"{path}.trigger_dev").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kill_at", [1, 2])
def test_killed_while_telling_the_engine(path: Path, kill_at: int) -> None:
    host = Host(path)
    host.kill_at = kill_at
    with pytest.raises(Killed):
        run(host, LOGS)
    host.kill_at = None
    assert run(host, LOGS)[0] == RESTART
    assert host.loaded == LOGS
    assert run(host, LOGS) == (NONE, [])


@pytest.mark.parametrize("written", [1, 2, 3])
def test_killed_between_the_writes(path: Path, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(path)
    run(host, {"log-driver": "local"})
    real, count = _file.write_atomically, 0

    def fragile(target: str, text: str, mode: int) -> None:
        nonlocal count
        count += 1
        if count == written:
            raise Killed
        real(target, text, mode)

    monkeypatch.setattr(engine_config, "write_atomically", fragile)
    with pytest.raises(Killed):
        run(host, LOGS)
    monkeypatch.undo()
    run(host, LOGS)
    assert host.loaded == LOGS, "what the run before had put there still counts as ours"
    assert run(host, {})[0] == RESTART
    assert json.loads(path.read_text()) == {}


@pytest.mark.parametrize("former", [None, '{"debug": true}'])
def test_an_engine_that_does_not_come_back_gets_its_former_file(path: Path, former: str | None) -> None:
    path.parent.mkdir()
    if former is not None:
        path.write_text(former)
    host = Host(path, refuses="log-opts")
    with pytest.raises(ConfigError, match=r"former .* is back and the engine runs with it"):
        run(host, {"log-opts": {"max-size": 5}})
    assert host.log == ["restart", "reset-failed", "restart"]
    assert host.active
    assert read(str(path)) == former
    host.refuses = ""
    assert run(host, {"log-opts": {"max-size": "5m"}})[0] == RESTART


def test_a_reload_that_is_not_taken_over_is_taken_back(path: Path) -> None:
    host = Host(path, refuses="labels")
    with pytest.raises(ConfigError, match="has not taken over labels"):
        run(host, {"labels": ["x"]})
    assert host.log == ["reload", "reload"]
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"a": 1,\n "b"}', "line 2, column 5"), ("[]", "must hold a JSON object")],
)
def test_a_broken_file_is_left_alone(invoke: Invoke, path: Path, text: str, message: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    result = invoke(engine_config.main, settings=LOGS, path=str(path))
    assert result["failed"]
    assert message in result["msg"]
    assert str(path) in result["msg"]
    assert path.read_text() == text
    assert os.listdir(path.parent) == ["daemon.json"]


@pytest.mark.parametrize("answer", [(1, ""), (1, '{"ServerVersion": ""}'), (0, '{"ServerVersion": ""}')])
def test_an_engine_that_does_not_answer_has_not_come_back(path: Path, answer: tuple[int, str]) -> None:
    """Newer command lines say so on standard error, and end with 0."""
    host = Host(path)
    host.active = False
    host.no_answer = Completed(*answer, "Cannot connect")
    times = iter(range(100))
    engine = Engine(host, parameters(path, {}), lambda: next(times), lambda _: None)
    with pytest.raises(ConfigError, match="the engine does not answer: Cannot connect"):
        engine.settle({})


def test_validate_asks_only_an_engine_that_can() -> None:
    asked: list[str] = []

    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if argv[1] == "--help":
            return Completed(0, help_text, "")
        asked.append(Path(argv[3]).read_text())
        return Completed(1, "", f"unable to configure with file {argv[3]}: bad log option\n")

    help_text = "Usage: dockerd"
    validate(fake, "/etc/docker/daemon.json", "{}")
    assert asked == []
    help_text = "  --validate  Validate daemon configuration and exit"
    with pytest.raises(ConfigError, match=r"refuses the new /etc/docker/daemon.json.* bad log option"):
        validate(fake, "/etc/docker/daemon.json", '{"x": 1}')
    assert asked == ['{"x": 1}']


CLASSIC = {"DRIVER": "overlay2", "STORE": "xfs"}
CONTAINERD = {"DRIVER": "overlayfs", "STORE": "io.containerd.snapshotter.v1"}
PROGRAMS = {
    "systemctl": "echo systemctl $* >>$LOG",
    "docker": """case "$1" in
      ps) echo "$NAMES" ;;
      info) echo "{\\"ServerVersion\\": \\"29.10.0\\",
        \\"LiveRestoreEnabled\\": true, \\"DockerRootDir\\": \\"$ROOT\\", \\"Containers\\": $CONTAINERS,
        \\"Driver\\": \\"$DRIVER\\", \\"DriverStatus\\": [[\\"driver-type\\", \\"$STORE\\"]]}" ;;
      volume) echo "$VOLUMES" ;;
    esac""",
    "dockerd": "echo usage",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    for name, value in {"ROOT": "/var/lib/docker", "CONTAINERS": "0", "VOLUMES": "", **CLASSIC}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NAMES", "trigger-probe-00 trigger-supervisor-supervisor-1 my-runner-x")
    return tmp_path / "log"


@pytest.mark.parametrize("check", [True, False])
def test_no_restart_while_runners_live(
    invoke: Invoke, path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    monkeypatch.setenv("NAMES", "supervisor-1 runner-b runner-a-attempt-2")
    result = invoke(engine_config.main, settings=LOGS, path=str(path), check=check)
    assert result["failed"]
    assert "runner-a-attempt-2, runner-b" in result["msg"]
    assert "Nothing was changed. Drain" in result["msg"]
    assert not path.parent.exists()
    assert "restart" not in programs.read_text()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of data, and a link that leads to it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("there", [{"CONTAINERS": "1"}, {"VOLUMES": "trigger_postgres_data"}])
@pytest.mark.parametrize("ours", [True, False])
def test_no_restart_with_an_empty_folder_of_data(
    invoke: Invoke,
    path: Path,
    programs: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: dict[str, str],
    ours: bool,
    check: bool,
) -> None:
    """Neither when the setting comes, nor when it goes."""
    engine = {"data-root": str(root)}
    if ours:
        invoke(engine_config.main, settings=engine, path=str(path))
    before, wanted = read(str(path)), {} if ours else engine
    programs.write_text("")
    for name, value in {"ROOT": str(root) if ours else "/var/lib/docker", **there}.items():
        monkeypatch.setenv(name, value)
    result = invoke(engine_config.main, settings=wanted, path=str(path), check=check)
    assert result["failed"]
    assert f"containers and volumes are in {root if ours else '/var/lib/docker'}" in result["msg"]
    assert "Nothing was changed" in result["msg"]
    assert read(str(path)) == before
    assert "restart" not in programs.read_text()
    # As an uninstallation that keeps data does.
    allowed = invoke(engine_config.main, settings=wanted, path=str(path), empty_data_root_allowed=True)
    assert allowed["applied"] == RESTART


@pytest.mark.parametrize("spelling", ["data", "data/", "link", "link/../data"])
def test_the_folder_of_data_may_have_another_name(
    invoke: Invoke, path: Path, programs: Path, root: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.setenv("ROOT", str(root))
    monkeypatch.setenv("VOLUMES", "trigger_postgres_data")
    result = invoke(engine_config.main, settings={"data-root": f"{root.parent}/{spelling}"}, path=str(path))
    assert result["applied"] == RESTART


def test_an_empty_engine_may_get_another_folder_of_data(invoke: Invoke, path: Path, programs: Path, root: Path) -> None:
    assert invoke(engine_config.main, settings={"data-root": str(root)}, path=str(path))["applied"] == RESTART


def with_store(on: bool) -> dict[str, Any]:
    return {"features": {"containerd-snapshotter": on}}


@pytest.mark.parametrize(
    ("now", "before", "after", "named"),
    [
        (CLASSIC, {}, with_store(True), "features.containerd-snapshotter"),
        (CONTAINERD, {}, with_store(False), "features.containerd-snapshotter"),
        (CONTAINERD, with_store(True), {}, "features.containerd-snapshotter"),
        (CLASSIC, {}, {"storage-driver": "vfs"}, "storage-driver"),
        (CONTAINERD, {}, {"storage-driver": "overlay2"}, "storage-driver"),
        # Another reason to restart, after the operator has changed the file and not told the engine.
        (CLASSIC, with_store(True), {**with_store(True), "no-new-privileges": True}, "features.containerd-snapshotter"),
        (CLASSIC, {}, with_store(False), ""),
        (CONTAINERD, {}, with_store(True), ""),
        (CLASSIC, with_store(False), {}, ""),
        (CONTAINERD, {}, {"no-new-privileges": True}, ""),
        (CLASSIC, {}, {"storage-driver": "overlay2"}, ""),
        (CLASSIC, {"storage-driver": "overlay2"}, {}, ""),
        (CONTAINERD, {"storage-driver": "overlay2"}, {"storage-driver": "overlay2", "no-new-privileges": True}, ""),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_no_restart_with_another_store_of_images(
    invoke: Invoke,
    path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: dict[str, str],
    before: dict[str, Any],
    after: dict[str, Any],
    named: str,
    check: bool,
) -> None:
    invoke(engine_config.main, settings=before, path=str(path))
    programs.write_text("")
    text = read(str(path))
    for name, value in now.items():
        monkeypatch.setenv(name, value)
    # Volumes are of no store.
    monkeypatch.setenv("VOLUMES", "trigger_postgres_data")
    assert invoke(engine_config.main, settings=after, path=str(path), check=True)["applied"] == RESTART
    monkeypatch.setenv("CONTAINERS", "1")
    result = invoke(engine_config.main, settings=after, path=str(path), check=check)
    if not named:
        assert result["applied"] == RESTART
        return
    assert result["failed"]
    assert f"with another {named}." in result["msg"]
    assert f"(driver {now['DRIVER']})" in result["msg"]
    assert read(str(path)) == text
    assert "restart" not in programs.read_text()
    allowed = invoke(engine_config.main, settings=after, path=str(path), empty_data_root_allowed=True)
    assert allowed["applied"] == RESTART


def test_a_reload_is_allowed_while_runners_live(
    invoke: Invoke, path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMES", "runner-a")
    result = invoke(engine_config.main, settings={"live-restore": True}, path=str(path))
    assert (result["changed"], result["applied"]) == (True, RELOAD)


def test_check_mode_predicts(invoke: Invoke, path: Path, programs: Path) -> None:
    predicted = invoke(engine_config.main, settings=LOGS, path=str(path), check=True)
    assert not path.parent.exists()
    assert "restart" not in programs.read_text()
    done = invoke(engine_config.main, settings=LOGS, path=str(path))
    assert predicted == done
    assert (done["changed"], done["applied"]) == (True, RESTART)
    assert done["engine_config"] == {"path": str(path), "settings": LOGS, "kept": []}
    assert done["diff"]["before"] == ""
    assert done["diff"]["after"] == path.read_text()
    programs.write_text("")
    again = invoke(engine_config.main, settings=LOGS, path=str(path))
    assert (again["changed"], again["applied"]) == (False, NONE)
    assert programs.read_text() == "systemctl is-active --quiet docker\n"


def test_a_link_stays_a_link(invoke: Invoke, path: Path, programs: Path) -> None:
    path.parent.mkdir()
    target = path.parent / "managed.json"
    target.write_text("{}")
    path.symlink_to(target)
    invoke(engine_config.main, settings=LOGS, path=str(path))
    assert path.is_symlink()
    assert json.loads(target.read_text()) == LOGS


def test_bad_pattern(invoke: Invoke, path: Path) -> None:
    result = invoke(engine_config.main, settings={}, path=str(path), runner_name_pattern="(")
    assert "runner_name_pattern" in result["msg"]
