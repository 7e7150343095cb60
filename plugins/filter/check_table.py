# SPDX-License-Identifier: MIT
"""Filter check_table: what checks have found, as a table to read and a list of what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import UNREACHABLE

COLUMNS = ("host", "what", "ok", "detail")


def _state(row: Mapping[str, Any]) -> str:
    if not row["ok"]:
        return "NO"
    return "warn" if row.get("warning") else "yes"


def _cells(host: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    # A message of several lines would tear the table.
    return host, row["what"], _state(row), " ".join(str(row["detail"]).split())


def check_table(
    found: Mapping[str, Iterable[Mapping[str, Any]]], unreachable: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Give the lines of the table, and the names of the rows that are not ok."""
    cells = [_cells(host, row) for host, rows in found.items() for row in rows]
    cells += [(host, UNREACHABLE, "NO", "see above what it said last") for host in unreachable]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [COLUMNS, *cells]
    ]
    return {"lines": lines, "wrong": [f"{host}: {what}" for host, what, ok, _detail in cells if ok == "NO"]}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"check_table": check_table}
