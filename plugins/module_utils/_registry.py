# SPDX-License-Identifier: MIT
"""What is common to the modules for clients of a registry."""

from __future__ import annotations

import re

MARK = "Ansible managed (selfhosted.trigger_dev)"
NAME = re.compile(r"(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:(?P<port>[0-9]{1,5}))?")


class RegistryError(Exception):
    """Something that the user must set right."""


def host_of(registry: str) -> str:
    """Give the host of host[:port]."""
    found = NAME.fullmatch(registry)
    if not found:
        raise RegistryError(f"registry must be host or host:port without a scheme, is {registry!r}")
    return found["host"]
