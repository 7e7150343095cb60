# SPDX-License-Identifier: MIT
"""Filter series_of_release: what a release has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError


def _number(name: object) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in str(name).split("."))
    except ValueError as error:
        raise AnsibleFilterError(f"series_of_release: {name!r} is no version") from error


def series_of_release(series: Sequence[Mapping[str, Any]], release: str) -> dict[str, Any]:
    """Give the newest series that the release is not older than; for a release that is older than all, the newest.

    `series` are those of release_series. `reached_features` has the rows of `later_features` that the release has, and
    `all_features` the names of all its features.
    Raises AnsibleFilterError without a series, and for what is no version.
    """
    if not series:
        raise AnsibleFilterError("series_of_release: there is no series")
    number = _number(release)
    found = ([row for row in series if _number(row["name"]) <= number] or series)[-1]
    reached = [row for row in found.get("later_features", []) if _number(row["since"]) <= number]
    names = [*found.get("features", []), *(row["name"] for row in reached)]
    return {**found, "reached_features": reached, "all_features": names}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"series_of_release": series_of_release}
