# SPDX-License-Identifier: MIT
"""Module worker_instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_instance
version_added: 0.1.0
short_description: Forget workers that are gone
description:
  - Runs on the control host. Deletes the rows of workers from the database of the webapp, which itself keeps them for
    ever.
  - A worker that connects again gets a new row, so nothing is lost but the times of the old one. Its supervisor should
    be stopped all the same, because a running one is refused nothing and is not told.
attributes:
  check_mode:
    support: full
    description: Predicts truly.
  diff_mode:
    support: full
    description: Shows the names.
options:
  names:
    description: Names of the instances. Those without a row are passed over.
    type: list
    elements: str
    required: true
  alive_seconds:
    description:
      - Refuses to delete anything if one of O(names) has sent a heartbeat within so many seconds. V(0) means that all
        are deleted.
      - A supervisor sends a heartbeat every 30 seconds unless it is drained.
    type: int
    default: 0
  state:
    description: Only V(absent), no row may be there.
    type: str
    choices: [absent]
    default: absent
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.database
  - selfhosted.trigger_dev.database.group
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.worker_instance_info
"""

EXAMPLES = r"""
- name: Forget a worker that was removed
  selfhosted.trigger_dev.worker_instance:
    database: {container: trigger-webapp-trigger-postgres-1}
    names:
      - worker3
    alive_seconds: 60
    state: absent
  delegate_to: "{{ groups['trigger_control'] | first }}"
"""

RETURN = r"""
worker_instances:
  description: What was deleted (in check mode, what would be).
  returned: success
  type: dict
  contains:
    group:
      description: Name of the worker group.
      type: str
      returned: success
    removed:
      description: Names of the instances that had a row, in alphabetical order.
      type: list
      elements: str
      returned: success
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    GROUP_ARGUMENT_SPEC,
    Database,
    DatabaseError,
    database,
)

ROWS = """
"WorkerInstanceGroup" g WHERE g.id = w."workerGroupId" AND g.name = :'group_name'
AND w.name IN (SELECT json_array_elements_text(:'names'::json))
"""
# The columns are timestamps without time zone, in UTC whatever the server's own zone is.
QUERY = f"""
SELECT w.name, extract(epoch FROM (now() AT TIME ZONE 'UTC') - w."lastHeartbeatAt")::float AS age
FROM "WorkerInstance" w, {ROWS}
"""
DELETE = f"""
DELETE FROM "WorkerInstance" w USING {ROWS} RETURNING w.name
"""


@dataclass(frozen=True)
class Parameters:
    database: Database
    group: str
    names: Sequence[str]
    alive_seconds: int


@dataclass(frozen=True)
class Instance:
    name: str
    # Seconds since the last heartbeat; None: there never was one.
    age: float | None


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(database(params), params["group"], params["names"], params["alive_seconds"])


def alive(instances: Sequence[Instance], seconds: int) -> list[str]:
    """Name those that must not go. A heartbeat may seem to come from the future: the webapp has a clock of its own."""
    return sorted(found.name for found in instances if seconds and found.age is not None and found.age < seconds)


def message(names: Sequence[str], wanted: Parameters) -> str:
    return (
        f"Of the worker group {wanted.group!r}, these sent a heartbeat within the last {wanted.alive_seconds} s: "
        f"{', '.join(names)}. Nothing was deleted. Stop their supervisors and run this again, "
        "or take them out of the names."
    )


def look(wanted: Parameters, runner: Run) -> list[Instance]:
    rows = wanted.database.rows(runner, QUERY, group_name=wanted.group, names=json.dumps(wanted.names))
    return [Instance(**row) for row in rows]


def delete(wanted: Parameters, runner: Run) -> list[str]:
    rows = wanted.database.changed(runner, DELETE, group_name=wanted.group, names=json.dumps(wanted.names))
    return [row["name"] for row in rows]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **GROUP_ARGUMENT_SPEC,
            "names": {"type": "list", "elements": "str", "required": True},
            "alive_seconds": {"type": "int", "default": 0},
            "state": {"type": "str", "choices": ["absent"], "default": "absent"},
        },
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        found = look(wanted, run)
        lively = alive(found, wanted.alive_seconds)
        if lively:
            module.fail_json(msg=message(lively, wanted))
        going = [instance.name for instance in found]
        removed = sorted(delete(wanted, run) if going and not module.check_mode else going)
    except DatabaseError as error:
        module.fail_json(msg=f"Cannot delete worker instances from {error}")
    module.exit_json(
        changed=bool(removed),
        worker_instances={"group": wanted.group, "removed": removed},
        diff={"before": "".join(f"{name}\n" for name in removed), "after": ""},
    )


if __name__ == "__main__":
    main()
