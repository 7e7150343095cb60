# SPDX-License-Identifier: MIT
"""Action secret_result: runs a module that returns secrets, hides its result, shows its error.

meta/runtime.yml says which modules have it. With `no_log` a task hides its error too, and its reader must guess. Here
the result of a success is hidden, and of a failure nothing is left but its message, which never holds a secret.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

# What a failure or an unreachable host is told by; arguments and output are not among it.
TOLD = ("failed", "unreachable", "msg", "exception", "changed")


def without_secrets(result: dict[str, Any]) -> dict[str, Any]:
    """Hide a success as a whole, and leave of anything else what tells the user why."""
    if result.get("failed") or result.get("unreachable"):
        return {key: value for key, value in result.items() if key in TOLD}
    return {**result, "_ansible_no_log": True}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module that the task names."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result | without_secrets(self._execute_module(task_vars=task_vars))
