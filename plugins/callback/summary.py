# SPDX-License-Identifier: MIT
"""Callback plugin summary."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: aggregate
version_added: 0.1.0
short_description: Say at the end what to look at, which hosts failed, and why
description:
  - A worker that is broken or unreachable does not stop the others. Its error may therefore stand far above the end
    of a long run. This prints one line for each such host once more, below the recap.
  - An error that a playbook has dealt with by itself is not one.
  - Warnings of the roles, messages that begin with C(WARNING), are repeated, each once, because they drown in a long
    run.
  - Messages that begin with C(AT FAILURE) are repeated only when something failed. They say how to go on, or back.
  - Hosts of the last play that the run did not come to, because it ended before their batch, are named too.
requirements:
  - V(selfhosted.trigger_dev.summary) in C(callbacks_enabled) of C(ansible.cfg), where a checkout has it, or in the
    environment variable C(ANSIBLE_CALLBACKS_ENABLED)
author:
  - The selfhosted.trigger_dev maintainers
"""

from typing import Any

from ansible.plugins.callback import CallbackBase

LONGEST_LINE = 300
WARNING = "WARNING: "
AT_FAILURE = "AT FAILURE: "
HIDDEN = "the error is not shown, because the task handles secrets"


def reason(result: dict[str, Any]) -> str:
    """Give the last error of a host in one line."""
    items = [item for item in result.get("results", []) if item.get("failed")]
    if items:
        # Of a loop the message says no more than that something in it failed.
        return reason(items[0])
    if "censored" in result and "msg" not in result:
        return HIDDEN
    text = " ".join(str(result.get("msg") or result.get("stderr") or "no message").split())
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} ..."


def messages(result: dict[str, Any], kind: str) -> list[str]:
    """Give the messages of a kind that a role has shown, each as one line without its beginning."""
    texts = [str(each.get("msg")) for each in [result, *result.get("results", [])]]
    return [" ".join(text.removeprefix(kind).split()) for text in texts if text.startswith(kind)]


def lines(failed: dict[str, str], unreachable: dict[str, str], left: dict[str, str]) -> list[str]:
    """Give a line for each host, those that the run did not come to last."""
    kinds = [(failed, "failed"), (unreachable, "unreachable"), (left, "not reached")]
    rows = [(host, kind, text) for hosts, kind in kinds for host, text in sorted(hosts.items())]
    width = max((len(host) for host, _, _ in rows), default=0)
    return [f"{host:<{width}}  {kind:<11}  {text}" for host, kind, text in rows]


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Keeps the last error of each host, all warnings, and what helps after a failure."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "selfhosted.trigger_dev.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, str] = {}
        # A dictionary, so that each stands there once, in the order of the run.
        self.warnings: dict[str, None] = {}
        self.helps: dict[str, None] = {}
        self.play: Any = None
        # Hosts that the play of this name has begun with.
        self.begun: set[str] = set()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play that takes some hosts at a time starts once for each batch."""
        if self.play is None or self.play.get_name() != play.get_name():
            self.begun = set()
        self.play = play

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.begun.add(host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.task.action in ("debug", "ansible.builtin.debug"):
            self.warnings |= dict.fromkeys(messages(dict(result.result), WARNING))
            self.helps |= dict.fromkeys(messages(dict(result.result), AT_FAILURE))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._keep(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._keep(result)

    def _keep(self, result: Any) -> None:
        name = result.task.get_name().rpartition(" : ")[2]
        self.errors[result.host.get_name()] = f"{name}: {reason(dict(result.result))}"

    def _waiting(self) -> set[str]:
        """Hosts of the last play that no task of it was run for."""
        if self.play is None:
            return set()
        inventory = self.play.get_variable_manager()._inventory
        return {host.get_name() for host in inventory.get_hosts(self.play.hosts, ignore_restrictions=True)} - self.begun

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """What was rescued counts neither as a failure nor as out of reach."""
        found = lines(
            {host: self.errors.get(host, "") for host in stats.failures},
            {host: self.errors.get(host, "") for host in stats.dark},
            dict.fromkeys(self._waiting() - set(stats.failures) - set(stats.dark), "its batch did not come"),
        )
        if self.warnings:
            self._display.banner("WARNINGS")
            for text in self.warnings:
                self._display.display(f"* {text}", color="bright purple")
        if stats.failures or stats.dark:
            self._display.banner("NOT DONE")
            for line in found:
                self._display.display(line, color="red")
            for text in self.helps:
                self._display.display(text)
