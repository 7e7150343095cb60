# SPDX-License-Identifier: MIT
"""Filter compose_subset: a Compose project with some of its services."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

Row = Mapping[str, Any]


def _used(services: Mapping[str, Row], kind: str) -> Iterator[str]:
    """Name the networks or volumes that services use; a volume stands in front of the place where it is mounted."""
    for row in services.values():
        for item in row.get(kind, []):
            yield str(item).partition(":")[0]


def compose_subset(definition: Mapping[str, Any], services: Collection[str]) -> dict[str, Any]:
    """Keep the services that are named, and of the rest what these use; a named volume needs no row of its own."""
    unknown = sorted(set(services) - set(definition["services"]))
    if unknown:
        raise AnsibleFilterError(f"compose_subset: there is no service {', '.join(unknown)}")
    kept: dict[str, dict[str, Any]] = {}
    for name, row in definition["services"].items():
        if name in services:
            needed = {other: how for other, how in row.get("depends_on", {}).items() if other in services}
            kept[name] = {**row, "depends_on": needed} if "depends_on" in row else dict(row)
    networks = set(_used(kept, "networks"))
    rest = {name: row for name, row in definition.get("networks", {}).items() if name in networks}
    # A path is a folder or file of the host.
    volumes = {name: definition.get("volumes", {}).get(name, {}) for name in _used(kept, "volumes") if "/" not in name}
    return {**definition, "services": kept, "networks": rest, "volumes": volumes}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"compose_subset": compose_subset}
