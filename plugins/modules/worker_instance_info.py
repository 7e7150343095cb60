# SPDX-License-Identifier: MIT
"""Module worker_instance_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_instance_info
version_added: 0.1.0
short_description: Read which workers are connected
description:
  - Runs on the control host. Reads the instances of a worker group, and the age of their heartbeats, from the database
    of the webapp.
  - Nothing else tells that a worker is connected. A supervisor whose token was refused stays up and healthy.
  - With O(max_age) it waits until each of the named instances has a heartbeat that is young enough.
  - A supervisor sends its first heartbeat 30 seconds after its start, and then one every 30 seconds. A healthy age is
    therefore 0 to 35 seconds.
options:
  names:
    description:
      - Names of the instances to read. Unset means all of the group.
      - Rows of workers that are gone stay in the database for ever, so an old heartbeat need not be a fault.
    type: list
    elements: str
  max_age:
    description: Seconds that the last heartbeat of each of O(names) may be old. Unset means that nothing is required.
    type: int
  timeout:
    description: Seconds to wait for O(max_age) to be met.
    type: int
    default: 0
  only_new:
    description:
      - Whether a heartbeat counts only if it comes after the module has started.
        For supervisors that were just recreated.
    type: bool
    default: false
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
  - selfhosted.trigger_dev.database
  - selfhosted.trigger_dev.database.group
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Wait until this worker is connected
  selfhosted.trigger_dev.worker_instance_info:
    database: {container: trigger-webapp-trigger-postgres-1}
    names: ["{{ inventory_hostname }}"]
    max_age: 35
    timeout: 90
  delegate_to: "{{ groups['trigger_control'] | first }}"
"""

RETURN = r"""
worker_instances:
  description: The instances, by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the instance.
      type: str
      returned: always
    group:
      description: Name of the worker group.
      type: str
      returned: always
    last_heartbeat_age_seconds:
      description: Age of the last heartbeat in seconds. V(null) if there never was one.
      type: float
      returned: always
    created_at:
      description: Time (UTC) at which the instance connected for the first time, in ISO 8601.
      type: str
      returned: always
      sample: "2026-01-31T12:00:00Z"
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    GROUP_ARGUMENT_SPEC,
    Database,
    DatabaseError,
    database,
)

PAUSE_SECONDS = 2

# The columns are timestamps without time zone, in UTC whatever the server's own zone is.
QUERY = """
SELECT w.name, g.name AS group_name,
  round(extract(epoch FROM (now() AT TIME ZONE 'UTC') - w."lastHeartbeatAt")::numeric, 1)::float AS age,
  to_char(w."createdAt", 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at
FROM "WorkerInstance" w JOIN "WorkerInstanceGroup" g ON g.id = w."workerGroupId"
WHERE g.name = :'group_name'
ORDER BY w.name
"""


@dataclass(frozen=True)
class Parameters:
    database: Database
    group: str
    names: Sequence[str] | None
    max_age: int | None
    timeout: int
    only_new: bool = False


@dataclass(frozen=True)
class Instance:
    name: str
    group: str
    last_heartbeat_age_seconds: float | None
    created_at: str


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(
        database(params), params["group"], params["names"], params["max_age"], params["timeout"], params["only_new"]
    )


def read(wanted: Parameters, runner: Run) -> list[Instance]:
    rows = wanted.database.rows(runner, QUERY, group_name=wanted.group)
    instances = [Instance(row["name"], row["group_name"], row["age"], row["created_at"]) for row in rows]
    return [instance for instance in instances if wanted.names is None or instance.name in wanted.names]


def faults(instances: Sequence[Instance], wanted: Parameters, elapsed: float = 0) -> dict[str, str]:
    """Say of each named instance what is wrong with it, so many seconds after the module has started."""
    if wanted.max_age is None:
        return {}
    oldest = min(wanted.max_age, elapsed) if wanted.only_new else wanted.max_age
    found = {instance.name: instance for instance in instances}
    result = {}
    for name in wanted.names or ():
        if name not in found:
            result[name] = "never connected"
        else:
            age = found[name].last_heartbeat_age_seconds
            if age is None:
                result[name] = "connected, but never sent a heartbeat"
            elif age > oldest:
                result[name] = f"last heartbeat {age:.0f} s ago"
    return result


def message(wrong: Mapping[str, str], wanted: Parameters) -> str:
    width = max(map(len, wrong))
    table = "\n".join(f"  {name:<{width}}  {fault}" for name, fault in wrong.items())
    return (
        f"Not connected to the worker group {wanted.group!r} (a heartbeat of at most {wanted.max_age} s was waited for "
        f"{wanted.timeout} s):\n{table}\n"
        "Look at the log of the supervisor on that host. It loops when the webapp refuses its token or "
        "MANAGED_WORKER_SECRET (401) or when TRIGGER_API_URL cannot be reached."
    )


def wait(
    observe: Callable[[], list[Instance]],
    wanted: Parameters,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> tuple[list[Instance], dict[str, str]]:
    """Read until nothing is wrong or the time is over."""
    begin = clock()
    while True:
        # Taken before the database is asked, so that no heartbeat from before the start can count.
        elapsed = clock() - begin
        instances = observe()
        wrong = faults(instances, wanted, elapsed)
        if not wrong or clock() - begin >= wanted.timeout:
            return instances, wrong
        pause(PAUSE_SECONDS)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **GROUP_ARGUMENT_SPEC,
            "names": {"type": "list", "elements": "str"},
            "max_age": {"type": "int"},
            "timeout": {"type": "int", "default": 0},
            "only_new": {"type": "bool", "default": False},
        },
        # Without names it would be open which of the rows of former workers are to be alive.
        required_by={"max_age": "names"},
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        instances, wrong = wait(lambda: read(wanted, run), wanted, time.monotonic, time.sleep)
    except DatabaseError as error:
        module.fail_json(msg=f"Cannot read the worker instances from {error}", worker_instances=[])
    result = [asdict(instance) for instance in instances]
    if wrong:
        module.fail_json(msg=message(wrong, wanted), worker_instances=result)
    module.exit_json(changed=False, worker_instances=result)


if __name__ == "__main__":
    main()
