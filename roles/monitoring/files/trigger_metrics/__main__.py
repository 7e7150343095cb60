# SPDX-License-Identifier: MIT
"""The command line: `trigger-metrics SETTINGS`. It writes all metrics of this host into one file.

A part that fails says so in a metric of its own and on standard error; the others go on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import certificates, clock, containers, database, hosts, projects
from .command import Run, run
from .engine import Ask, Engine
from .exposition import Sample, replace_file, text, warn

FILE = "trigger.prom"
# Of the minute until the timer starts it again, and of that at most so much for one part.
BUDGET_SECONDS, PART_SECONDS = 45.0, 15.0

Parts = Mapping[str, Callable[[], Iterable[Sample]]]


class LateError(Exception):
    """A part that has had its time."""


def late(_number: int, _frame: object) -> None:
    raise LateError("it takes too long")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what is inside after some time, wherever it waits."""
    if seconds <= 0:
        raise LateError("the parts before it have used up the time")
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def parts(told: Mapping[str, Any], run: Run, ask: Ask) -> Parts:
    """Give the parts of this host, by what its settings name and what is on it already."""
    found: dict[str, Callable[[], Iterable[Sample]]] = {
        "containers": lambda: containers.containers(ask),
    }
    if told["postgres"]:
        asked = database.Database(run, told["postgres"])
        found["waiting"] = lambda: database.waiting(asked)
        found["ended"] = lambda: database.ended(asked)
        found["workers"] = lambda: database.workers(asked, told["workers"])
        found["slots"] = lambda: database.slots(asked, told["slots"], told["slot_lag_max_bytes"])
    if told["endpoints"] or told["certificates"]:
        found["certificates"] = lambda: certificates.certificates(told["endpoints"], told["certificates"])
    if told["clock"]:
        found["clock"] = lambda: clock.clock(told["clock"])
    if told["supervisors"]:
        found["task_containers"] = lambda: containers.task_containers(ask)
        found["socket_proxies"] = lambda: hosts.proxies(ask)
        found["paused"] = lambda: hosts.paused(told["environments"])
    if told["firewall"]:
        found["firewall"] = lambda: hosts.firewall(run, told["firewall"])
    if told["cleaning"]:
        found["cleaning"] = lambda: hosts.cleaning(told["cleaning"])
    if told["backup"]:
        found["backup"] = lambda: hosts.backups(told["backup"])
    if told["status"]:
        found["status"] = lambda: hosts.status_page(told["status"])
    # Last: it takes longest.
    if told["drift"]:
        found["drift"] = lambda: projects.projects(told["drift"], run, ask)
    return found


def collect(found: Parts, clock: Callable[[], float] = time.monotonic) -> Iterator[Sample]:
    """Read every part. What a part has told before it failed is true, and stays."""
    began = clock()
    for name, read in found.items():
        part, done = {"part": name}, True
        samples: list[Sample] = []
        start = clock()
        try:
            with limited(min(PART_SECONDS, BUDGET_SECONDS - (start - began))):
                samples.extend(read())
        except Exception as error:
            done = False
            warn(f"{name}: {str(error) or type(error).__name__}")
        yield from samples
        yield Sample("trigger_metrics_part_success", done, part)
        yield Sample("trigger_metrics_part_duration_seconds", clock() - start, part)
    yield Sample("trigger_metrics_duration_seconds", clock() - began)


def main(words: Sequence[str]) -> int:
    told = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    samples = list(collect(parts(told, run, Engine())))
    samples.append(Sample("trigger_info", 1, told["versions"]))
    samples += [Sample("trigger_host_expected", 1, {"expected": host}) for host in told["hosts"]]
    samples.append(Sample("trigger_disk_used_max_ratio", told["disk_used_max_ratio"]))
    samples.append(Sample("trigger_metrics_last_run_timestamp_seconds", time.time()))
    replace_file(Path(told["folder"]) / FILE, text(samples))
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
