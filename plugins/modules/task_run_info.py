# SPDX-License-Identifier: MIT
"""Module task_run_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: task_run_info
version_added: 0.1.0
short_description: See which runs of tasks wait, and which are stuck
description:
  - Runs on the control host. Counts runs in the database of the webapp, which neither its metrics nor its API do.
  - Reports what it finds and does not fail because of it, so that one fault does not hide the others.
options:
  waiting_max_seconds:
    description: Seconds that a run may wait for a worker. A longer wait is a warning.
    type: int
    default: 900
  stuck_seconds:
    description:
      - Seconds after which a run that a worker has taken must have started.
        Seconds after which a delayed run must have been queued once its time has come.
    type: int
    default: 300
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
  - selfhosted.trigger_dev.database
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Read which runs wait
  selfhosted.trigger_dev.task_run_info:
    database: {container: trigger-webapp-trigger-postgres-1}
"""

RETURN = r"""
checks:
  description: Rows for runs, for those that wait and for those that are stuck, or one if the database does not answer.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was looked at.
      type: str
      returned: always
      sample: waiting runs
    ok:
      description: Whether it is as it must be.
      type: bool
      returned: always
    detail:
      description: What was found.
      type: str
      returned: always
      sample: 4, the oldest for 12 min
    warning:
      description: Whether it works, and you should look at it.
      type: bool
      returned: when it is so
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    ARGUMENT_SPEC,
    Database,
    DatabaseError,
    database,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import duration
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._runs import (
    ENDED,
    ENDED_QUERY,
    FAILED,
    WAITING_QUERY,
)

# For a table with millions of runs: after this the server itself gives up.
QUERY_SECONDS = 20
# The job of such a run is lost (it is in Redis alone), so it never starts. The column is asked for by its name, so that
# a release without it has none of them, and its other runs are counted all the same.
OVERDUE = """
SELECT count(*) AS number FROM "TaskRun" AS run WHERE status = 'DELAYED'
  AND (to_jsonb(run) ->> 'delayUntil')::timestamp
    < (now() AT TIME ZONE 'UTC') - :'seconds'::float * interval '1 second'
"""
# As the alerts TriggerRunWaits and TriggerRunDoesNotStart.
LIMITS = {"waiting_max_seconds": 900, "stuck_seconds": 300}
# As the alert TriggerRunsCrash: not for errors of the tasks' own code.
CRASHES = ("CRASHED", "SYSTEM_FAILURE")
CRASHES_LEAST, CRASHES_SHARE = 5, 0.2

# Of Postgres, whose time is shorter than that of the program that asks it.
TIMED_OUT = "statement timeout"

# Status -> how many runs have it, and seconds since the last change of the oldest.
Runs = Mapping[str, tuple[int, float]]
# Answers of the database: one a status.
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Parameters:
    database: Database
    waiting_max_seconds: int
    stuck_seconds: int


def parameters(params: Mapping[str, Any]) -> Parameters:
    asked = database(params, QUERY_SECONDS + 5, QUERY_SECONDS)
    return Parameters(asked, params["waiting_max_seconds"], params["stuck_seconds"])


def number(found: Rows, *names: str) -> int:
    return sum(row["number"] for row in found if row["status"] in names)


def summary(found: Rows, over: Rows) -> Check:
    ended, failed, crashed = number(over, *ENDED), number(over, *FAILED), number(over, *CRASHES)
    said = [f"{number(found, 'EXECUTING')} executing", f"{ended} ended within an hour"]
    said += [f"{failed} of these failed"] if failed else []
    many = crashed >= CRASHES_LEAST and crashed > CRASHES_SHARE * ended
    said += [f"{crashed} crashed"] if crashed else []
    return Check("runs", True, ", ".join(said), many)


def waiting(found: Runs, most: float) -> Check:
    count, age = found.get("PENDING", (0, 0.0))
    detail = f"{count}, the oldest for {duration(age)}" if count else "none"
    unbuilt, _ = found.get("PENDING_VERSION", (0, 0.0))
    detail += f"; {unbuilt} for a version that is not deployed" if unbuilt else ""
    return Check("waiting runs", True, detail, bool(count) and age > most)


def stuck(found: Runs, overdue: int, most: float) -> Check:
    count, age = found.get("DEQUEUED", (0, 0.0))
    is_stuck = bool(count) and age > most
    said = [f"a worker has taken {count}, and the oldest has not started for {duration(age)}"] if is_stuck else []
    said += [f"{overdue} delayed ones are overdue, their jobs may be lost"] if overdue else []
    return Check("stuck runs", not is_stuck, "; ".join(said) or "none", bool(overdue) and not is_stuck)


def checks(found: Rows, overdue: int, wanted: Parameters) -> Iterator[Check]:
    # An age may be below 0: transactions begin before they write.
    runs = {row["status"]: (row["number"], max(0.0, row["age"])) for row in found}
    yield waiting(runs, wanted.waiting_max_seconds)
    yield stuck(runs, overdue, wanted.stuck_seconds)


def uncounted(error: DatabaseError) -> Check:
    """Tell why there is no number. Large tables take long, which says nothing about the runs."""
    slow = TIMED_OUT in str(error)
    return Check("runs", slow, f"Cannot count them in {error}", slow)


def look(wanted: Parameters, runner: Run) -> list[Check]:
    try:
        found = wanted.database.rows(runner, WAITING_QUERY)
        (overdue,) = wanted.database.rows(runner, OVERDUE, seconds=str(wanted.stuck_seconds))
    except DatabaseError as error:
        return [uncounted(error)]
    try:
        # Last: of these there are most, and what waits is known without them.
        first = summary(found, wanted.database.rows(runner, ENDED_QUERY))
    except DatabaseError as error:
        first = uncounted(error)
    return [first, *checks(found, overdue["number"], wanted)]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            **{name: {"type": "int", "default": limit} for name, limit in LIMITS.items()},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, checks=[check.row for check in look(parameters(module.params), run)])


if __name__ == "__main__":
    main()
