# SPDX-License-Identifier: MIT
"""Module replication_gap."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_gap
version_added: 0.1.0
short_description: Send runs to ClickHouse that the replication has missed
description:
  - Runs on the control host. Compares the runs in the webapp's database with those in ClickHouse, by the time of their
    last change.
  - A run that is missing or older in ClickHouse is written once more in the database, with the values that it has.
    The replication of the webapp sends it then.
  - The webapp has to run, and its replication slot has to be read.
  - Runs that are in ClickHouse alone stay there. So do those that ClickHouse has in a version above the position of the
    log. The webapp's own backfill writes such versions, and no later change replaces them.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    description: Shows the number of runs.
options:
  clickhouse_url:
    description:
      - Where ClickHouse is, as M(selfhosted.trigger_dev.clickhouse_server_info) takes it.
    type: str
    required: true
  clickhouse_password:
    description: Password of the user.
    type: str
    default: ""
  clickhouse_container:
    description: Container of a bundled server. Its address takes the place of the host in O(clickhouse_url).
    type: str
    default: ""
  ca_certificates:
    description: Certificates of private CAs in PEM for O(clickhouse_url).
    type: str
    default: ""
  patience:
    description: Seconds to wait for changes that are under way, before a run counts as missed.
    type: int
    default: 15
  timeout:
    description: Seconds to wait until a batch of runs is in ClickHouse.
    type: int
    default: 120
  state:
    description: Only V(absent), nothing is missed.
    type: str
    choices: [absent]
    default: absent
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.database
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.replication_slot
"""

EXAMPLES = r"""
- name: Send what ClickHouse has missed
  selfhosted.trigger_dev.replication_gap:
    database: {container: trigger-webapp-trigger-postgres-1}
    clickhouse_url: http://trigger@trigger-clickhouse:8123
    clickhouse_container: trigger-webapp-trigger-clickhouse-1
    clickhouse_password: "{{ vault_clickhouse_password }}"
"""

RETURN = r"""
replication_gap:
  description: What was missed.
  returned: success
  type: dict
  contains:
    runs:
      description: Number of runs that were sent (in check mode, that would be sent).
      type: int
      returned: success
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._clickhouse import Server, in_container, server
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    ARGUMENT_SPEC,
    Database,
    DatabaseError,
    database,
)

# All runs are read once, in both databases.
QUERY_SECONDS = 1800
# Runs that are written at once: the server keeps their log until the webapp has read it.
BATCH = 500

# Hours since 1970 in which runs were triggered -> their number, and the sum of the times of their last changes.
HOURS = """
SELECT floor(extract(epoch FROM "createdAt") / 3600)::bigint AS hour, count(*) AS runs,
  sum(floor(extract(epoch FROM "updatedAt") * 1000))::text AS changes
FROM "TaskRun" WHERE {replicated} GROUP BY 1
"""
CLICKHOUSE_HOURS = """
SELECT intDiv(toUnixTimestamp64Milli(created_at), 3600000) AS hour, count(),
  sum(toInt128(toUnixTimestamp64Milli(updated_at)))
FROM trigger_dev.task_runs_v2 FINAL GROUP BY hour FORMAT TSV
"""
# Of one hour. The index on the column needs bounds.
RUNS = """
SELECT id, floor(extract(epoch FROM "updatedAt") * 1000)::bigint AS changed FROM "TaskRun"
WHERE "createdAt" >= to_timestamp(:'hour'::bigint * 3600) AT TIME ZONE 'UTC'
  AND "createdAt" < to_timestamp((:'hour'::bigint + 1) * 3600) AT TIME ZONE 'UTC' AND {replicated}
"""
CLICKHOUSE_RUNS = """
SELECT run_id, toUnixTimestamp64Milli(updated_at), _version FROM trigger_dev.task_runs_v2 FINAL
WHERE created_at >= fromUnixTimestamp64Milli(toInt64({hour} * 3600000), 'UTC')
  AND created_at < fromUnixTimestamp64Milli(toInt64(({hour} + 1) * 3600000), 'UTC') FORMAT TSV
