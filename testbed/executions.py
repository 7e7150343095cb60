# SPDX-License-Identifier: MIT
"""Counts what a run of a playbook has called on each host."""

from __future__ import annotations

import re
from collections import Counter

TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[", re.MULTILINE)
# A module is a program that the host's Python reads from its input, or without pipelining from a file. What has no
# module has another command: the lock of the run, and what makes the folder of that file.
CALLED = re.compile(
    r"""^<(?P<host>[^>]+)>\ EXEC\ .*python[\d.]*(?:\ \S+/AnsiballZ_\w+[.]py)?[\\'"]*\ &&\ sleep\ 0""",
    re.MULTILINE | re.VERBOSE,
)


def executions(log: str) -> dict[str, int]:
    """Count the tasks that call a module on each host, from a log of -vvv: items of a loop and retries are one."""
    return dict(Counter(host for task in TASK.split(log)[1:] for host in set(CALLED.findall(task))))
