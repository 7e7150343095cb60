# SPDX-License-Identifier: MIT
"""Filter out_of_range: the numbers that are too small or too large, told to the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError


def _number(value: object) -> float:
    """Read a number as the argument specs do, which take a text for it as well; anything else is out of every range."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def out_of_range(values: Mapping[str, object], ranges: Mapping[str, Sequence[float]]) -> list[str]:
    """Give one sentence for each value that is not from the first to the last number of its range, both included."""
    unknown = sorted(set(values) ^ set(ranges))
    if unknown:
        raise AnsibleFilterError(f"out_of_range: needs value and range of {', '.join(unknown)}")
    # Written so that what is no number (nan) is found, too.
    return [
        f"{name} is {value}; it must be from {ranges[name][0]} to {ranges[name][-1]}."
        for name, value in values.items()
        if not ranges[name][0] <= _number(value) <= ranges[name][-1]
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"out_of_range": out_of_range}
