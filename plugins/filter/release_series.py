# SPDX-License-Identifier: MIT
"""Filter release_series: every release series with what it has from older ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def _number(row: Mapping[str, Any]) -> tuple[int, ...]:
    name = row.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[0-9]+([.][0-9]+)*", name):
        raise AnsibleFilterError(f"release_series: a series needs a name such as '4.2', not {name!r}")
    return tuple(int(part) for part in name.split("."))


def release_series(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the series, oldest first; each has what the one before it has, with its own differences.

    A list is added to what is there, any other value replaces it. `lineage` names the older series, and itself last.
    Raises AnsibleFilterError for a name that is no version, for two series of one name, and where a series has a key
    that the oldest one lacks.
    """
    found: list[dict[str, Any]] = []
    for row in sorted(rows, key=_number):
        base: Mapping[str, Any] = found[-1] if found else {"lineage": []}
        if row["name"] in base["lineage"]:
            raise AnsibleFilterError(f"release_series: there are two series {row['name']}")
        if found and (unknown := sorted(set(row) - set(base))):
            raise AnsibleFilterError(f"release_series: {row['name']} has keys that the oldest series lacks: {unknown}")
        merged = {key: [*base.get(key, []), *value] if isinstance(value, list) else value for key, value in row.items()}
        found.append({**base, **merged, "lineage": [*base["lineage"], row["name"]]})
    return found


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"release_series": release_series}
