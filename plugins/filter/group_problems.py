# SPDX-License-Identifier: MIT
"""Filter group_problems: groups of an inventory that are called like those of a deployment, but are none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches

# What Ansible puts into every inventory.
BUILT_IN = {"all", "ungrouped"}


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def group_problems(
    groups: Mapping[str, Sequence[str]], known: Iterable[str], required: Iterable[str], foreign: Iterable[str] = ()
) -> list[str]:
    """Say of each group what it may have been meant for: a misspelt one would be passed over without a message."""
    known = list(known)
    prefixes = tuple({f"{name.partition('_')[0]}_" for name in known})
    missing = [name for name in required if not groups.get(name)]
    # What is left of a name without its prefix is near enough where the group itself is missing.
    short = {name.partition("_")[2]: name for name in missing}
    # Groups that may be missing: no other name than what is left, and its hosts would be passed over.
    optional = {name.partition("_")[2]: name for name in known if name not in required and not groups.get(name)}
    placed = {host for name in known for host in groups.get(name, ())}
    found = []
    for group in sorted(set(groups) - {*known, *foreign, *BUILT_IN}):
        plain = _plain(group)
        nearest = get_close_matches(plain, known, n=1, cutoff=0.8)
        # A part of ours, or one above ours, such as trigger_workers_eu: no host of it is passed over.
        absent = nearest and nearest[0] in {*missing, *optional.values()}
        if groups[group] and placed.issuperset(groups[group]) and not missing and not absent:
            continue
        meant = nearest[0] if nearest and (plain.startswith(prefixes) or nearest[0] in missing) else ""
        if not meant and (near := get_close_matches(plain, short, n=1, cutoff=0.75)):
            meant = short[near[0]]
        if not meant and groups[group]:
            meant = optional.get(plain, "")
        if meant:
            found.append(f"{group} (call it {meant})")
        elif plain.startswith(prefixes):
            found.append(f"{group} (known are {', '.join(known)})")
    return found


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"group_problems": group_problems}
