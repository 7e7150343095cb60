# SPDX-License-Identifier: MIT
"""Asks Docker Compose whether a project runs as its files say, without touching it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._drift import compose

SECONDS = 300
# What `up` says of a container that it would leave alone, and of one that others wait for. Any other line, also a
# warning, is for the one who starts it.
LEFT_ALONE = re.compile(r"(?:DRY-RUN MODE -)?\s*Container\s+(\S+)\s+(Running|Waiting|Healthy)")
# What is told of a container, by the names of Compose. Compose before 2.21 knows neither times nor networks.
TOLD = ("Name", "Service", "State", "Health", "CreatedAt")

UNSETTLED: Mapping[str, Any] = {"settled": False, "containers": [], "actions": []}


def rows(text: str) -> list[dict[str, Any]]:
    """Read what `ps` prints: one object a line, and before Compose 2.21 one list."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if line.strip():
            value = json.loads(line)
            found += value if isinstance(value, list) else [value]
    return found


def container(row: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: row[name] for name in TOLD if name in row}
    return {**known, "Networks": str(row.get("Networks") or "").split(",")}


def is_well(row: Mapping[str, Any]) -> bool:
    return row.get("State") == "running" and row.get("Health", "") in ("", "healthy")


def look(runner: Run, directory: str) -> dict[str, Any]:
    """Tell whether `up` would change nothing and every container is well. In doubt it is not settled."""
    words = compose(directory)
    would = runner([*words, "up", "--detach", "--quiet-pull", "--remove-orphans", "--dry-run"], timeout=SECONDS)
    said: Sequence[str] = [line.strip() for line in (would.stdout + would.stderr).splitlines() if line.strip()]
    left = [found for found in map(LEFT_ALONE.fullmatch, said) if found]
    if would.code != 0 or len(left) < len(said):
        return dict(UNSETTLED)
    listed = runner([*words, "ps", "--all", "--format", "json"], timeout=SECONDS)
    try:
        containers = [container(row) for row in rows(listed.stdout)] if listed.code == 0 else []
    except (ValueError, TypeError):
        return dict(UNSETTLED)
    # What Compose is silent about may still have to be started.
    running = {found[1] for found in left if found[2] == "Running"}
    if not containers or not all(row.get("Name") in running and is_well(row) for row in containers):
        return dict(UNSETTLED)
    return {"settled": True, "containers": containers, "actions": []}
