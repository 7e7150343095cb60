# SPDX-License-Identifier: MIT
"""Callback plugin summary."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: aggregate
version_added: 0.1.0
short_description: Say at the end what was done and what comes next, or which hosts failed, and why
description:
  - A worker that is broken or unreachable does not stop the others. Its error may therefore stand far above the end
    of a long run. This prints one line for each such host once more, below the recap.
  - With the callback P(selfhosted.trigger_dev.progress#callback), the full reason is printed here and nowhere else,
    once for all hosts that have the same one.
  - An error that a playbook has dealt with by itself is not one.
  - Warnings of the roles, messages that begin with C(WARNING), are repeated, each once, because they drown in a long
    run.
  - Messages that begin with C(AT FAILURE) are repeated only when something failed. They say how to
    continue, or how to go back.
  - It says on which hosts tasks have reported changes, in which steps, and how long the plays took.
  - When nothing failed, messages follow that are lists with the first line C(NEXT STEPS).
  - Hosts of the last play that the run did not come to, because it ended before their batch, are named too.
  - If the run is interrupted, the errors until then are printed.
options:
  timings:
    description: Whether a bar chart of the times of all steps is printed.
    type: bool
    default: false
    env: [{name: TRIGGER_SUMMARY_TIMINGS}]
    ini: [{section: callback_trigger_summary, key: timings}]
requirements:
  - V(selfhosted.trigger_dev.summary) in C(callbacks_enabled) of C(ansible.cfg), where a checkout has it, or in the
    environment variable C(ANSIBLE_CALLBACKS_ENABLED)
author:
  - The selfhosted.trigger_dev maintainers
"""

import atexit
import textwrap
import time
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import (
    AT_FAILURE,
    PROGRESS,
    WARNING,
    bars,
    clock,
    full_reason,
    messages,
    next_steps,
    own_name,
    part_of,
    reason,
)

# A play that took a smaller part of the time is not named.
SHORTEST_PLAY = 0.1


def lines(failed: dict[str, str], unreachable: dict[str, str], left: dict[str, str]) -> list[str]:
    """Give a line for each host, those that the run did not come to last."""
    kinds = [(failed, "failed"), (unreachable, "unreachable"), (left, "not reached")]
    rows = [(host, kind, text) for hosts, kind in kinds for host, text in sorted(hosts.items())]
    width = max((len(host) for host, _, _ in rows), default=0)
    return [f"{host:<{width}}  {kind:<11}  {text}" for host, kind, text in rows]


def paragraphs(failed: dict[str, str], unreachable: dict[str, str], left: dict[str, str]) -> list[str]:
    """Give the full texts of the hosts, each once, below the hosts that it is for."""
    found: dict[tuple[str, str], list[str]] = {}
    for hosts, kind in ((failed, "failed"), (unreachable, "unreachable"), (left, "not reached")):
        for host, text in sorted(hosts.items()):
            found.setdefault((kind, text), []).append(host)
    return [f"{', '.join(hosts)}  {kind}  {text}" for (kind, text), hosts in found.items()]


def what_took_long(plays: dict[str, float]) -> str:
    """Say how long the run took, and which plays most of it."""
    total = sum(plays.values())
    long = [f"{name} {clock(seconds)}" for name, seconds in plays.items() if name and seconds >= SHORTEST_PLAY * total]
    return f"It took {clock(total)}{', and most of it ' if long else ''}{', '.join(long)}."


