# SPDX-License-Identifier: MIT
"""Calendar events of systemd.time(7), as OnCalendar= takes them: whether systemd reads one, and when it comes."""

from __future__ import annotations

import re
import zoneinfo
from calendar import day_name, monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise, product
from typing import NamedTuple

# What the words for a schedule stand for.
WORDS = {
    "minutely": "*:*:00",
    "hourly": "*:00:00",
    "daily": "00:00:00",
    "weekly": "Mon 00:00:00",
    "monthly": "*-01 00:00:00",
    "quarterly": "01,04,07,10-01 00:00:00",
    **dict.fromkeys(("semiannually", "semi-annually", "biannually"), "01,07-01 00:00:00"),
    **dict.fromkeys(("annually", "yearly"), "01-01 00:00:00"),
}
# Monday is 0. systemd knows the name and its first three letters.
DAYS = {name.lower()[:length]: number for number, name in enumerate(day_name) for length in (3, len(name))}
FIRST_YEAR, LAST_YEAR = 1970, 2199
# After so many years the calendar repeats itself, with its weekdays. Any first day does.
CALENDAR_YEARS, FIRST = 28, date(2001, 1, 1)
CYCLE_DAYS = (date(FIRST.year + CALENDAR_YEARS, 1, 1) - FIRST).days
DAY_SECONDS = 86400
# Fractions of a second are counted by systemd up to this.
MICRO = 1_000_000


class Dates(NamedTuple):
    """What a date may be. From the end of the month (~) its last day is 1."""

    years: set[int]
    months: set[int]
    from_end: bool
    days: set[int]


EVERY_DATE = Dates({*range(FIRST_YEAR, LAST_YEAR + 1)}, {*range(1, 13)}, False, {*range(1, 32)})


class Event(NamedTuple):
    """What an event may be. Its time is hours, minutes and seconds."""

    weekdays: set[int]
    dates: Dates
    time: list[set[int]]


