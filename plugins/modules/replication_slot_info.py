# SPDX-License-Identifier: MIT
"""Module replication_slot_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_slot_info
version_added: 0.1.0
short_description: See whether the replication slots of the webapp's database are read
description:
  - Runs on the control host. Looks at replication slots of the database of the webapp.
  - A slot without a consumer keeps the write-ahead log for ever, until the disk is full. Runs are missing in the
    dashboard long before that.
  - Reports what it finds and does not fail because of it, so that one fault does not hide the others.
options:
  names:
    description: Names of the slots that must be there.
    type: list
    elements: str
    required: true
  lag_max_bytes:
    description: Bytes of the write-ahead log that the server may have to keep for a slot.
    type: int
    default: 1073741824
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
  - selfhosted.trigger_dev.database
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Look at the replication slots
  selfhosted.trigger_dev.replication_slot_info:
    database: {container: trigger-webapp-trigger-postgres-1}
    names: [task_runs_to_clickhouse_v1, electric_slot_default]
"""

RETURN = r"""
checks:
  description: One entry for each slot, or one for all if the database does not answer.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was looked at.
      type: str
      returned: always
      sample: replication slot electric_slot_default
    ok:
      description: Whether the slot is there, has a consumer, and is not too far behind.
      type: bool
      returned: always
    detail:
      description: What was found.
      type: str
      returned: always
      sample: active, 56 bytes behind
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
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import size
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._slots import QUERY

CURE = "The playbook replication_repair"


@dataclass(frozen=True)
class Parameters:
    database: Database
    names: Sequence[str]
    lag_max_bytes: int


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(database(params), params["names"], params["lag_max_bytes"])


def check_slot(slot: Mapping[str, Any] | None, lag_max_bytes: int) -> tuple[bool, str]:
    if slot is None:
        return False, f"is not there. {CURE} creates it"
    lag = slot["lag"]
    if slot["wal"] == "lost" or lag is None:
        return False, f"is lost: the server has removed what was not read yet. {CURE} replaces it"
    behind = f"{size(lag)} behind"
    if not slot["active"]:
        return False, f"no service reads it, {behind}. {CURE} restarts its reader"
    return (
        (True, f"active, {behind}") if lag <= lag_max_bytes else (False, f"{behind}, more than {size(lag_max_bytes)}")
    )


def look(wanted: Parameters, runner: Run) -> Iterator[Check]:
    try:
        found = {row["name"]: row for row in wanted.database.rows(runner, QUERY)}
    except DatabaseError as error:
        yield Check("replication slots", False, f"Cannot read them from {error}")
        return
    for name in wanted.names:
        yield Check(f"replication slot {name}", *check_slot(found.get(name), wanted.lag_max_bytes))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "names": {"type": "list", "elements": "str", "required": True},
            "lag_max_bytes": {"type": "int", "default": 2**30},
        },
        supports_check_mode=True,
    )
    checks = look(parameters(module.params), run)
    module.exit_json(changed=False, checks=[check.row for check in checks])


if __name__ == "__main__":
    main()
