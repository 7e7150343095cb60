# SPDX-License-Identifier: MIT
"""Filter compose_repairs: what `docker compose up` leaves broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

# Compose wants networks that it has made itself, and ends at the first one that it has not.
FOREIGN_NETWORK = "was found but has incorrect label"


def _is_attached(container: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    """Tell whether a container has all its networks, which have the names that the project gives them."""
    return set(service.get("networks") or []) <= set(container["Networks"])


def _is_stale(container: Mapping[str, Any], service: Mapping[str, Any], modified: Mapping[str, int]) -> bool:
    """Tell whether a mounted file is younger: a single file stays mounted when another one takes its name."""
    mounted = [str(volume).partition(":")[0] for volume in service.get("volumes") or []]
    # "2026-11-29 02:02:06 +0000 UTC"
    date, time, zone = container["CreatedAt"].split(" ")[:3]
    created = datetime.strptime(f"{date} {time} {zone}", "%Y-%m-%d %H:%M:%S %z").timestamp()
    return any(modified.get(path, 0) > created for path in mounted)


def _is_broken(
    container: Mapping[str, Any], service: Mapping[str, Any], did: set[str], modified: Mapping[str, int], failed: bool
) -> bool:
    state = container["State"]
    # Compose before 2.21 lists neither networks nor times.
    is_told = "CreatedAt" in container
    if is_told and state == "running" and not _is_attached(container, service):
        return True
    if did & {"Creating", "Recreate"}:
        return False
    if is_told and _is_stale(container, service, modified):
        return True
    if did:
        # What cannot be started hangs on something that is gone, such as a network. What runs was started just now.
        return failed and state not in {"running", "restarting"}
    return state in {"dead", "restarting"} or container["Health"] == "unhealthy"


def compose_repairs(
    result: Mapping[str, Any], definition: Mapping[str, Any], directory: str, modified: Mapping[str, int]
) -> dict[str, list[str]]:
    """Read it from the result of community.docker.docker_compose_v2, whether that has failed or not."""
    services: Mapping[str, Mapping[str, Any]] = definition["services"]
    networks = definition.get("networks") or {}
    if FOREIGN_NETWORK in result.get("msg", ""):
        own = sorted(name for name, row in networks.items() if not row.get("external"))
        return {"resume": [], "recreate": sorted(services), "networks": own}
    did: dict[str, set[str]] = {}
    for action in result.get("actions", []):
        if action["what"] == "container":
            did.setdefault(action["id"], set()).add(action["status"])
    pulls = any(action["status"] == "Pulling" for action in result.get("actions", []))
    if "msg" in result and pulls and not did:
        # An image is not to be had: what was removed now could not be started again.
        return {"resume": [], "recreate": [], "networks": []}
    files = {f"{directory}/{path}": time for path, time in modified.items()}
    ours = [container for container in result.get("containers", []) if container["Service"] in services]
    paused = [container["Name"] for container in ours if container["State"] == "paused"]
    # Health checks fail while a container is paused, and Compose ends at one that goes on and is unhealthy for it.
    broken = {
        container["Service"]
        for container in ours
        if container["Name"] in paused
        or _is_broken(
            container, services[container["Service"]], did.get(container["Name"], set()), files, failed="msg" in result
        )
    }
    # Compose has not come to what depends on them, which may hang on the same network.
    stopped = {
        container["Service"]
        for container in ours
        if container["State"] in {"created", "exited"} and not did.get(container["Name"])
    }
    return {"resume": sorted(paused), "recreate": sorted(broken | stopped if broken else set()), "networks": []}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"compose_repairs": compose_repairs}
