# SPDX-License-Identifier: MIT
"""Module worker_instance_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_instance_info
version_added: 0.1.0
short_description: Read which workers are connected
description:
  - Runs on the control host. Reads the instances of a worker group from the database of the webapp, and how long ago
    the webapp heard of them.
  - Nothing else tells that a worker is connected. A supervisor whose token was refused stays up and healthy.
  - With O(max_age) it waits until each of the named instances has a heartbeat that is young enough.
  - A supervisor connects when it starts, and sends a heartbeat every 30 seconds from then on. The webapp accepts
    either only with the right token, and notes the time (read in its code, of 4.5.12). A healthy age of a heartbeat
    is therefore 0 to 35 seconds.
options:
  names:
    description:
      - Names of the instances to read. Unset means all of the group.
      - Rows of workers that are gone stay in the database for ever, so an old heartbeat need not be a fault.
    type: list
    elements: str
  max_age:
    description:
      - Seconds that the last heartbeat of each of O(names) may be old.
      - Unset means that nothing is required.
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
  contact_before:
    description:
      - With O(only_new), RV(worker_instances[].last_contact_at) of each of O(names) before its supervisor was started.
        An instance that was not there yet may be left out.
      - That a supervisor has connected since then counts, too, so that nothing waits for its first heartbeat.
        Heartbeats may still be those of the old one. That one connects again only if it restarts by itself meanwhile.
    type: dict
  accept_connected:
    description:
      - Whether an instance that has connected within O(max_age) counts, too, while it has sent no heartbeat yet.
      - A supervisor that ends again and again before its first heartbeat counts then as well.
    type: bool
    default: false
  failing:
    description:
      - Whether the module fails where O(max_age) is not met, or the database does not answer.
      - When false, RV(checks) tells it.
    type: bool
    default: true
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
    last_contact_age_seconds:
      description: Seconds since it connected or sent a heartbeat, whichever was later.
      type: float
      returned: always
    last_contact_at:
      description: Time (UTC) of that, in ISO 8601.
      type: str
      returned: always
      sample: "2026-01-31T12:30:00.123Z"
    connected_last:
      description: Whether it has sent no heartbeat since it connected.
      type: bool
      returned: always
    created_at:
      description: Time (UTC) at which the instance connected for the first time, in ISO 8601.
      type: str
      returned: always
      sample: "2026-01-31T12:00:00Z"
checks:
  description: What was found with O(max_age), one for each of O(names).
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: Which instance was looked at.
      type: str
      returned: always
      sample: heartbeat of worker1
    ok:
      description: Whether it is as it must be.
      type: bool
      returned: always
    warning:
      description: That it has connected, and sent no heartbeat since.
      type: bool
      returned: when it is true
    detail:
      description: How long ago its last heartbeat was.
      type: str
      returned: always
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    GROUP_ARGUMENT_SPEC,
    Database,
    DatabaseError,
    database,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import duration
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_instance import Instance, of_group

PAUSE_SECONDS = 2


@dataclass(frozen=True)
class Parameters:
    database: Database
    group: str
    names: Sequence[str] | None
    max_age: int | None
    timeout: int
    only_new: bool = False
    contact_before: Mapping[str, str] | None = None
    accept_connected: bool = False


def parameters(params: Mapping[str, Any]) -> Parameters:
    names = ("group", "names", "max_age", "timeout", "only_new", "contact_before", "accept_connected")
    return Parameters(database(params), *(params[name] for name in names))


def read(wanted: Parameters, runner: Run) -> list[Instance]:
    instances = of_group(wanted.database, runner, wanted.group)
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
            if (age is None or age > oldest) and not has_connected(found[name], wanted):
                result[name] = without_heartbeat(found[name])
    return result


def without_heartbeat(instance: Instance) -> str:
    """Say what is known of an instance that has no heartbeat that is young enough."""
    if instance.connected_last:
        return f"connected {instance.last_contact_age_seconds:.0f} s ago, no heartbeat since"
    return f"last heartbeat {instance.last_heartbeat_age_seconds or 0:.0f} s ago"


def look(instances: Sequence[Instance], wanted: Parameters, wrong: Mapping[str, str]) -> Iterator[Check]:
    """Give a row for each named instance."""
    found = {instance.name: instance for instance in instances}
    for name in wanted.names or () if wanted.max_age is not None else ():
        what = f"heartbeat of {name}"
        if name in wrong:
            yield Check(what, False, wrong[name])
        elif found[name].connected_last:
            yield Check(what, True, without_heartbeat(found[name]), True)
        else:
            yield Check(what, True, f"{duration(found[name].last_contact_age_seconds)} ago")


def has_connected(instance: Instance, wanted: Parameters) -> bool:
    """Tell whether an instance counts that has connected; times in ISO 8601 sort as texts."""
    if not instance.connected_last:
        return False
    if wanted.accept_connected and instance.last_contact_age_seconds <= (wanted.max_age or 0):
        return True
    before = wanted.contact_before
    return before is not None and instance.last_contact_at > before.get(instance.name, "")


def message(wrong: Mapping[str, str], wanted: Parameters) -> str:
    width = max(map(len, wrong))
    table = "\n".join(f"  {name:<{width}}  {fault}" for name, fault in wrong.items())
    return (
        f"Not connected to the worker group {wanted.group!r} (waited {wanted.timeout} s for a heartbeat "
        f"that is at most {wanted.max_age} s old):\n{table}\n"
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
            "contact_before": {"type": "dict"},
            "accept_connected": {"type": "bool", "default": False},
            "failing": {"type": "bool", "default": True},
        },
        # Without names it would be open which of the rows of former workers are to be alive.
        required_by={"max_age": "names"},
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        instances, wrong = wait(lambda: read(wanted, run), wanted, time.monotonic, time.sleep)
    except DatabaseError as error:
        said = f"Cannot read the worker instances from {error}"
        if module.params["failing"]:
            module.fail_json(msg=said, worker_instances=[], checks=[])
        row = Check(f"heartbeats of {wanted.group}", False, said).row
        module.exit_json(changed=False, worker_instances=[], checks=[row])
    result = [asdict(instance) for instance in instances]
    checks = [check.row for check in look(instances, wanted, wrong)]
    if wrong and module.params["failing"]:
        module.fail_json(msg=message(wrong, wanted), worker_instances=result, checks=checks)
    module.exit_json(changed=False, worker_instances=result, checks=checks)


if __name__ == "__main__":
    main()