"""
# The webapp leaves out runs of its first releases, which lack one of these.
REPLICATED = '"environmentType" IS NOT NULL AND "organizationId" IS NOT NULL'
# The server logs a row that is written, whether or not it differs. ClickHouse takes the position in the log for the
# version of a row.
TOUCH = """
UPDATE "TaskRun" SET "updatedAt" = "updatedAt" WHERE id = ANY (string_to_array(:'ids', ',')) RETURNING id
"""

POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS position"

# Later than every change.
NEVER = 2**63

# Hour -> run -> time of its last change in ms.
Behind = dict[int, dict[str, int]]


@dataclass(frozen=True)
class Stores:
    """Both databases."""

    database: Database
    runner: Run
    clickhouse: Server = field(repr=False)
    # Of the database's log, at the beginning.
    position: int

    def postgres(self, query: str, **variables: str) -> list[dict[str, Any]]:
        return self.database.rows(self.runner, query.format(replicated=REPLICATED), **variables)

    def analytics(self, query: str) -> list[list[str]]:
        return [line.split("\t") for line in self.clickhouse.ask(query).splitlines()]

    def different_hours(self) -> list[int]:
        """Give the hours that may hold missed runs."""
        known = {int(row[0]): (int(row[1]), int(row[2])) for row in self.analytics(CLICKHOUSE_HOURS)}
        found = {row["hour"]: (row["runs"], int(row["changes"])) for row in self.postgres(HOURS)}
        return sorted(hour for hour, sums in found.items() if known.get(hour) != sums)

    def behind(self, hour: int, runs: Mapping[str, int]) -> dict[str, int]:
        """Give those of the runs that are missing or older in ClickHouse, and that a later version replaces there."""
        known = {
            name: NEVER if int(version) > self.position else int(changed)
            for name, changed, version in self.analytics(CLICKHOUSE_RUNS.format(hour=hour))
        }
        return {name: changed for name, changed in runs.items() if known.get(name, -1) < changed}

    def missed(self) -> Behind:
        found = {}
        for hour in self.different_hours():
            runs = {row["id"]: row["changed"] for row in self.postgres(RUNS, hour=str(hour))}
            behind = self.behind(hour, runs)
            if behind:
                found[hour] = behind
        return found

    def still(self, missed: Behind) -> Behind:
        """Give what of that is missed still."""
        left = {hour: self.behind(hour, runs) for hour, runs in missed.items()}
        return {hour: runs for hour, runs in left.items() if runs}

    def touch(self, names: Sequence[str]) -> None:
        self.database.changed(self.runner, TOUCH, ids=",".join(names))


def opened(postgres: Database, runner: Run, clickhouse: Server) -> Stores:
    (row,) = postgres.rows(runner, POSITION)
    return Stores(postgres, runner, clickhouse, row["position"])


def batches(missed: Behind) -> Iterator[Behind]:
    """Give so many at a time, the oldest first."""
    every = [(hour, name) for hour in sorted(missed) for name in sorted(missed[hour])]
    for at in range(0, len(every), BATCH):
        part: Behind = {}
        for hour, name in every[at : at + BATCH]:
            part.setdefault(hour, {})[name] = missed[hour][name]
        yield part


def total(missed: Behind) -> int:
    return sum(map(len, missed.values()))


def wait(stores: Stores, missed: Behind, seconds: int, pause: Callable[[float], None] = time.sleep) -> Behind:
    """Give what is missed still after that time, or nothing as soon as nothing is."""
    for _ in range(seconds):
        if not missed:
            break
        pause(1)
        missed = stores.still(missed)
    return missed


def send(stores: Stores, missed: Behind, seconds: int, pause: Callable[[float], None] = time.sleep) -> None:
    """Write the runs once more, and see that they arrive."""
    for batch in batches(missed):
        stores.touch([name for runs in batch.values() for name in runs])
        left = total(wait(stores, batch, seconds, pause))
        if left:
            raise DatabaseError(
                f"{left} runs were not there {seconds} s after they were written once more, so the webapp does not "
                "replicate them. Its log says why"
            )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "clickhouse_url": {"type": "str", "required": True},
            "clickhouse_password": {"type": "str", "default": "", "no_log": True},
            "clickhouse_container": {"type": "str", "default": ""},
            "ca_certificates": {"type": "str", "default": ""},
            "patience": {"type": "int", "default": 15},
            "timeout": {"type": "int", "default": 120},
            "state": {"type": "str", "choices": ["absent"], "default": "absent"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        found = server(params["clickhouse_url"], params["clickhouse_password"], params["ca_certificates"])
        reached = in_container(found, params["clickhouse_container"], run, QUERY_SECONDS)
        stores = opened(database(params, QUERY_SECONDS), run, reached)
        missed = wait(stores, stores.missed(), params["patience"])
        if missed and not module.check_mode:
            send(stores, missed, params["timeout"])
    except (DatabaseError, ServiceError) as error:
        module.fail_json(msg=f"Cannot send to ClickHouse what it has missed: {error}")
    runs = total(missed)
    module.exit_json(
        changed=runs > 0,
        replication_gap={"runs": runs},
        diff={"before": f"{runs} runs missed\n", "after": "0 runs missed\n"},
    )


if __name__ == "__main__":
    main()
