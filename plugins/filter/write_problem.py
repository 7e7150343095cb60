# SPDX-License-Identifier: MIT
"""Filter write_problem: why a playbook will not be able to write a file or a folder on the controller."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._controller_paths import (
    file_to_write,
    folder_to_write,
)

KINDS: dict[str, Callable[[str], str | None]] = {"file": file_to_write, "folder": folder_to_write}


def write_problem(path: str, kind: str = "file") -> str:
    """Give an empty text if it can be written."""
    if kind not in KINDS:
        raise AnsibleFilterError(f"write_problem: kind is {kind!r}, and must be one of {', '.join(KINDS)}")
    return KINDS[kind](path) or ""


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"write_problem": write_problem}
