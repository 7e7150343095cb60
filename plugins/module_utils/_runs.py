# SPDX-License-Identifier: MIT
"""What the webapp's database tells of runs. The program of the role `monitoring` reads them, too."""

from __future__ import annotations

from collections.abc import Sequence

# PENDING waits for a worker; a run that is DEQUEUED for more than a minute has one that cannot start it.
WAITING = ("PENDING", "DEQUEUED", "EXECUTING", "PENDING_VERSION", "DELAYED")
FAILED = ("COMPLETED_WITH_ERRORS", "CRASHED", "SYSTEM_FAILURE", "TIMED_OUT", "EXPIRED")
ENDED = ("COMPLETED_SUCCESSFULLY", "CANCELED", *FAILED)


def listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# Times are in UTC without saying so. A run's last change is that of its status, or a later one.
# Apart from those that have ended, which may be millions: an index begins with the status, and none has the end.
WAITING_QUERY = f"""
SELECT status::text AS status, count(*) AS number,
  extract(epoch FROM (now() AT TIME ZONE 'UTC') - min("updatedAt"))::float AS age
FROM "TaskRun" WHERE status IN ({listed(WAITING)}) GROUP BY 1
"""
ENDED_QUERY = f"""
SELECT status::text AS status, count(*) AS number FROM "TaskRun"
WHERE status IN ({listed(ENDED)}) AND "completedAt" > (now() AT TIME ZONE 'UTC') - interval '1 hour' GROUP BY 1
"""
