# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.selfhosted.trigger_dev.plugins.filter.check_table import check_table


def test_columns_are_aligned_and_what_is_wrong_is_named() -> None:
    found = {
        "control": [{"what": "webapp", "ok": True, "detail": "answers"}],
        "w1": [{"what": "end-to-end probe", "ok": False, "detail": "no\n  registry"}],
    }
    assert check_table(found) == {
        "lines": [
            "host     what              ok   detail",
            "control  webapp            yes  answers",
            "w1       end-to-end probe  NO   no registry",
        ],
        "wrong": ["w1: end-to-end probe"],
    }


def test_a_lost_host_is_wrong() -> None:
    table = check_table({}, ["worker2"])
    assert table["wrong"] == ["worker2: unreachable or failed"]
    assert table["lines"][1].startswith("worker2  unreachable or failed  NO")


def test_what_warns_is_not_wrong() -> None:
    table = check_table({"w": [{"what": "a", "ok": True, "warning": True, "detail": "b"}]})
    assert table["lines"][1] == "w     a     warn  b"
    assert table["wrong"] == []
    assert check_table({"w": [{"what": "a", "ok": False, "warning": True, "detail": ""}]})["wrong"] == ["w: a"]


def test_all_is_well() -> None:
    assert check_table({"w": [{"what": "a", "ok": True, "detail": ""}]})["wrong"] == []
