# SPDX-License-Identifier: MIT
"""Module systemd_units, with a service manager that keeps units in memory and reads their files."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _systemd
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import systemd_units

from .conftest import Invoke

TIMER, SERVICE = "example.timer", "example.service"
UNITS = [
    {"name": SERVICE, "content": "[Service]\n"},
    {"name": TIMER, "content": "[Timer]\n", "state": "started"},
]


def units(service: dict[str, Any] | None = None, timer: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Both of them, with other values."""
    return [UNITS[0] | (service or {}), UNITS[1] | (timer or {})]


class Systemd:
    """Stands for systemctl. `loaded`: unit -> what its file held when it was loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: dict[str, str] = {}
        self.enabled: set[str] = set()
        self.since: dict[str, float] = {}
        self.failed: set[str] = set()
        self.calls: list[tuple[str, ...]] = []
        self.broken: set[str] = set()

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert list(argv[:3]) == ["/usr/bin/env", "TZ=UTC", "systemctl"]
        verb, *rest = argv[3:]
        names = [word for word in rest if not word.startswith("--")]
        self.calls.append((verb, *names))
        if found := self.broken & set(names):
            return Completed(1, "", f"Job for {min(found)} failed.")
        return Completed(0, getattr(self, verb.replace("-", "_"))(names, rest) or "", "")

    def _text(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text() if path.exists() else None

    def show(self, names: list[str], _words: list[str]) -> str:
        return "\n".join(self._shown(name) for name in names)

    def _shown(self, name: str) -> str:
        since = self.since.get(name)
        active = "failed" if name in self.failed else "active" if since else "inactive"
        loaded = self.loaded.get(name) or self._text(name)
        values = {
            "Id": name,
            "LoadState": "loaded" if loaded else "not-found",
            "ActiveState": active,
            "UnitFileState": "enabled" if name in self.enabled else "disabled" if self._text(name) else "",
            "NeedDaemonReload": "yes" if name in self.loaded and self.loaded[name] != self._text(name) else "no",
            "ActiveEnterTimestamp": time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(since)) if since else "",
        }
        return "".join(f"{key}={value}\n" for key, value in values.items())

    def daemon_reload(self, _names: list[str], _words: list[str]) -> None:
        self.loaded = {name: text for name in self.loaded if (text := self._text(name)) is not None}

    def enable(self, names: list[str], _words: list[str]) -> None:
        assert all(self._text(name) is not None for name in names)
        self.enabled.update(names)

    def restart(self, names: list[str], _words: list[str]) -> None:
        for name in names:
            self.loaded[name] = self._text(name) or ""
            self.since[name] = time.time()
            self.failed.discard(name)

    def disable(self, names: list[str], _words: list[str]) -> None:
        assert all(self._text(name) is not None for name in names)
        self.enabled.difference_update(names)

    def stop(self, names: list[str], _words: list[str]) -> None:
        # It refuses what it could not load.
        for name in names:
            del self.since[name]

    def reset_failed(self, names: list[str], _words: list[str]) -> None:
        assert set(names) <= self.failed
        self.failed.difference_update(names)

    def verbs(self) -> list[str]:
        """What was called since the last time."""
        calls, self.calls = self.calls, []
        return [verb for verb, *_ in calls]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    fake = Systemd(tmp_path)
    monkeypatch.setattr(systemd_units, "run", fake)
    return fake


@pytest.fixture
def bring(invoke: Invoke, tmp_path: Path) -> Any:
    def call(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
        return invoke(systemd_units.main, check=check, path=str(tmp_path), **{"units": UNITS, **arguments})

    return call


def age(path: Path, seconds: int) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def told(result: dict[str, Any]) -> tuple[list[str], list[str], list[str], list[str]]:
    return (result["written"], result["enabled"], result["started"], result["removed"])


def test_all_of_it_on_an_empty_host(systemd: Systemd, bring: Any, tmp_path: Path) -> None:
    result = bring()
    assert result["changed"] is True
    assert told(result) == ([SERVICE, TIMER], [TIMER], [TIMER], [])
    assert (tmp_path / TIMER).read_text() == "[Timer]\n"
    assert (tmp_path / TIMER).stat().st_mode & 0o7777 == 0o644
    assert systemd.verbs() == ["show", "daemon-reload", "show", "enable", "restart"]
    assert {each["after_header"]: each["after"] for each in result["diff"]} == {
        str(tmp_path / SERVICE): "[Service]\n",
        str(tmp_path / TIMER): "[Timer]\n",
    }


def test_a_second_run_changes_nothing_and_asks_once(systemd: Systemd, bring: Any) -> None:
    bring()
    systemd.verbs()
    result = bring()
    assert (result["changed"], told(result), result["diff"]) == (False, ([], [], [], []), [])
    assert systemd.verbs() == ["show"]


def test_check_mode_tells_the_same_and_does_nothing(systemd: Systemd, bring: Any, tmp_path: Path) -> None:
    dry = bring(check=True)
    assert (systemd.verbs(), list(tmp_path.iterdir())) == (["show"], [])
    assert told(dry) == told(bring())
    (tmp_path / "old.timer").write_text("")
    dry = bring(check=True, absent_units=["old.timer"])
    assert dry["removed"] == ["old.timer"]
    assert (tmp_path / "old.timer").exists()


def test_a_timer_starts_again_when_its_own_file_changes(systemd: Systemd, bring: Any) -> None:
    bring()
    systemd.verbs()
    assert told(bring(units=units(timer={"content": "[Timer]\nOnBootSec=1\n"}))) == ([TIMER], [], [TIMER], [])
    assert systemd.verbs() == ["show", "daemon-reload", "show", "restart"]


def test_a_timer_goes_on_when_its_service_changes(systemd: Systemd, bring: Any) -> None:
    bring()
    systemd.verbs()
    assert told(bring(units=units(service={"content": "[Service]\nNice=1\n"}))) == ([SERVICE], [], [], [])
    assert "daemon-reload" in systemd.verbs()


@pytest.mark.parametrize(("restart", "started"), [(True, [TIMER]), (False, [])])
def test_a_run_that_ended_before_the_start_is_made_good(
    systemd: Systemd, bring: Any, tmp_path: Path, restart: bool, started: list[str]
) -> None:
    bring()
    (tmp_path / TIMER).write_text("[Timer]\nOnBootSec=1\n")
    age(tmp_path / TIMER, 30)
    systemd.since[TIMER] -= 60
    systemd.verbs()
    result = bring(units=units(timer={"content": "[Timer]\nOnBootSec=1\n", "restart": restart}))
    assert told(result) == ([], [], started, [])
    assert result["reloaded"] is result["changed"] is True
    assert systemd.verbs()[:3] == ["show", "daemon-reload", "show"]
    assert systemd.loaded[TIMER] == "[Timer]\nOnBootSec=1\n"


def test_a_file_of_the_future_starts_nothing(systemd: Systemd, bring: Any, tmp_path: Path) -> None:
    bring()
    age(tmp_path / TIMER, -3600)
    assert bring()["changed"] is False


def test_a_unit_follows_its_program(systemd: Systemd, bring: Any, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("")
    age(program, 60)
    wanted = units(timer={"follows": [str(program), str(tmp_path / "missing.py")]})
    bring(units=wanted)
    assert bring(units=wanted)["changed"] is False
    systemd.since[TIMER] -= 90
    age(tmp_path / TIMER, 120)
    assert told(bring(check=True, units=wanted)) == ([], [], [TIMER], [])
    assert told(bring(units=wanted)) == ([], [], [TIMER], [])
    assert bring(units=wanted)["changed"] is False


def test_a_file_that_was_changed_and_put_back_is_reloaded(systemd: Systemd, bring: Any) -> None:
    bring()
    systemd.loaded[SERVICE] = "[Service]\nNice=1\n"
    systemd.since[TIMER] += 1
    for check in (True, False):
        result = bring(check=check)
        assert (result["changed"], result["reloaded"], told(result)) == (True, True, ([], [], [], []))
    assert bring()["changed"] is False


@pytest.mark.parametrize("shown", ["", "ActiveEnterTimestamp=", "ActiveEnterTimestamp=n/a"])
def test_a_unit_that_was_never_started_has_no_time(shown: str) -> None:
    pairs = dict(line.split("=", 1) for line in [shown] if line)
    assert _systemd.State.of(pairs).since == 0


@pytest.mark.parametrize("name", ["../x.service", "/etc/x.service", "x", "", "x.conf", "--now.timer "])
@pytest.mark.parametrize("way", ["units", "absent_units"])
def test_a_name_that_is_none_is_refused(systemd: Systemd, bring: Any, name: str, way: str) -> None:
    values = {"units": [{"name": name, "content": ""}]} if way == "units" else {"units": [], "absent_units": [name]}
    result = bring(**values)
    assert result["failed"] is True
    assert "not the name of a unit" in result["msg"]
    assert systemd.calls == []


def test_a_unit_cannot_be_both(systemd: Systemd, bring: Any) -> None:
    result = bring(absent_units=[TIMER])
    assert result["failed"] is True
    assert TIMER in result["msg"]
    assert systemd.calls == []


def test_what_was_stopped_or_disabled_by_hand_comes_back(systemd: Systemd, bring: Any) -> None:
    bring()
    del systemd.since[TIMER]
    systemd.enabled.clear()
    assert told(bring(check=True)) == ([], [TIMER], [TIMER], [])
    assert told(bring()) == ([], [TIMER], [TIMER], [])


def test_a_unit_may_be_enabled_only(systemd: Systemd, bring: Any) -> None:
    wanted = units(service={"state": "enabled"}, timer={"state": "present"})
    assert told(bring(units=wanted)) == ([SERVICE, TIMER], [SERVICE], [], [])
    assert systemd.verbs() == ["show", "daemon-reload", "show", "enable"]
    assert bring(units=wanted)["changed"] is False


def test_the_mode_of_a_file_is_mended(systemd: Systemd, bring: Any, tmp_path: Path) -> None:
    bring()
    (tmp_path / SERVICE).chmod(0o666)
    assert bring()["written"] == [SERVICE]
    assert (tmp_path / SERVICE).stat().st_mode & 0o7777 == 0o644


def test_unwanted_units_go(systemd: Systemd, bring: Any, tmp_path: Path) -> None:
    bring()
    systemd.failed.add(SERVICE)
    systemd.verbs()
    result = bring(units=[], absent_units=[SERVICE, TIMER, "never-was.timer"])
    assert told(result) == ([], [], [], [SERVICE, TIMER])
    assert list(tmp_path.iterdir()) == []
    assert (systemd.enabled, systemd.since, systemd.failed, systemd.loaded) == (set(), {}, set(), {})
    assert systemd.calls[:4] == [
        ("show", SERVICE, TIMER, "never-was.timer"),
        ("disable", TIMER, SERVICE),
        ("show", TIMER, SERVICE),
        ("stop", TIMER),
    ]
    assert bring(units=[], absent_units=[SERVICE, TIMER])["changed"] is False


def test_what_systemd_says_is_passed_on(systemd: Systemd, bring: Any) -> None:
    systemd.broken.add(TIMER)
    result = bring()
    assert result["failed"] is True
    assert "Job for example.timer failed." in result["msg"]


def test_a_folder_that_is_missing_is_named(systemd: Systemd, invoke: Invoke, tmp_path: Path) -> None:
    result = invoke(systemd_units.main, path=str(tmp_path / "none"), units=UNITS)
    assert result["failed"] is True
    assert str(tmp_path / "none") in result["msg"]
