# SPDX-License-Identifier: MIT
"""Callback plugin progress."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
version_added: 0.1.0
short_description: A line for each step with the elapsed time, instead of one for each task
description:
  - Prints a line for each play and its hosts, and below it one for each step. A step is a role or a part of a role.
    Each line begins with the time since the run began. Steps and plays in which all tasks are skipped are left out.
  - What has changed is named, and images that were pulled, with the space that they take on the disk. Messages,
    warnings, deprecations and differences (C(--diff)) are shown as usual.
  - A task that runs for long says for how long, and how long it may. On a terminal this is one line that is rewritten.
    Elsewhere nothing is rewritten, and there are no control characters.
  - A task that fails is named at once with its host. The reason is printed once. The callback
    P(selfhosted.trigger_dev.summary#callback) prints it at the end where it is enabled.
  - An error that a playbook deals with by itself is printed when its play ends, unless a later error quotes it.
  - With C(-v) and more, the output is that of P(ansible.builtin.default#callback).
options:
  interval:
    description: Seconds without any line after which a line says what is in progress. Not used on a terminal.
    type: float
    default: 15
    env: [{name: TRIGGER_PROGRESS_INTERVAL}]
    ini: [{section: callback_trigger_progress, key: interval}]
  live:
    description: Whether one line is rewritten where the output is a terminal.
    type: bool
    default: true
    env: [{name: TRIGGER_PROGRESS_LIVE}]
    ini: [{section: callback_trigger_progress, key: live}]
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - V(selfhosted.trigger_dev.progress) as C(stdout_callback) of C(ansible.cfg), where a checkout has it, or in the
    environment variable C(ANSIBLE_STDOUT_CALLBACK)
author:
  - The selfhosted.trigger_dev maintainers
"""

import textwrap
import time
from typing import Any, NamedTuple

