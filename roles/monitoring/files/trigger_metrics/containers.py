# SPDX-License-Identifier: MIT
"""Containers of the collection and of runs, by what the engine and the kernel say of them."""

from __future__ import annotations

import calendar
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .engine import Ask
from .exposition import Sample

LABEL = "dev.trigger.ansible/role"
PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
RUNNER, RUNNER_NETWORK = re.compile(r"/runner-"), re.compile(r"trigger-runner")
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def seconds(moment: str) -> float:
    """Read a time of the engine, which is in UTC and finer than Python knows."""
    return float(calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")))


def labels_of(row: Mapping[str, Any]) -> dict[str, str]:
    labels = row["Labels"]
    return {
        "project": labels.get(PROJECT, ""),
        "service": labels.get(SERVICE, ""),
        "container": row["Names"][0].lstrip("/"),
    }


def oom_kills(pid: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Read how many processes of a container the kernel has ended. None where it does not count them."""
    try:
        for entry in (proc / str(pid) / "cgroup").read_text().splitlines():
            number, controllers, path = entry.split(":", 2)
            if number == "0":
                file = cgroups / path.lstrip("/") / "memory.events"
            elif "memory" in controllers.split(","):
                file = cgroups / "memory" / path.lstrip("/") / "memory.oom_control"
            else:
                continue
            if file.exists():
                counts = dict(line.split(" ", 1) for line in file.read_text().splitlines())
                return int(counts["oom_kill"])
    except (OSError, ValueError, KeyError):
        # It has ended meanwhile, or the kernel is an old one.
        return None
    return None


def used_memory(stats: Mapping[str, Any]) -> float | None:
    """Count as `docker stats` does: without the pages that the kernel can drop at once."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    parts = memory.get("stats") or {}
    cached = parts.get("total_inactive_file", parts.get("inactive_file", 0))
    return float(max(0, memory["usage"] - cached))


def container(row: Mapping[str, Any], ask: Ask) -> Iterator[Sample]:
    """Tell of one container. One that is gone meanwhile has nothing to tell."""
    found = ask(f"/containers/{row['Id']}/json")
    if found is None:
        return
    labels, state = labels_of(row), found["State"]
    yield Sample("trigger_container_running", state["Status"] == "running", labels)
    yield Sample("trigger_container_restarts_total", found["RestartCount"], labels)
    yield Sample("trigger_container_oom_killed", bool(state["OOMKilled"]), labels)
    if state["Running"]:
        yield Sample("trigger_container_start_time_seconds", seconds(state["StartedAt"]), labels)
    if state.get("Health"):
        yield Sample("trigger_container_healthy", state["Health"]["Status"] == "healthy", labels)
    limit = found["HostConfig"].get("Memory") or 0
    if limit:
        yield Sample("trigger_container_memory_limit_bytes", limit, labels)
    if state["Status"] == "running":
        kills = oom_kills(state["Pid"])
        if kills is not None:
            yield Sample("trigger_container_oom_kills_total", kills, labels)
        yield from usage(row["Id"], labels, ask)


def usage(name: str, labels: Mapping[str, str], ask: Ask) -> Iterator[Sample]:
    # Without one-shot the engine would measure for a second.
    stats = ask(f"/containers/{name}/stats", {"stream": "false", "one-shot": "true"}) or {}
    memory = used_memory(stats)
    if memory is not None:
        yield Sample("trigger_container_memory_bytes", memory, labels)
    spent = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    if spent:
        yield Sample("trigger_container_cpu_seconds_total", spent / 1e9, labels)


def containers(ask: Ask) -> Iterator[Sample]:
    """Tell of each container that the roles have made."""
    for row in ask("/containers/json", {"all": "true", "filters": json.dumps({"label": [LABEL]})}):
        yield from container(row, ask)


def task_containers(ask: Ask) -> Iterator[Sample]:
    """Count the containers of runs by the network of their supervisor; a supervisor without runs has none."""
    networks = ask("/networks", {"filters": json.dumps({"name": ["trigger-runner"]})})
    counted = Counter({row["Name"]: 0 for row in networks if RUNNER_NETWORK.match(row["Name"])})
    for row in ask("/containers/json", {"filters": json.dumps({"name": ["^/?runner-"]})}):
        if RUNNER.match(row["Names"][0]):
            counted.update(name for name in row["NetworkSettings"]["Networks"] if name in counted)
    for name, number in counted.items():
        yield Sample("trigger_task_containers", number, {"network": name})
