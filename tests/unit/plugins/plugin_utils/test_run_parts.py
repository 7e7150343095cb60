# SPDX-License-Identifier: MIT
"""What the callbacks make of tasks, results and times."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import (
    HIDDEN,
    bars,
    clock,
    failed_items,
    full_reason,
    has_rescue,
    hosts_label,
    messages,
    next_steps,
    part_of,
    pulled_images,
    reason,
    waiting,
    without_limit,
)


def block(parent: Any = None, rescue: Any = None) -> SimpleNamespace:
    """Stand in for a block, which has no action."""
    return SimpleNamespace(_parent=parent, _uuid=object(), block=[], rescue=rescue or [])


def task(parent: Any, name: str = "a task") -> SimpleNamespace:
    """Stand in for a task, or for an include of others."""
    made = SimpleNamespace(_parent=parent, _uuid=object(), action="command", get_name=lambda: name)
    parent.block.append(made)
    return made


def test_a_task_belongs_to_the_outermost_include() -> None:
    play = block()
    include = task(play, "selfhosted.trigger_dev.webapp : Start it")
    inner = task(block(parent=include), "Wait")
    assert part_of(task(block(parent=inner))) == "Start it"
    assert part_of(task(block(parent=block()))) == ""


def test_a_rescue_is_for_the_tasks_of_its_block_alone() -> None:
    outer = block(rescue=["something"])
    include = task(outer)
    assert has_rescue(task(block(parent=include)))
    assert not has_rescue(task(block(parent=block())))
    rescuing = task(outer)
    outer.block.remove(rescuing)
    assert not has_rescue(rescuing)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"msg": "no\n  space"}, "no space"),
        ({"stderr": "killed"}, "killed"),
        ({}, "no message"),
        ({"msg": "One or more items failed", "results": [{"msg": "fine"}, {"msg": "gone", "failed": True}]}, "gone"),
        ({"censored": "the output has been hidden"}, HIDDEN),
        ({"censored": "of one item", "results": [{"censored": "of it"}, {"msg": "gone", "failed": True}]}, "gone"),
        ({"msg": "x" * 400}, "x" * 300 + " ..."),
        ({"msg": "non-zero return code", "stderr": "no such image\n"}, "no such image"),
        ({"msg": "non-zero return code", "stderr": ""}, "non-zero return code"),
    ],
)
def test_a_reason_is_one_line(result: dict[str, str], told: str) -> None:
    assert reason(result) == told


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"msg": "non-zero", "stderr": "a\nb\n", "stdout": "c"}, "non-zero\na\nb\nc"),
        ({"msg": "failed: gone", "stderr": "gone"}, "failed: gone"),
        ({"reason": "no such file"}, "no such file"),
        ({}, "no message"),
        ({"censored": "hidden"}, HIDDEN),
        ({"results": [{"msg": "x", "failed": True}, {"msg": "fine"}, {"msg": "y", "failed": True}]}, "x\ny"),
        ({"results": [{"msg": "x", "failed": True}, {"msg": "x", "failed": True}]}, "x"),
    ],
)
def test_a_full_reason_has_each_text_once(result: dict[str, Any], told: str) -> None:
    assert full_reason(result) == told


def test_failed_items_are_found() -> None:
    assert failed_items({"results": [{"failed": True}, {"failed": False}, "text"]}) == [{"failed": True}]
    assert failed_items({}) == []


def test_messages_of_a_kind_lose_its_name() -> None:
    assert messages({"msg": "WARNING: a\n b"}, "WARNING: ") == ["a b"]
    assert messages({"msg": "all done", "results": [{"msg": "WARNING: c"}]}, "WARNING: ") == ["c"]


@pytest.mark.parametrize(
    ("message", "told"), [(["NEXT STEPS", "a", "b"], ["a", "b"]), (["a", "b"], []), ("NEXT STEPS", []), (None, [])]
)
def test_next_steps_are_the_lines_below_the_headline(message: Any, told: list[str]) -> None:
    assert next_steps({"msg": message}) == told


def test_images_that_were_pulled_are_found_among_what_compose_did() -> None:
    pulled = {"id": "redis:7", "status": "Pulling", "what": "image"}
    assert pulled_images({"actions": [pulled, pulled, {"id": "web", "status": "Creating"}, "text"]}) == ["redis:7"]
    assert pulled_images({}) == []


@pytest.mark.parametrize(
    ("pulled", "shown"),
    [
        ("redis:7", ("redis", "7")),
        ("docker.io/redis:7", ("redis", "7")),
        ("docker.io/library/redis:7@sha256:0a", ("redis", "7")),
        ("registry.example.com:5000/docker.io/redis:7", ("registry.example.com:5000/docker.io/redis", "7")),
    ],
)
def test_an_image_that_was_pulled_has_its_size(pulled: str, shown: tuple[str, str]) -> None:
    row = {"Repository": shown[0], "Tag": shown[1], "Size": 3 * 2**20}
    other = {"Repository": "other", "Tag": "7", "Size": 1}
    action = {"id": pulled, "status": "Pulling", "what": "image"}
    assert pulled_images({"actions": [action], "images": [other, row]}) == [f"{pulled}, 3.0 MiB"]
    assert pulled_images({"actions": [action], "images": [other, {**row, "Size": None}, "text"]}) == [pulled]


@pytest.mark.parametrize(
    ("name", "most", "told"),
    [
        ("Wait", 0, "Wait, 24 s"),
        ("Wait", 300, "Wait, 24 s of at most 300 s"),
        ("Start it: webapp, at most 300 s", 0, "Start it: webapp, 24 s of at most 300 s"),
        ("Wait: at most 90 s", 0, "Wait, 24 s of at most 90 s"),
    ],
)
def test_a_wait_says_how_long_it_takes_and_may_take(name: str, most: float, told: str) -> None:
    assert waiting(name, 24.4, most) == told


def test_the_limit_of_a_task_is_no_part_of_what_it_has_done() -> None:
    assert without_limit("Start it: webapp, at most 300 s") == "Start it: webapp"
    assert without_limit("Use at most 3 s of time") == "Use at most 3 s of time"


@pytest.mark.parametrize(("seconds", "told"), [(5, "0:05"), (65.9, "1:05"), (3725, "1:02:05")])
def test_times_are_minutes_and_seconds(seconds: float, told: str) -> None:
    assert clock(seconds) == told


def test_few_hosts_are_named_and_many_counted() -> None:
    assert hosts_label(["a", "b", "c"]) == "a, b, c"
    assert hosts_label(["a", "b", "c", "d"]) == "4 hosts"


def test_bars_are_as_long_as_the_times() -> None:
    assert bars({"one": 4.0, "longer": 2.0, "short": 0.4}, width=4) == ["one        0:04  ####", "longer     0:02  ##"]
    assert bars({}) == []
