# SPDX-License-Identifier: MIT
"""Filter destination_problems: entries of a firewall's list that are no address, network or name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

# As the firewall of the runner networks reads it: NAME, ADDRESS or NETWORK, each with or without :PORT.
# With a port IPv6 stands in brackets.
FORM = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
# No top-level domain is a number; an address is, and so is a range of addresses.
NAME = re.compile(r"(?!.*\.\.)(?!.*\.[0-9]+$)[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
# What consists of these is no name, but an address or network that may be misspelt.
NUMBERS = re.compile(r"[0-9./]+")


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Read an address or a network. One that begins in its middle was meant otherwise, and /0 is every address."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        return None
    return found if found.prefixlen else None


def _is_wrong(entry: object) -> bool:
    if not isinstance(entry, str):
        return True
    if network(entry):
        return False
    found = FORM.fullmatch(entry)
    if not found or (found["port"] and not 0 < int(found["port"]) < 65536):
        return True
    if found["bracketed"]:
        inner = network(found["bracketed"])
        return inner is None or inner.version != 6
    plain = found["plain"]
    return network(plain) is None and (NUMBERS.fullmatch(plain) is not None or not NAME.fullmatch(plain))


def destination_problems(entries: Iterable[object]) -> list[str]:
    """Give the entries that are in none of the forms."""
    return [str(entry) for entry in entries if _is_wrong(entry)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"destination_problems": destination_problems}
