# SPDX-License-Identifier: MIT
"""What `make bench` prints and draws."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

# Numerator and denominator, as measures are called; {count} is the number of workers.
RATIOS = (
    ("nothing to do, 2 workers", "ping of 3 hosts"),
    ("nothing to do, {count} workers", "nothing to do, 2 workers"),
    ("the first deployment, control host and 2 workers", "the control host by hand"),
    ("add worker 3", "a worker by hand"),
    ("add worker {count}", "add worker 3"),
)
WIDTH, HEIGHT, MARGIN = 480, 280, 48


def spread(values: Sequence[float]) -> str:
    """Give the median, with the least and the most where there are more than one."""
    text = f"{statistics.median(values):7.2f}"
    return text if len(values) == 1 else f"{text}  ({min(values):.2f} to {max(values):.2f}, {len(values)} times)"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give a line for each measure."""
    lines = []
    for row in rows:
        used = row["controller_seconds"]
        controller = f", controller {statistics.median(used):.1f} s" if used else ""
        lines.append(f"  {row['name']:<52} {spread(row['seconds'])} s{controller}")
    return lines


def ratios(seconds: Mapping[str, Sequence[float]], count: int) -> list[str]:
    """Give a line for each pair of which both were measured."""
    pairs = [(above.format(count=count), below.format(count=count)) for above, below in RATIOS]
    return [
        f"  {above} / {below}: {statistics.median(seconds[above]) / statistics.median(seconds[below]):.2f}"
        for above, below in pairs
        if above in seconds and below in seconds
    ]


def plot(points: Mapping[int, float]) -> str:
    """Draw seconds against the number of workers, as an SVG."""
    most, top = max(points), max(points.values())
    across, up = (WIDTH - 2 * MARGIN) / most, (HEIGHT - 2 * MARGIN) / top
    places = {
        number: (MARGIN + number * across, HEIGHT - MARGIN - value * up) for number, value in sorted(points.items())
    }
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/><text x="{x:.1f}" y="{y - 10:.1f}">{points[number]:.0f} s</text>'
        f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 18}">{number}</text>'
        for number, (x, y) in places.items()
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places.values())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="12" text-anchor="middle">'
        "<title>A run of site with nothing to do: seconds against workers</title>"
        f'<path d="M{MARGIN} {MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}" fill="none" stroke="gray"/>'
        f'<polyline points="{line}" fill="none" stroke="steelblue" stroke-width="2"/>{dots}'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}">workers</text></svg>\n'
    )
