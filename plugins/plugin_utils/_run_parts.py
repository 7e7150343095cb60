# SPDX-License-Identifier: MIT
"""What the callbacks progress and summary make of a run: its parts, their times, and the reasons of failures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import size

SUMMARY = "selfhosted.trigger_dev.summary"
PROGRESS = "selfhosted.trigger_dev.progress"
# Variable of the environment: process of the run that holds the lock, and goes on in this one.
LOCK_PROCESS = "TRIGGER_LOCK_PROCESS"
WARNING = "WARNING: "
AT_FAILURE = "AT FAILURE: "
# The first line of a message with several.
NEXT_STEPS = "NEXT STEPS"
HIDDEN = "the error is not shown, because the task handles secrets"
LONGEST_LINE = 300
NAMED_HOSTS = 3
# What Ansible says of every command that fails; the reason is in what the command said.
OF_COMMANDS = "non-zero return code"
# What tells why something failed, in the order in which it is read.
_DETAILS = ("msg", "reason", "stderr", "stdout", "module_stderr", "module_stdout")
_AT_MOST = re.compile(r"[:,]? ?at most (\d+) s$")


def clock(seconds: float) -> str:
    """Give a time as minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def hosts_label(names: Sequence[str]) -> str:
    """Name a few hosts, count many."""
    return ", ".join(names) if len(names) <= NAMED_HOSTS else f"{len(names)} hosts"


def own_name(name: str) -> str:
    """Give the name of a task without that of its role."""
    return name.rpartition(" : ")[2].strip()


def _ancestors(task: Any) -> Iterator[tuple[Any, Any]]:
    """Give what surrounds a task, from the inside out, each with what it surrounds."""
    inner, outer = task, task._parent
    while outer is not None:
        yield inner, outer
        inner, outer = outer, outer._parent


def part_of(task: Any) -> str:
    """Name the part of its play that a task belongs to: the outermost include, or nothing where there is none."""
    # A block has no action, an include of tasks or a role has one.
    includes = [outer for _, outer in _ancestors(task) if hasattr(outer, "action")]
    return own_name(includes[-1].get_name()) if includes else ""


def has_rescue(task: Any) -> bool:
    """Tell whether a block goes on with its rescue when this task fails."""
    return any(
        getattr(outer, "rescue", None) and any(inner._uuid == each._uuid for each in outer.block)
        for inner, outer in _ancestors(task)
    )


def failed_items(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the failed items of a loop, whose own message says no more than that something in it failed."""
    return [item for item in result.get("results", []) if isinstance(item, Mapping) and item.get("failed")]


def one_line(text: str) -> str:
    """Give a text in one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."


def reason(result: Mapping[str, Any]) -> str:
    """Give the last error of a host in one line."""
    if items := failed_items(result):
        return reason(items[0])
    if "censored" in result and "msg" not in result:
        return HIDDEN
    said, message = result.get("stderr"), result.get("msg")
    return one_line(str(said if said and message == OF_COMMANDS else message or said or "no message"))


def full_reason(result: Mapping[str, Any]) -> str:
    """Give the last error of a host with everything that says why, each text once."""
    if items := failed_items(result):
        return "\n".join(dict.fromkeys(full_reason(item) for item in items))
    if "censored" in result and "msg" not in result:
        return HIDDEN
    texts: list[str] = []
    for text in (str(result.get(key) or "").strip() for key in _DETAILS):
        if text and not any(text in other for other in texts):
            texts.append(text)
    return "\n".join(texts) or "no message"


def messages(result: Mapping[str, Any], kind: str) -> list[str]:
    """Give the messages of a kind that a role has shown, each as one line without its beginning."""
    texts = [str(each.get("msg")) for each in [result, *result.get("results", [])]]
    return [" ".join(text.removeprefix(kind).split()) for text in texts if text.startswith(kind)]


def next_steps(result: Mapping[str, Any]) -> list[str]:
    """Give the lines below the headline of a message about the next steps; none of another message."""
    lines = result.get("msg")
    return [str(line) for line in lines[1:]] if isinstance(lines, list) and lines[:1] == [NEXT_STEPS] else []


def _short_image(reference: str) -> str:
    """Give a reference as the engine shows it: without the registry that it takes where none is named."""
    return reference.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")


def pulled_images(result: Mapping[str, Any]) -> list[str]:
    """Name the images that Compose has pulled, with what they take of the disk where it tells that."""
    actions = [each for each in result.get("actions", []) if isinstance(each, Mapping)]
    rows = [each for each in result.get("images", []) if isinstance(each, Mapping)]
    sizes = {_short_image(f"{row.get('Repository')}:{row.get('Tag')}"): row.get("Size") for row in rows}
    found = sorted({str(each.get("id")) for each in actions if each.get("status") == "Pulling"})
    taken = {name: sizes.get(_short_image(name)) for name in found}
    return [f"{name}, {size(number)}" if isinstance(number, int) else name for name, number in taken.items()]


def waiting(name: str, seconds: float, most: float = 0) -> str:
    """Say for how long something has been going on, and how long it may; the name of a task may end with that."""
    match = _AT_MOST.search(name)
    most = float(match[1]) if match else most
    return f"{without_limit(name)}, {seconds:.0f} s" + (f" of at most {most:.0f} s" if most else "")


def without_limit(name: str) -> str:
    """Give the name of a task without the time that it may take."""
    return _AT_MOST.sub("", name)


def bars(times: Mapping[str, float], width: int = 40) -> list[str]:
    """Draw the times of the parts as a bar chart, leaving out what took less than a second."""
    rows = {name: seconds for name, seconds in times.items() if seconds >= 1}
    longest, names = max(rows.values(), default=0), max(map(len, rows), default=0)
    return [
        f"{name:<{names}}  {clock(seconds):>7}  {'#' * max(1, round(width * seconds / longest))}"
        for name, seconds in rows.items()
    ]
