# SPDX-License-Identifier: MIT
"""Filter unknown_names: variables that start like those of a role, but are none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

# So many hosts are named, the others are counted.
NAMED_HOSTS = 3


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _hosts(names: list[str]) -> str:
    shown, more = names[:NAMED_HOSTS], len(names) - NAMED_HOSTS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def unknown_names(
    names: Mapping[str, Iterable[str]],
    known: Mapping[str, Iterable[str]],
    foreign: Iterable[str] = (),
    renamed: Mapping[str, Mapping[str, str]] | None = None,
) -> list[str]:
    """Say of each unknown name which hosts have it, and what it is called now, or which known name is the nearest."""
    now = {old: (new, version) for version, rows in (renamed or {}).items() for old, new in rows.items()}
    every = sorted({name for group in known.values() for name in group})
    passed = {*every, *foreign}
    prefixes = tuple(f"{role}_" for role in known)
    # In another spelling too: Trigger_origin, TRIGGER_ORIGIN, trigger-origin.
    found: dict[str, list[str]] = {}
    for host, given in names.items():
        for name in given:
            if (name in now or _plain(name).startswith(prefixes)) and name not in passed:
                found.setdefault(name, []).append(host)
    result = []
    for name, hosts in sorted(found.items()):
        nearest = get_close_matches(_plain(name), every, n=1, cutoff=0.7)
        if name in now:
            guess = "; it is called {} since version {} of the collection".format(*now[name])
        else:
            guess = f"; the nearest known name is {nearest[0]}" if nearest else ""
        result.append(f"{name} (set for {_hosts(hosts)}{guess})")
    return result


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"unknown_names": unknown_names}