from ansible import constants as C
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import (
    AT_FAILURE,
    SUMMARY,
    WARNING,
    full_reason,
    has_rescue,
    hosts_label,
    messages,
    next_steps,
    one_line,
    own_name,
    part_of,
    pulled_images,
    reason,
    waiting,
    without_limit,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._screen import Screen, on_terminal

LIVE_SECONDS = 1.0


class Running(NamedTuple):
    """What goes on for a host: its task, since when, and the seconds that it may take, 0 if that is unknown."""

    task: Any
    name: str
    since: float
    most: float = 0


class CallbackModule(Default):  # type: ignore[misc]  # Ansible has no types
    """Follows a run by its steps."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "selfhosted.trigger_dev.progress"

    def __init__(self) -> None:
        super().__init__()
        self.screen = Screen(self._display)
        self.running: dict[str, Running] = {}
        # Of tasks that have begun, by their number: Ansible fills in their templates at that moment alone.
        self.names: dict[str, str] = {}
        # The line of the play, until something happens in it.
        self.headline = ""
        self.part = ""
        # Task -> hosts that it has changed, until the next one begins.
        self.changed: dict[str, list[str]] = {}
        # Host -> task and reason of a failure that has a rescue.
        self.held: dict[str, tuple[str, str]] = {}
        self.reasons_at_end = SUMMARY in C.CALLBACKS_ENABLED
        self.watching = False
        if self._display.verbosity:
            for name in vars(CallbackModule):
                if name.startswith("v2_"):
                    setattr(self, name, getattr(super(), name))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play that takes some hosts at a time starts once for each batch."""
        self._begin()
        self._tell_held()
        hosts = play.get_variable_manager()._inventory.get_hosts(play.hosts)
        mark = " [CHECK MODE]" if play.check_mode and self.get_option("check_mode_markers") else ""
        self.headline = f"{play.get_name().strip()} ({hosts_label([host.get_name() for host in hosts])}){mark}"
        self.part = ""
        if not self.watching:
            self.watching = True
            self.screen.live = bool(self.get_option("live")) and on_terminal()
            interval = self.get_option("interval")
            self.screen.watch(self._look, LIVE_SECONDS if self.screen.live else min(LIVE_SECONDS, interval))

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool = False) -> None:
        self._begin(task)

    v2_playbook_on_handler_task_start = v2_playbook_on_task_start

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """What is included has a line of its own, or belongs to one."""

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A play without hosts is left out."""

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._begin()
        self.screen.line("No host is left in this play.", depth=1, color=C.COLOR_ERROR)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        name = self.names.get(task._uuid) or own_name(task.get_name())
        self.running[host.get_name()] = Running(task, name, time.monotonic())

    def v2_runner_retry(self, result: Any) -> None:
        """A task that tries again and again is one that waits."""
        found = self.running.get(result.host.get_name())
        if found:
            # What Ansible calls retries here counts the first attempt, too.
            most = (int(result.result["retries"]) - 1) * float(result.task_fields.get("delay") or 0)
            self.running[result.host.get_name()] = found._replace(most=most)

    def v2_runner_on_ok(self, result: Any) -> None:
        self.running.pop(result.host.get_name(), None)
        if isinstance(result.task, TaskInclude):
            return
        self._announce(result.task)
        self._warn(result)
        if result.task.action in C._ACTION_DEBUG and not result.task.loop:
            self._tell(result)
        if result.is_changed():
            self.changed.setdefault(own_name(result.task_name), []).append(self.host_label(result))
            if images := pulled_images(result.result):
                self.screen.line(f"pulled: {'; '.join(images)} ({self.host_label(result)})", depth=2)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._warn(result)
        if result.task.action in C._ACTION_DEBUG:
            self._announce(result.task)
            self._tell(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self.running.pop(result.host.get_name(), None)
        self._warn(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        self._warn(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """The loop fails in the end, and has the reasons of all its items."""
        self._warn(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._failed(result, "failed", ignored=ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._failed(result, "unreachable", ignored=bool(result.task.ignore_unreachable))

    def v2_runner_on_async_poll(self, result: Any) -> None:
        """The result of an asynchronous task comes as that of any other one, too."""

    v2_runner_on_async_ok = v2_runner_on_async_failed = v2_runner_on_async_poll

    def v2_on_file_diff(self, result: Any) -> None:
        told = result.result
        for each in told["results"] if result.task.loop and "results" in told else [told]:
            text = self._get_diff(each["diff"]) if each.get("diff") and each.get("changed") else ""
            if text:
                self._announce(result.task)
                self.screen.line(f"difference: {own_name(result.task_name)} ({self.host_label(result)})", depth=2)
                self.screen.text(text)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The recap is that of Ansible."""
        self._begin()
        self._tell_held()
        self.screen.end()
        super().v2_playbook_on_stats(stats)

    def _begin(self, task: Any = None) -> None:
        """Print what the task before has changed, and note the name of the next one."""
        changed, self.changed = self.changed, {}
        for name, hosts in changed.items():
            self.screen.line(
                f"changed: {without_limit(name)} ({hosts_label(sorted(hosts))})", depth=2, color=C.COLOR_CHANGED
            )
        if task is not None:
            self.names[task._uuid] = own_name(task.get_name())

    def _announce(self, task: Any) -> None:
        """Print play and step when something happens in them."""
        with self.screen.lock:
            if self.headline:
                self.screen.line(self.headline, color=C.COLOR_HIGHLIGHT)
                self.headline = ""
            part = part_of(task)
            if part != self.part:
                self.part = part
                if part:
                    self.screen.line(part, depth=1)

    def _warn(self, result: Any) -> None:
        """Print warnings and deprecations, if there are some: to look for them costs less than to copy a result."""
        if result.warnings or result.deprecations:
            self.screen.erase()
            self._handle_warnings(result.result)

    def _tell(self, result: Any) -> None:
        """Print a message, unless the summary has it at the end."""
        told = dict(result.result)
        if self.reasons_at_end and (next_steps(told) or messages(told, AT_FAILURE)):
            return
        self._clean_results(told, result.task.action)
        message = told.get("msg")
        if isinstance(message, list) and all(isinstance(line, str) for line in message):
            message = "\n".join(message)
        text = message if isinstance(message, str) else self._dump_results(told).strip("\n")
        color = C.COLOR_WARN if text.startswith(WARNING) else None
        if "\n" not in text:
            self.screen.line(f"{self.host_label(result)}: {text}", depth=2, color=color)
        else:
            self.screen.line(f"{own_name(result.task_name)} ({self.host_label(result)}):", depth=2)
            self.screen.text(textwrap.indent(text, "  "), color=color)

    def _failed(self, result: Any, kind: str, *, ignored: bool) -> None:
        host, name, told = result.host.get_name(), without_limit(own_name(result.task_name)), dict(result.result)
        self.running.pop(host, None)
        self._begin()
        self._announce(result.task)
        self._warn(result)
        full = full_reason(told)
        # The rescue of a block often fails with the error that it was called for.
        if host in self.held and self.held[host][1].removesuffix(" ...") in " ".join(full.split()):
            del self.held[host]
        rescue = kind == "failed" and has_rescue(result.task)
        line = f"{kind}: {name} ({self.host_label(result)})"
        stderr = self.get_option("display_failed_stderr")
        if ignored:
            self.screen.line(f"{line}, which is ignored: {one_line(full)}", depth=2, color=C.COLOR_WARN)
        elif rescue:
            self._tell_held(host)
            self.held[host] = (name, reason(told))
            self.screen.line(f"{line}; the playbook deals with it", depth=2, color=C.COLOR_WARN)
        elif self.reasons_at_end:
            self.screen.line(f"{line}; the reason is at the end", depth=2, color=C.COLOR_ERROR, stderr=stderr)
        else:
            self.screen.line(f"{line}:", depth=2, color=C.COLOR_ERROR, stderr=stderr)
            self.screen.text(textwrap.indent(full, " " * 8), color=C.COLOR_ERROR, stderr=stderr)
        if self.get_option("show_task_path_on_failure"):
            self._print_task_path(result.task)

    def _tell_held(self, *hosts: str) -> None:
        """Print the reasons of failures that a playbook has dealt with: of some hosts, or of all."""
        for host in hosts or list(self.held):
            if host in self.held:
                name, text = self.held.pop(host)
                self.screen.line(f"was dealt with: {name} ({host}): {text}", depth=2, color=C.COLOR_WARN)

    def _look(self) -> None:
        """Say what has been going on for the longest time."""
        now = time.monotonic()
        rows = dict(self.running)
        if not rows:
            return
        first = min(rows.values(), key=lambda row: row.since)
        hosts = hosts_label(sorted(host for host, row in rows.items() if row.name == first.name))
        text = f"{waiting(first.name, now - first.since, first.most)} ({hosts})"
        if self.screen.live:
            self.screen.draw(text)
        elif min(now - first.since, now - self.screen.printed) >= self.get_option("interval"):
            self._announce(first.task)
            self.screen.line(f"waiting: {text}", depth=2)
