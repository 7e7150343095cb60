# SPDX-License-Identifier: MIT
"""Filter memory_shares: how much memory each service may use of what there is for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ansible.errors import AnsibleFilterError

# A kernel of another version leaves a few MiB more or less; containers are not to be replaced because of that.
STEP_MIB = 32


def _between(steps: Mapping[str, Sequence[int]], available_mib: float) -> dict[str, float]:
    """Give each service its place between the two steps that what is available lies between."""
    totals = [sum(column) for column in zip(*steps.values(), strict=True)]
    if available_mib <= totals[0]:
        return {name: row[0] for name, row in steps.items()}
    for index, (lower, upper) in enumerate(pairwise(totals)):
        if available_mib < upper:
            part = (available_mib - lower) / (upper - lower)
            return {name: row[index] + part * (row[index + 1] - row[index]) for name, row in steps.items()}
    return {name: row[-1] for name, row in steps.items()}


def memory_shares(asked: Mapping[str, Any], steps: Mapping[str, Sequence[int]], available_mib: float) -> dict[str, int]:
    """Give each service what is asked for it, and those for which nothing is asked (0) their share of the rest."""
    if missing := sorted(set(asked) - set(steps)):
        raise AnsibleFilterError(f"memory_shares: there are no steps for {', '.join(missing)}")
    if uneven := sorted(name for name, row in steps.items() if len(row) != len(next(iter(steps.values())))):
        raise AnsibleFilterError(f"memory_shares: not as many steps as the others have {', '.join(uneven)}")
    fixed = {name: int(mib) for name, mib in asked.items() if int(mib) > 0}
    open_steps = {name: steps[name] for name in asked if name not in fixed}
    shares = _between(open_steps, float(available_mib) - sum(fixed.values())) if open_steps else {}
    return {name: fixed.get(name) or int(shares[name]) // STEP_MIB * STEP_MIB for name in asked}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"memory_shares": memory_shares}
