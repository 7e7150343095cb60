# SPDX-License-Identifier: MIT
"""Module redis_queue_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_queue_info
version_added: 0.1.0
short_description: See how full the bundled Redis is, and what waits in it
description:
  - Runs on the control host. Asks Redis in its container for its memory, and for the lengths of the queues of runs.
  - Reports what it finds and does not fail because of it, so that one fault does not hide the others.
options:
  container:
    description: Name of the container that runs Redis.
    type: str
    required: true
  groups:
    description: Names of the worker groups whose queues are counted.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Read memory and queues of Redis
  selfhosted.trigger_dev.redis_queue_info:
    container: trigger-webapp-trigger-redis-1
    groups: [bootstrap]
"""

RETURN = r"""
checks:
  description: A row for the queues, and one for the memory.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was looked at.
      type: str
      returned: always
      sample: queues
    ok:
      description: Whether it is as it must be.
      type: bool
      returned: always
    detail:
      description: What was found.
      type: str
      returned: always
      sample: "runs for workers of bootstrap: 0; jobs of the engine: 2"
"""

import re
from collections.abc import Iterator, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run

QUEUES, MEMORY = "queues", "memory of Redis"
# As Redis prints them; its lines end in two ways.
LENGTH = re.compile(r"^queue:(\S+)\s([0-9]+)\s*$", re.MULTILINE)
JOBS = re.compile(r"^jobs\s([0-9]+)\s*$", re.MULTILINE)
NUMBER = re.compile(r"^(used_memory|maxmemory):([0-9]+)", re.MULTILINE)
MIB = 2**20
FULL_SHARE = 0.8


def questions(groups: Sequence[str]) -> str:
    """Ask everything in one go. A queue holds the runs that a group's workers can take at once."""
    lengths = [f"ECHO queue:{group}\nLLEN engine:runqueue:workerQueue:{group}" for group in groups]
    # What the engine has to do now or later.
    jobs = "ECHO jobs\nZCARD engine:worker:{queue:run-engine-worker:}queue"
    return "\n".join(["INFO memory", *lengths, jobs])


def queues(answer: str, groups: Sequence[str]) -> Check:
    lengths, jobs = dict(LENGTH.findall(answer)), JOBS.findall(answer)
    if set(lengths) != set(groups) or len(jobs) != 1:
        return Check(QUEUES, False, "Redis does not tell them")
    waiting = ", ".join(f"{group}: {length}" for group, length in lengths.items())
    return Check(QUEUES, True, f"runs for workers of {waiting}; jobs of the engine: {jobs[0]}")


def memory(answer: str) -> Check:
    """Judge what is left. Redis tells no number without a password that it takes."""
    numbers = {name: int(value) // MIB for name, value in NUMBER.findall(answer)}
    if "used_memory" not in numbers:
        return Check(MEMORY, False, "Redis does not tell it")
    used, most = numbers["used_memory"], numbers.get("maxmemory", 0)
    if most == 0:
        return Check(MEMORY, False, "it has no limit, so the kernel ends Redis instead; run site.yml")
    full = "when they are full, no run can be triggered (webapp_redis_memory_mib)"
    return Check(MEMORY, used < FULL_SHARE * most, f"{used} of {most} MiB; {full}")


def look(container: str, groups: Sequence[str], runner: Run) -> Iterator[Check]:
    done = runner(["docker", "exec", "--interactive", container, "redis-cli"], stdin=questions(groups))
    if done.code != 0:
        yield from (Check(what, False, done.error) for what in (QUEUES, MEMORY))
        return
    yield queues(done.stdout, groups)
    yield memory(done.stdout)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "groups": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    checks = look(module.params["container"], module.params["groups"], run)
    module.exit_json(changed=False, checks=[check.row for check in checks])


if __name__ == "__main__":
    main()
