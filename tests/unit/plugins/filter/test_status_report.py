# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import report as status_report

FACTS = {"origin": "https://trigger.example.com", "time": "2026-01-31 12:00:00 UTC"}


def test_checks_are_counted_and_told_by_host() -> None:
    found = {
        "control": [{"what": "webapp", "ok": True, "detail": "answers"}],
        "w1": [{"what": "end-to-end probe", "ok": False, "detail": "no\n  registry"}],
    }
    assert status_report(found, [], FACTS) == {
        "format": 1,
        **FACTS,
        "ok": False,
        "checks": 2,
        "wrong": 1,
        "warnings": 0,
        "hosts": [
            {
                "name": "control",
                "wrong": 0,
                "warnings": 0,
                "checks": [{"what": "webapp", "ok": True, "warning": False, "detail": "answers"}],
            },
            {
                "name": "w1",
                "wrong": 1,
                "warnings": 0,
                "checks": [{"what": "end-to-end probe", "ok": False, "warning": False, "detail": "no registry"}],
            },
        ],
    }


def test_a_lost_host_is_wrong() -> None:
    report = status_report({"w2": [{"what": "a", "ok": True, "detail": ""}]}, ["w1", "w2"], FACTS)
    assert [(host["name"], host["wrong"]) for host in report["hosts"]] == [("w2", 1), ("w1", 1)]
    assert not report["ok"]


def test_what_warns_is_counted_and_not_wrong() -> None:
    warning = {"what": "a", "ok": True, "warning": True, "detail": ""}
    report = status_report({"w1": [warning, {**warning, "ok": False}], "w2": [warning]}, [], FACTS)
    assert (report["ok"], report["wrong"], report["warnings"]) == (False, 1, 2)
    assert [host["warnings"] for host in report["hosts"]] == [1, 1]
    assert status_report({"w2": [warning]}, [], FACTS)["ok"]


def test_all_is_well() -> None:
    report = status_report({"w": [{"what": "a", "ok": True, "detail": ""}]}, [], FACTS)
    assert (report["ok"], report["checks"], report["wrong"]) == (True, 1, 0)
