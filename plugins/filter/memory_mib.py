# SPDX-License-Identifier: MIT
"""Filter memory_mib: an amount of memory as Docker writes it, in MiB."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible.errors import AnsibleFilterError

AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
BYTES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def memory_mib(amount: str | int) -> int:
    """Convert '6G', '512m', '1.5GiB' or a number of bytes to whole MiB, rounded down."""
    match = AMOUNT.fullmatch(str(amount).strip())
    if isinstance(amount, bool) or match is None:
        raise AnsibleFilterError(f"memory_mib: {amount!r} is not an amount of memory such as '512m' or '6G'")
    number, unit = match.groups()
    return int(float(number) * BYTES[unit.lower()]) // 1024**2


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"memory_mib": memory_mib}
