# SPDX-License-Identifier: MIT
"""Callback plugin summary."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: aggregate
version_added: 0.1.0
short_description: Say at the end which hosts failed, and why
description:
  - A worker that is broken or out of reach does not stop the others, so its error may stand far above the end of a long
    run. This prints one line for each such host once more, below the recap.
  - An error that a playbook has dealt with by itself is not one.
requirements:
  - V(selfhosted.trigger_dev.summary) in C(callbacks_enabled) of C(ansible.cfg), where a checkout has it, or in the
    environment variable C(ANSIBLE_CALLBACKS_ENABLED)
author:
  - The selfhosted.trigger_dev maintainers
"""

from typing import Any

from ansible.plugins.callback import CallbackBase

LONGEST_LINE = 300
HIDDEN = "the error is not shown, because the task handles secrets"


def reason(result: dict[str, Any]) -> str:
    """Give the last error of a host in one line."""
    if "censored" in result and "msg" not in result:
        return HIDDEN
    text = " ".join(str(result.get("msg") or result.get("stderr") or "no message").split())
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} ..."


def lines(failed: dict[str, str], unreachable: dict[str, str]) -> list[str]:
    """Give a line for each host, those out of reach last."""
    kinds = [(failed, "failed"), (unreachable, "unreachable")]
    rows = [(host, kind, text) for hosts, kind in kinds for host, text in sorted(hosts.items())]
    width = max((len(host) for host, _, _ in rows), default=0)
    return [f"{host:<{width}}  {kind:<11}  {text}" for host, kind, text in rows]


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Keeps the last error of each host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "selfhosted.trigger_dev.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, str] = {}

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._keep(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._keep(result)

    def _keep(self, result: Any) -> None:
        name = result.task.get_name().rpartition(" : ")[2]
        self.errors[result.host.get_name()] = f"{name}: {reason(dict(result.result))}"

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """What was rescued counts neither as a failure nor as out of reach."""
        found = lines(
            {host: self.errors.get(host, "") for host in stats.failures},
            {host: self.errors.get(host, "") for host in stats.dark},
        )
        if found:
            self._display.banner("NOT DONE")
            for line in found:
                self._display.display(line, color="red")
