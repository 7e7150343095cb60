# SPDX-License-Identifier: MIT
"""How long the API is away, as those see it who open a connection for each call."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

PAUSE_SECONDS = 0.2
# A webapp that answers late is not away: what comes to no end is asked once more, with more patience. One that is
# replaced refuses the connection or ends it.
PATIENCE_SECONDS = (3, 10)


@dataclass
class Outages:
    """Each stretch of time without an answer, in seconds; one that is shorter than a pause and a call is not seen."""

    seconds: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """Give the longest; 0 when there was none."""
        return max(self.seconds, default=0.0)


def _answers(url: str) -> bool:
    for seconds in PATIENCE_SECONDS:
        try:
            with build_opener(ProxyHandler({})).open(url, timeout=seconds):
                return True
        except HTTPError as answer:
            answer.close()
            return False
        except (OSError, HTTPException) as failure:
            # The wait for the answer ends with the one, and that for a connection with the other.
            if not isinstance(failure, TimeoutError) and not isinstance(getattr(failure, "reason", None), TimeoutError):
                return False
    return False


@contextmanager
def outages(origin: str) -> Iterator[Outages]:
    """Ask the webapp all the time while something happens."""
    found, stop = Outages(), threading.Event()

    def ask() -> None:
        since: float | None = None
        while not stop.wait(PAUSE_SECONDS):
            now = time.monotonic()
            if _answers(f"{origin}/healthcheck"):
                if since is not None:
                    found.seconds.append(time.monotonic() - since)
                since = None
            elif since is None:
                since = now
        if since is not None:
            found.seconds.append(time.monotonic() - since)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
