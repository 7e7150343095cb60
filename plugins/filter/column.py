# SPDX-License-Identifier: MIT
"""Filter column: one value out of every row of a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def column(rows: Mapping[str, Mapping[str, Any]], key: str, names: Collection[str] | None = None) -> dict[str, Any]:
    """Give name -> value of the rows that have this key; where names are given, of those rows only.

    Values of other keys and rows are not looked at, so their expressions need not be defined.
    Raises AnsibleFilterError where there is no row of a name, or a row is not a dictionary.
    """
    if unknown := sorted(set(names or ()) - set(rows)):
        raise AnsibleFilterError(f"column: there is no row {', '.join(unknown)}")
    found: dict[str, Any] = {}
    for name in rows:
        if names is not None and name not in names:
            continue
        row = rows[name]
        if not isinstance(row, Mapping):
            raise AnsibleFilterError(f"column: the row {name} is not a dictionary")
        if key in row:
            found[name] = row[key]
    return found


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"column": column}
