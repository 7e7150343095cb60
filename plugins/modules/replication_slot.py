# SPDX-License-Identifier: MIT
"""Module replication_slot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_slot
version_added: 0.1.0
short_description: Replace a lost replication slot of the webapp's database
description:
  - Runs on the control host. A slot is lost when the server has removed what its reader had not read yet.
    Such a slot cannot be read again.
  - Removes a lost slot, and creates it again. A slot that is missing is created.
  - A slot that can be read is left as it is.
  - The reader of a slot gives up when the slot is lost. Restart it if RV(replication_slot.read) is false.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    description: Shows the state.
options:
  name:
    description: Name of the slot.
    type: str
    required: true
  create:
    description:
      - Whether the slot is created. If V(false), a lost slot is only removed, and its reader creates it at its start.
      - Electric must create its slot itself. It then knows that its shapes are out of date.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for the reader of a slot that no service reads. It may be starting.
    type: int
    default: 10
  state:
    description: Only V(present), the slot is there and can be read.
    type: str
    choices: [present]
    default: present
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.database
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.replication_slot_info
  - module: selfhosted.trigger_dev.replication_gap
"""

EXAMPLES = r"""
- name: Replace the slot of the runs if it is lost
  selfhosted.trigger_dev.replication_slot:
    database: {container: trigger-webapp-trigger-postgres-1}
    name: task_runs_to_clickhouse_v1
"""

RETURN = r"""
replication_slot:
  description: The slot.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: success
    found:
      description: What was found, V(read), V(unread), V(lost) or V(missing).
      type: str
      returned: success
    read:
      description: Whether a reader was connected to the slot that was found.
      type: bool
      returned: success
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    ARGUMENT_SPEC,
    Database,
    DatabaseError,
    database,
)

# An invalidated slot is "lost" whatever the reason was. One whose log was never reserved has no place to start from.
QUERY = """
SELECT CASE WHEN wal_status = 'lost' OR restart_lsn IS NULL THEN 'lost' WHEN active THEN 'read' ELSE 'unread' END
  AS state
FROM pg_replication_slots WHERE slot_name = :'name'
"""
# A reader that tries again holds the slot for a moment.
DROP = """
SELECT pg_drop_replication_slot(slot_name)::text AS done
FROM pg_replication_slots WHERE slot_name = :'name' AND NOT active
"""
CREATE = """
SELECT slot_name AS done FROM pg_create_logical_replication_slot(:'name', 'pgoutput')
"""
# It waits for transactions that are open when it begins.
CREATE_SECONDS = 120


@dataclass(frozen=True)
class Parameters:
    database: Database
    name: str
    create: bool
    timeout: int


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(database(params, CREATE_SECONDS), params["name"], params["create"], params["timeout"])


def look(wanted: Parameters, runner: Run) -> str:
    rows = wanted.database.rows(runner, QUERY, name=wanted.name)
    return str(rows[0]["state"]) if rows else "missing"


def settled(wanted: Parameters, runner: Run, pause: Callable[[float], None] = time.sleep) -> str:
    """Give the state, after a while for a reader that may be starting."""
    for _ in range(wanted.timeout):
        found = look(wanted, runner)
        if found != "unread":
            return found
        pause(1)
    return look(wanted, runner)


def must_change(found: str, create: bool) -> bool:
    return found == "lost" or (found == "missing" and create)


def replace(wanted: Parameters, found: str, runner: Run, pause: Callable[[float], None] = time.sleep) -> None:
    """Remove what is lost, and create the slot, if that is ours to do."""
    for _ in range(wanted.timeout if found == "lost" else 0):
        wanted.database.rows(runner, DROP, name=wanted.name)
        if look(wanted, runner) != "lost":
            break
        pause(1)
    left = look(wanted, runner)
    if left == "lost":
        raise DatabaseError(f"the reader of the lost slot {wanted.name} does not let go of it: stop it, and try again")
    if left == "missing" and wanted.create:
        wanted.database.rows(runner, CREATE, name=wanted.name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "name": {"type": "str", "required": True},
            "create": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 10},
            "state": {"type": "str", "choices": ["present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        found = settled(wanted, run)
        changed = must_change(found, wanted.create)
        if changed and not module.check_mode:
            replace(wanted, found, run)
    except DatabaseError as error:
        module.fail_json(msg=f"Cannot have the replication slot {wanted.name}: {error}")
    after = ("unread" if wanted.create else "missing") if changed else found
    module.exit_json(
        changed=changed,
        replication_slot={"name": wanted.name, "found": found, "read": found == "read"},
        diff={"before": f"{found}\n", "after": f"{after}\n"},
    )


if __name__ == "__main__":
    main()
