# SPDX-License-Identifier: MIT
"""The instances of a worker group, as the database of the webapp has them."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database

# The columns are timestamps without time zone, in UTC whatever the server's own zone is.
# A heartbeat sets two of them, a few milliseconds apart; when an instance connects, updatedAt alone.
QUERY = """
SELECT w.name, g.name AS group_name,
  round(extract(epoch FROM (now() AT TIME ZONE 'UTC') - w."lastHeartbeatAt")::numeric, 1)::float AS heartbeat_age,
  round(extract(epoch FROM (now() AT TIME ZONE 'UTC') - w."updatedAt")::numeric, 1)::float AS contact_age,
  to_char(w."updatedAt", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS contact_at,
  coalesce(w."updatedAt" - w."lastHeartbeatAt" > interval '1 second', true) AS connected_last,
  to_char(w."createdAt", 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at
FROM "WorkerInstance" w JOIN "WorkerInstanceGroup" g ON g.id = w."workerGroupId"
WHERE g.name = :'group_name'
ORDER BY w.name
"""


@dataclass(frozen=True)
class Instance:
    name: str
    group: str
    last_heartbeat_age_seconds: float | None
    last_contact_age_seconds: float
    last_contact_at: str
    connected_last: bool
    created_at: str


def of_group(database: Database, runner: Run, group: str) -> list[Instance]:
    rows = database.rows(runner, QUERY, group_name=group)
    columns = ("name", "group_name", "heartbeat_age", "contact_age", "contact_at", "connected_last", "created_at")
    return [Instance(*(row[column] for column in columns)) for row in rows]
