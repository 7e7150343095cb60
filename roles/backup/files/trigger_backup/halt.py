# SPDX-License-Identifier: MIT
"""Stops the webapp for something after which it is deployed anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .create import PAUSED, start
from .engine import Engine
from .plan import Plan
from .process import BackupError, Say


@contextmanager
def stopped(plan: Plan, engine: Engine, say: Say) -> Iterator[None]:
    """Keep the webapp stopped. It is started again only if this fails; one that did not run stays as it is."""
    mark = plan.home / PAUSED  # an earlier run that was killed has left it
    if engine.running(plan.webapp_container):
        mark.touch()
    try:
        if mark.exists():
            say("Stopping the webapp")
            engine.stop(plan.webapp_container)
        yield
        if engine.running(plan.webapp_container):
            raise BackupError("Something else has started the webapp meanwhile. Start the same playbook again.")
    except BaseException:
        if mark.exists():
            say("Starting the webapp again, with what it had before")
            start(plan, engine)
            mark.unlink()
        raise
