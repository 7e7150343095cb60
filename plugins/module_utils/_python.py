# SPDX-License-Identifier: MIT
"""Ends a module in one sentence where the host's Python is too old for it.

The first modules that run on a host import this before everything else of ours: the rest would end in a traceback.
So this file must stay readable for Python 3.8, the oldest that ansible-core itself runs on.
"""

from __future__ import annotations

import json
import sys

OLDEST = (3, 9)


def complaint(version: tuple[int, ...], interpreter: str) -> str:
    """Say what is wrong with this Python; empty: nothing."""
    if version[:2] >= OLDEST:
        return ""
    return (
        f"This host's Python is {'.'.join(map(str, version[:3]))} ({interpreter}), and at least "
        f"{'.'.join(map(str, OLDEST))} is needed: install a newer one, and set ansible_python_interpreter to it."
    )


problem = complaint(sys.version_info[:3], sys.executable)
if problem:
    # As AnsibleModule.fail_json does it, which may not be imported before the version is known.
    print(json.dumps({"failed": True, "changed": False, "msg": problem}))
    sys.exit(1)