def what_changed(changed: dict[str, dict[str, int]], verb: str) -> list[str]:
    """Give a line for each host that has changed: how often, and in which steps."""
    width = max(map(len, changed), default=0)
    return [
        f"{host:<{width}}  {verb} {sum(parts.values()):>3}  {', '.join(parts)}"
        for host, parts in sorted(changed.items())
    ]


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Keeps the last error of each host, what has changed, all warnings, and what helps afterwards."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "selfhosted.trigger_dev.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, str] = {}
        # Dictionaries, so that each stands there once, in the order of the run.
        self.warnings: dict[str, None] = {}
        self.helps: dict[str, None] = {}
        self.steps: dict[str, None] = {}
        # Host -> step -> number of tasks that have changed something.
        self.changed: dict[str, dict[str, int]] = {}
        # Play -> step -> seconds.
        self.times: dict[str, dict[str, float]] = {}
        self.now = ("", "")
        self.since = time.monotonic()
        self.play: Any = None
        # Hosts that the play of this name has begun with.
        self.begun: set[str] = set()
        # That one has printed no reasons.
        self.in_full = PROGRESS == C.DEFAULT_STDOUT_CALLBACK and not self._display.verbosity
        atexit.register(self._interrupted)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play that takes some hosts at a time starts once for each batch."""
        if self.play is None or self.play.get_name() != play.get_name():
            self.begun = set()
        self.play = play
        self._begin(play.get_name().strip(), "")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool = False) -> None:
        self._begin(self.now[0], part_of(task))

    v2_playbook_on_handler_task_start = v2_playbook_on_task_start

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.begun.add(host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.task.action in C._ACTION_DEBUG:
            told = dict(result.result)
            self.warnings |= dict.fromkeys(messages(told, WARNING))
            self.helps |= dict.fromkeys(messages(told, AT_FAILURE))
            self.steps |= dict.fromkeys(next_steps(told))
        self._count(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._keep(result)
        self._count(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._keep(result)

    def _count(self, result: Any) -> None:
        """Some items of a loop that fails may have changed something."""
        if result.is_changed():
            parts = self.changed.setdefault(result.host.get_name(), {})
            part = part_of(result.task) or self.now[0]
            parts[part] = parts.get(part, 0) + 1

    def _begin(self, play: str, part: str) -> None:
        """Count the time since the last task for the step that it belongs to."""
        now = time.monotonic()
        parts = self.times.setdefault(self.now[0], {})
        parts[self.now[1]] = parts.get(self.now[1], 0.0) + now - self.since
        self.now, self.since = (play, part), now

    def _keep(self, result: Any) -> None:
        told = dict(result.result)
        name = own_name(result.task.get_name())
        full = full_reason(told) if self.in_full else reason(told)
        # What has several lines stands below the host.
        text = f" {full}" if "\n" not in full else f"\n{textwrap.indent(full, '    ')}"
        self.errors[result.host.get_name()] = f"{name}:{text}"

    def _waiting(self) -> set[str]:
        """Hosts of the last play that no task of it was run for."""
        if self.play is None:
            return set()
        inventory = self.play.get_variable_manager()._inventory
        return {host.get_name() for host in inventory.get_hosts(self.play.hosts, ignore_restrictions=True)} - self.begun

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """What was rescued counts neither as a failure nor as out of reach."""
        atexit.unregister(self._interrupted)
        self._begin("", "")
        bad = {*stats.failures, *stats.dark}
        self._section("WARNINGS", [f"* {text}" for text in self.warnings], color="bright purple")
        if self.changed or self.steps or (bad and self.in_full):
            self._section("CHANGED", self._changes(bad))
        if bad:
            told = paragraphs if self.in_full else lines
            found = told(
                {host: self.errors.get(host, "") for host in stats.failures},
                {host: self.errors.get(host, "") for host in stats.dark},
                dict.fromkeys(self._waiting() - bad, "its batch did not come"),
            )
            self._section("NOT DONE", found, color="red")
            self._say(list(self.helps))
        else:
            self._section("NEXT STEPS", list(self.steps))
        if self.get_option("timings"):
            named = {f"{play}{': ' if part else ''}{part}": seconds for play, part, seconds in self._parts() if play}
            self._section("TIMES", bars(named))

    def _parts(self) -> list[tuple[str, str, float]]:
        return [(play, part, seconds) for play, parts in self.times.items() for part, seconds in parts.items()]

    def _changes(self, bad: set[str]) -> list[str]:
        """Say what is known: a task that fails may have changed something without a word, so no more is said of it."""
        verb = "would change" if context.CLIARGS.get("check") else "changed"
        plays = {play: sum(parts.values()) for play, parts in self.times.items()}
        same = sorted(bad - set(self.changed)) if self.changed else []
        return [
            *(what_changed(self.changed, verb) or ["No task of this run has reported a change."]),
            *([f"No task of this run has reported a change on {', '.join(same)}."] if same else []),
            what_took_long(plays),
        ]

    def _interrupted(self) -> None:
        """The run has ended without a recap."""
        found = [f"{host}  {text}" for host, text in self.errors.items()]
        self._section("INTERRUPTED, with these errors until then", found, color="red")

    def _section(self, title: str, found: list[str], color: str | None = None) -> None:
        if found:
            self._display.banner(title)
            self._say(found, color)

    def _say(self, found: list[str], color: str | None = None) -> None:
        for line in found:
            self._display.display(line, color=color)
