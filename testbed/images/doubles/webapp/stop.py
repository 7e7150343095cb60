# SPDX-License-Identifier: MIT
"""How long the webapp takes to stop (measured): it takes no new connections and goes on with those that it has."""

from __future__ import annotations

from collections.abc import Mapping

from doubles.rules import number

# Lines in which a timer of the background workers ends the process, cluster or not.
ENDS_BY_ITSELF = ("4.2",)


def seconds(environment: Mapping[str, str], line: str) -> float | None:
    """Tell after how many seconds the process ends itself with 0; None: never, it waits to be killed."""
    if environment.get("ENABLE_CLUSTER") == "1":
        # The primary process reads the variable on its own, and takes an empty one for its default.
        return float(environment.get("GRACEFUL_SHUTDOWN_TIMEOUT") or 30_000) / 1000
    if line in ENDS_BY_ITSELF:
        # Zero switches the timer off.
        return number(environment, "GRACEFUL_SHUTDOWN_TIMEOUT", 60_000) / 1000 or None
    return None
