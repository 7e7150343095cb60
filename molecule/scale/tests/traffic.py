# SPDX-License-Identifier: MIT
"""Runs that go on all the time, and the ledger of what became of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from verification.deployment import Deployment

from testbed.cluster import Cluster
from testbed.common import TestbedError
from testbed.hello import TASK

# Every run sleeps this long, one after the other; a run is longer than any change of a supervisor takes.
LENGTHS = (20, 25, 35)
PAUSE_SECONDS = 8.0

# The attempts of each run, and their workers.
LEDGER = """
    SELECT r."friendlyId", extract(epoch FROM r."createdAt" AT TIME ZONE 'UTC'), r.status,
      count(*) FILTER (WHERE s."executionStatus" = 'PENDING_EXECUTING'),
      count(*) FILTER (WHERE s."executionStatus" = 'EXECUTING'),
      coalesce(string_agg(DISTINCT w.name, ',') FILTER (WHERE s."executionStatus" = 'EXECUTING'), ''),
      coalesce(string_agg(DISTINCT w.name, ','), '')
    FROM "TaskRun" r JOIN "TaskRunExecutionSnapshot" s ON s."runId" = r.id
    LEFT JOIN "WorkerInstance" w ON w.id = s."workerId"
    WHERE r."createdAt" >= to_timestamp({since}) AT TIME ZONE 'UTC' GROUP BY r.id ORDER BY r."createdAt"
"""


@dataclass(frozen=True)
class Entry:
    """What became of one run."""

    id: str
    # In seconds since 1970.
    created: float
    status: str
    # How often a worker took it, and how often its code began.
    taken: int
    started: int
    # Those that executed it, and those that took it.
    workers: frozenset[str]
    takers: frozenset[str]

    @property
    def delayed(self) -> bool:
        """Tell whether it was taken in vain, which costs it 60 s; known of a run that is over."""
        return self.taken > self.started

    @property
    def once(self) -> bool:
        """Tell whether it was executed exactly once."""
        return self.status == "COMPLETED_SUCCESSFULLY" and self.started == 1


def _names(joined: str) -> frozenset[str]:
    return frozenset(filter(None, joined.split(",")))


def ledger(deployment: Deployment, since: float) -> list[Entry]:
    """Read the runs that were triggered since then."""
    rows = deployment.sql(LEDGER.format(since=since))
    return [
        Entry(identity, float(created), status, int(taken), int(started), _names(workers), _names(takers))
        for identity, created, status, taken, started, workers, takers in (row for row in rows if len(row) == 7)
    ]


def history(deployment: Deployment, runs: Sequence[str]) -> str:
    """Tell step by step what became of some runs."""
    rows = deployment.sql(
        f"""
        SELECT r."friendlyId", s."createdAt", s."executionStatus", w.name, s."runnerId"
        FROM "TaskRun" r JOIN "TaskRunExecutionSnapshot" s ON s."runId" = r.id
        LEFT JOIN "WorkerInstance" w ON w.id = s."workerId"
        WHERE r."friendlyId" IN ({", ".join(f"'{run}'" for run in runs)}) ORDER BY 1, 2
        """
    )
    return "\n".join(" ".join(row) for row in rows)


@dataclass
class Traffic:
    """Triggers runs until it is told to stop."""

    cluster: Cluster
    key: str = field(repr=False)
    began: float = field(default_factory=time.time)
    triggered: list[str] = field(default_factory=list)
    refused: int = 0
    # When a change rolled through the workers: begin and end.
    rolled: tuple[float, float] = (0.0, 0.0)
    # Runs that went on on the host that fell over.
    killed: set[str] = field(default_factory=set)
    _thread: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _hold: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Trigger from now on."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether it still triggers."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Trigger nothing more; the last call is over then."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Trigger nothing for a while, with the last runs begun before."""
        self._hold.set()
        time.sleep(3 * PAUSE_SECONDS)
        try:
            yield
        finally:
            self._hold.clear()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(PAUSE_SECONDS):
            if self._hold.is_set():
                continue
            self.trigger({"sleep": LENGTHS[number % len(LENGTHS)]})
            number += 1

    def trigger(self, payload: dict[str, float]) -> str:
        """Trigger one run and do not wait for it; gives its id, or nothing where the webapp did not take it."""
        try:
            answer = self.cluster.ask(
                "POST", f"/api/v1/tasks/{TASK}/trigger", payload={"payload": payload}, bearer=self.key
            )
        except TestbedError:
            # The webapp is down: whoever triggers has to try again, which is not what is looked at here.
            self.refused += 1
            return ""
        if answer.status != 200:
            self.refused += 1
            return ""
        self.triggered.append(answer.json()["id"])
        return self.triggered[-1]


def ended(entries: Sequence[Entry]) -> bool:
    """Tell whether nothing goes on any more."""
    return all(entry.status not in ("PENDING", "DEQUEUED", "EXECUTING") for entry in entries)
