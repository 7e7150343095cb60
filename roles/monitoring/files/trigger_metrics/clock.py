# SPDX-License-Identifier: MIT
"""How much the clock of this host differs from that of the control host, by the time that the webapp's answers carry.

The kernel's own word for it ends at half a second, however wrong the clock is.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from .exposition import Sample

SECONDS = 5
# By which the log of the webapp tells who has asked.
AGENT = "trigger-metrics"


class ClockError(Exception):
    """Its text says why nothing is known of the other clock."""


def least(asked: float, answered: float, date: float) -> float:
    """Give the least that this clock may differ, where positive is ahead: 0 if both may be right.

    The header leaves out parts of a second, and was written at some time between the question and its answer.
    """
    lowest, highest = asked - (date + 1), answered - date
    return max(lowest, 0.0) + min(highest, 0.0)


def connection(url: str) -> http.client.HTTPConnection:
    """Give a connection. No certificate is judged: with a wrong clock, a good one seems to have ended."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(parts.netloc, timeout=SECONDS, context=context)


def skew(url: str, now: Callable[[], float] = time.time) -> float:
    """Ask, and compare. Any answer will do, since whatever has answered has a clock."""
    try:
        with closing(connection(url)) as asking:
            asking.connect()
            asked = now()
            asking.request("GET", urlsplit(url).path, headers={"User-Agent": AGENT, "Cache-Control": "no-cache"})
            answer = asking.getresponse()
            answered = now()
    except (OSError, http.client.HTTPException) as error:
        raise ClockError(f"{url} does not answer: {str(error) or type(error).__name__}") from error
    try:
        return least(asked, answered, parsedate_to_datetime(answer.getheader("Date", "")).timestamp())
    except (TypeError, ValueError):
        raise ClockError(f"{url} answers without the time (header Date)") from None


def clock(told: Mapping[str, Any]) -> Iterator[Sample]:
    yield Sample("trigger_clock_skew_max_seconds", told["skew_max_seconds"])
    yield Sample("trigger_clock_skew_seconds", skew(told["url"]))
