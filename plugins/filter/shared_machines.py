# SPDX-License-Identifier: MIT
"""Filter shared_machines: machines that an inventory has under several names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Through another jump host the same address is another machine.
WAYS = ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")


def _place(host: Mapping[str, Any]) -> tuple[str, ...]:
    """Say where Ansible finds a host."""
    connection = str(host.get("ansible_connection") or "ssh").rpartition(".")[2]
    address = str(host.get("ansible_host") or host["inventory_hostname"]).lower()
    return (address, str(host.get("ansible_port") or 22), connection, *(str(host.get(way, "")) for way in WAYS))


def shared_machines(hosts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Give a text for each machine that more than one of the hosts leads to."""
    found: dict[tuple[str, ...], list[str]] = {}
    for host in hosts:
        found.setdefault(_place(host), []).append(str(host["inventory_hostname"]))
    return [f"{' and '.join(names)} ({place[0]})" for place, names in found.items() if len(names) > 1]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"shared_machines": shared_machines}
