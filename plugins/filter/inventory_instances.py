# SPDX-License-Identifier: MIT
"""Filter inventory_instances: the supervisors that an inventory asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any


def _instances(worker: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    host = str(worker["inventory_hostname"])
    group = worker.get("supervisor_group", "")
    name = worker.get("supervisor_instance_name", host)
    listed = worker.get("supervisor_instances", [{"name": name}])
    for instance in listed:
        # What is no such row is refused by the role on its host.
        if isinstance(instance, Mapping) and "name" in instance:
            yield {"host": host, "name": str(instance["name"]), "group": str(instance.get("group", group))}


def inventory_instances(workers: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Give host, name and worker group of each supervisor; the group is empty where none is set."""
    return [instance for worker in workers for instance in _instances(worker)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"inventory_instances": inventory_instances}