def is_time_zone(text: str) -> bool:
    """A name of the tz database. Where the controller has none, a name of that form."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", text):
        return False
    # They are files there, and no zones: what the machine has, and that it has none.
    known = zoneinfo.available_timezones() - {"localtime", "Factory"}
    return text in known or not known


def _part(text: str, first: int, last: int) -> set[int]:
    """Read a number, a range a..b or a step a/n. Empty: systemd refuses it."""
    found = re.fullmatch(r"([0-9]+)(?:\.\.([0-9]+))?(?:/([0-9]+))?", text)
    if not found:
        return set()
    start, step = int(found[1]), int(found[3] or 1)
    stop = int(found[2]) if found[2] else last if found[3] else start
    # A step without an end has to come a second time.
    again = found[2] or not found[3] or start + step <= last
    return {*range(start, stop + 1, step)} if step and again and first <= start and stop <= last else set()


def _second(text: str) -> set[int]:
    """Read seconds, which alone may have fractions. Each counts for the whole second that it is in."""
    number = r"([0-9]+)(?:[.]([0-9]{1,6}))?"
    found = re.fullmatch(rf"{number}(?:\.\.{number})?(?:/{number})?", text)
    if not found:
        return set()
    start, stop, step = (
        int(found[place] or 0) * MICRO + int((found[place + 1] or "").ljust(6, "0")) for place in (1, 3, 5)
    )
    last = 60 * MICRO - 1
    if not found[3]:
        stop = last if found[5] else start
    # A step without an end has to come a second time, as in the other parts.
    again = found[3] or not found[5] or start + step <= last
    every = step if found[5] else MICRO
    if not (every and again and start <= last and stop <= last):
        return set()
    return {at // MICRO for at in range(start, stop + 1, max(every, MICRO // 2))}


def _last_day(text: str) -> set[int]:
    """Read days from the end of a month, of which systemd counts 28. A step leads to the end, and comes twice, too."""
    found = re.fullmatch("([0-9]+)/([0-9]+)", text)
    if not found:
        return _part(text, 1, 28)
    start, step = int(found[1]), int(found[2])
    return {*range(start, 0, -step)} if 0 < step < start <= 28 else set()


def _last_days(texts: list[str]) -> list[set[int]]:
    """Read a list of them. systemd 252 sorts it, and counts three days fewer for each further entry."""
    found = {(re.split("[./]", text)[0].lstrip("0"), frozenset(_last_day(text))) for text in texts}
    days = [each for _start, each in sorted(found, key=lambda entry: (len(entry[0]), entry[0]))]
    return [{*each} if max(each, default=0) <= 28 - 3 * index else set() for index, each in enumerate(days)]


def _component(text: str, first: int, last: int, from_end: bool = False) -> set[int]:
    """Read parts with commas between them, or * for all."""
    if text == "*":
        return {*range(first, last + 1)}
    texts = text.split(",")
    parts = _last_days(texts) if from_end else [_part(part, first, last) for part in texts]
    return set().union(*parts) if all(parts) else set()


def _seconds(text: str) -> set[int]:
    parts = [{*range(60)}] if text == "*" else [_second(part) for part in text.split(",")]
    return set().union(*parts) if all(parts) else set()


def _weekdays(text: str) -> set[int]:
    days: set[int] = set()
    for part in text.lower().removesuffix(",").split(","):
        first, dash, last = part.replace("..", "-").partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS or DAYS[first] > DAYS[last]:
            return set()
        days |= {*range(DAYS[first], DAYS[last] + 1)}
    return days


def _dates(text: str) -> Dates | None:
    found = re.fullmatch(r"(?:([^-~]+)-)?([^-~]+)([-~])([^-~]+)", text)
    if not found:
        return None
    years, months = _component(found[1] or "*", FIRST_YEAR, LAST_YEAR), _component(found[2], 1, 12)
    dates = Dates(years, months, found[3] == "~", _component(found[4], 1, 31, found[3] == "~"))
    return dates if dates.years and dates.months and dates.days else None


def _time(text: str) -> list[set[int]] | None:
    parts = text.split(":")
    found = [_component(part, 0, last) for part, last in zip(parts[:2], (23, 59), strict=False)]
    found += [_seconds(part) for part in parts[2:]]
    return [*found, {0}][:3] if len(parts) in (2, 3) and all(found) else None


def _event(text: str) -> Event | None:
    """Read words, or weekdays, date, time and time zone in this order. A date has midnight for its time."""
    words = text.split(" ")
    if len(words) > 1 and is_time_zone(words[-1]):
        words.pop()
    if len(words) == 1:
        words = WORDS.get(words[0].lower(), words[0]).split(" ")
    weekdays = _weekdays(words[0])
    rest = words[1:] if weekdays else words
    dates = _dates(rest[0]) if rest else None
    rest = rest[1:] if dates else rest
    time = _time(" ".join(rest)) if rest else [{0}, {0}, {0}]
    return Event(weekdays or {*range(7)}, dates or EVERY_DATE, time) if time else None


def _days(event: Event, first: date) -> Iterator[date]:
    """Give the days from this one on, until the calendar repeats itself."""
    dates = event.dates
    years = sorted(year for year in dates.years if year >= first.year)[: CALENDAR_YEARS + 1]
    for year, month in product(years, sorted(dates.months)):
        length = monthrange(year, month)[1]
        numbers = sorted(length - day + 1 if dates.from_end else day for day in dates.days)
        days = (date(year, month, number) for number in numbers if 1 <= number <= length)
        yield from (day for day in days if day >= first and day.weekday() in event.weekdays)


def _comes(event: Event) -> bool:
    return next(_days(event, datetime.now(UTC).date()), None) is not None


def is_schedule(text: str) -> bool:
    """Whether it is one that comes: of a date that never does systemd says nothing."""
    event = _event(text)
    return event is not None and _comes(event)


def shortest_gap(text: str) -> int:
    """Give the seconds between the two nearest events of a day, a whole day where it has one; 0 for no schedule."""
    event = _event(text)
    if event is None:
        return 0
    seconds = sorted(3600 * hour + 60 * minute + second for hour, minute, second in product(*event.time))
    return min(after - before for before, after in pairwise([*seconds, seconds[0] + DAY_SECONDS]))


def longest_gap(text: str) -> int:
    """Give the seconds between two events; 0 for what is none, or never comes. One that names years ends with them."""
    event = _event(text)
    if event is None or not _comes(event):
        return 0
    if event.dates.years != EVERY_DATE.years:
        return CYCLE_DAYS * DAY_SECONDS
    numbers = ((day - FIRST).days for day in _days(event, FIRST))
    days = [number for number in numbers if number < CYCLE_DAYS]
    between = max(after - before for before, after in pairwise([*days, days[0] + CYCLE_DAYS]))
    seconds = sorted(3600 * hour + 60 * minute + second for hour, minute, second in product(*event.time))
    within = [after - before for before, after in pairwise(seconds)]
    return max([between * DAY_SECONDS - seconds[-1] + seconds[0], *within])
