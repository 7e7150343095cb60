# SPDX-License-Identifier: MIT
"""Filter unknown_names: variables that look like those of a role, but are none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache

from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import some_hosts, upstream_names

# Names that start otherwise than all of ours may belong to anything: only a slip of one or two letters counts.
NEAR = 0.88
# Of Ansible and of its plugins, and what is internal to roles.
NOT_MEANT = ("ansible_", "_")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _ends(name: str) -> tuple[str, str]:
    """Give the first letter and the last word, which a slip in the first words leaves as they are."""
    return name[:1], name.rpartition("_")[2]


def _is_near(name: str, known: str) -> bool:
    """A word more or less is mostly another program's: docker_insecure_registries. One that is joined is a slip."""
    return name.count("_") == known.count("_") or name.replace("_", "") == known.replace("_", "")


def _near_names(every: Iterable[str]) -> Callable[[str], str]:
    """Give the function that names the setting of which a name is a misspelling in the first words, if it is one.

    It compares names of the same ends: all pairs of thousands of names with hundreds of settings would take a minute.
    """
    by_ends: dict[tuple[str, str], list[str]] = {}
    for name in every:
        by_ends.setdefault(_ends(name), []).append(name)

    @cache
    def near(name: str) -> str:
        plain = _plain(name)
        candidates = [each for each in by_ends.get(_ends(plain), []) if _is_near(plain, each)]
        found = [] if plain.startswith(NOT_MEANT) else get_close_matches(plain, candidates, n=1, cutoff=NEAR)
        # With another word in front it is the setting of something else.
        return "" if not found or plain.endswith(f"_{found[0]}") else found[0]

    return near


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
    near = _near_names(every)
    upstream = upstream_names() if any(name.isupper() for given in names.values() for name in given) else {}
    found: dict[str, list[str]] = {}
    for host, given in names.items():
        for name in given:
            # In another spelling too: Trigger_origin, TRIGGER_ORIGIN, trigger-origin.
            if name not in passed and (
                name in now or name in upstream or _plain(name).startswith(prefixes) or near(name)
            ):
                found.setdefault(name, []).append(host)
    result = []
    for name, hosts in sorted(found.items()):
        nearest = get_close_matches(_plain(name), every, n=1, cutoff=0.7)
        if name in now:
            guess = "; it is called {} since version {} of the collection".format(*now[name])
        elif name in upstream:
            guess = f"; it is {upstream[name]} here"
        else:
            guess = f"; the nearest known name is {nearest[0]}" if nearest else ""
        result.append(f"{name} (set for {some_hosts(hosts)}{guess})")
    return result


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"unknown_names": unknown_names}
