# SPDX-License-Identifier: MIT
"""Filter destination_problems: entries of a firewall's list that are no address, network or name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

# As the firewall of the runner networks reads it: NAME, ADDRESS or NETWORK, each with or without :PORT.
# With a port IPv6 stands in brackets.
FORM = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
# What consists of these is no name, but an address or network that may be misspelt.
NUMBERS = re.compile(r"[0-9./]+")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_wrong(entry: object) -> bool:
    if not isinstance(entry, str):
        return True
    if _network(entry):
        return False
    found = FORM.fullmatch(entry)
    if not found or (found["port"] and not 0 < int(found["port"]) < 65536):
        return True
    if found["bracketed"]:
        network = _network(found["bracketed"])
        return network is None or network.version != 6
    plain = found["plain"]
    return _network(plain) is None and (NUMBERS.fullmatch(plain) is not None or not NAME.fullmatch(plain))


def destination_problems(entries: Iterable[object]) -> list[str]:
    """Give the entries that are in none of the forms."""
    return [str(entry) for entry in entries if _is_wrong(entry)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"destination_problems": destination_problems}
