# SPDX-License-Identifier: MIT
"""What a host calls on itself goes through no proxy of its environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"


def calls(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what each uri task calls, in blocks too."""
    for task in tasks:
        if "ansible.builtin.uri" in task:
            yield task["ansible.builtin.uri"]
        for part in ("block", "rescue", "always"):
            yield from calls(task.get(part, []))


def test_calls_of_hosts_to_themselves_use_no_proxy() -> None:
    files = {path: yaml.safe_load(path.read_text()) or [] for path in sorted(ROLES.glob("*/tasks/*.yml"))}
    found = [(path, call) for path, tasks in files.items() for call in calls(tasks)]
    assert len(found) > 3
    for path, call in found:
        # The public address, from the machine of a developer: that one may need its proxy.
        if "trigger_api_origin" not in call["url"]:
            assert call.get("use_proxy") is False, path
