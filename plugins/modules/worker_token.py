# SPDX-License-Identifier: MIT
"""Module worker_token."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_token
version_added: 0.1.0
short_description: Read the token of a worker group and prove that it is the right one
description:
  - Runs on the control host. Waits for the token file that the webapp writes, checks the form of the token and that its
    SHA-256 is the one in the database, and returns it.
  - The webapp writes the file only once, when it creates the group. A file that is missing, or that does not fit the
    group, is an error that says what to do.
  - The module returns a secret, so B(the task must set no_log).
attributes:
  check_mode:
    support: full
    description: Reads only. The webapp must have been deployed, so leave the task out of a first dry run.
  diff_mode:
    support: N/A
    description: Changes nothing.
  platform:
    support: full
    description: Linux.
    platforms: linux
options:
  path:
    description: Path of the token file on the control host.
    type: path
    default: /opt/trigger/webapp/shared/worker_token
  timeout:
    description:
      - Seconds to wait for the webapp to create the group.
      - Once the group is there, a file that is missing or does not fit is given 10 seconds at most, because the webapp
        writes it right after it has created the group.
    type: int
    default: 60
  state:
    description: Only V(present), the token must be there.
    type: str
    choices: [present]
    default: present
extends_documentation_fragment:
  - selfhosted.trigger_dev.database
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Read the token of the worker group
  selfhosted.trigger_dev.worker_token:
    database_container: trigger-webapp-trigger-postgres-1
  delegate_to: "{{ groups['trigger_control'] | first }}"
  register: __supervisor_token
  no_log: true
"""

RETURN = r"""
worker_token:
  description: The token of the group.
  returned: success
  type: dict
  contains:
    token:
      description: The token itself.
      type: str
      returned: success
    sha256:
      description: SHA-256 of the token in hexadecimal digits, as the database has it.
      type: str
      returned: success
    group:
      description: Name of the worker group.
      type: str
      returned: success
"""

import hashlib
import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    ARGUMENT_SPEC,
    REQUIRED_ONE_OF,
    Database,
    DatabaseError,
    database,
)

FORM = re.compile(r"tr_wgt_[0-9A-Za-z]{40}")
LONGEST_FILE = 4096
# The webapp commits the group just before it writes the file; this is ample for the moment in between.
GRACE_SECONDS = 10
PAUSE_SECONDS = 1

QUERY = """
SELECT t."tokenHash" AS hash
FROM "WorkerInstanceGroup" g JOIN "WorkerGroupToken" t ON t.id = g."tokenId"
WHERE g.name = :'group_name'
"""


@dataclass(frozen=True)
class Parameters:
    path: str
    group: str
    timeout: int
    database: Database


@dataclass(frozen=True)
class Token:
    text: str
    sha256: str


@dataclass(frozen=True)
class Problem:
    """Why there is no token, and whether only more time can help."""

    message: str
    may_take_long: bool = False


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(params["path"], params["group"], params["timeout"], database(params))


def new_token_steps(wanted: Parameters) -> str:
    """Say how to give the group a token of one's own, without the token on any command line."""
    path = shlex.quote(wanted.path)
    group = wanted.group.replace("'", "''")
    return (
        "Give the group a new token on the control host, as root: "
        f"(1) write it to the file: (umask 077; printf 'tr_wgt_%s' \"$(openssl rand -hex 20)\" > {path}) "
        f"&& chown 1000:1000 {path} "
        f"(2) put its SHA-256 (sha256sum < {path}) into the database: {wanted.database.psql}, then "
        f'UPDATE "WorkerGroupToken" SET "tokenHash" = \'<sha256>\', "updatedAt" = now() '
        f'WHERE id = (SELECT "tokenId" FROM "WorkerInstanceGroup" WHERE name = \'{group}\'); '
        "(3) run the playbook again, which brings it to every worker."
    )


def judge(content: str | None, hash_in_database: str | None, wanted: Parameters) -> Token | Problem:
    """Decide from the file and the database what to say; never with a word of the file's content."""
    if content is None and hash_in_database is None:
        return Problem(
            f"There is neither a worker group {wanted.group!r} in the database nor a token file {wanted.path}: the "
            "webapp has not bootstrapped. It does so after its start if TRIGGER_BOOTSTRAP_ENABLED is exactly 1, "
            f"TRIGGER_BOOTSTRAP_WORKER_GROUP_NAME is {wanted.group!r} and its uid 1000 may write to the token folder. "
            'Look for "bootstrap" and "Failed to create worker group" in the log of the webapp.',
            may_take_long=True,
        )
    if content is None:
        return Problem(
            f"The worker group {wanted.group!r} exists but its token file {wanted.path} does not. The webapp writes "
            "the file only once, when it creates the group, and the database holds no more than a hash of it. If the "
            'log of the webapp still shows the block "Trigger.dev Bootstrap - Worker Token", write that token to the '
            f"file (mode 0600, owner 1000:1000) and run the playbook again. If not: {new_token_steps(wanted)}"
        )
    if hash_in_database is None:
        return Problem(
            f"The token file {wanted.path} exists but the database holds no worker group {wanted.group!r}. Either the "
            "database is new and the webapp has not bootstrapped (look at its log; it then overwrites the file), or "
            "the name of the group was changed: set it back to the one that the webapp created.",
            may_take_long=True,
        )
    text = content.strip()
    if not FORM.fullmatch(text):
        return Problem(
            f"The content of {wanted.path} does not have the form of a worker token (tr_wgt_ and 40 letters or digits; "
            f"{len(text)} characters were found, which are not shown). Restore the file. If that is not possible: "
            f"{new_token_steps(wanted)}"
        )
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if sha256 != hash_in_database:
        return Problem(
            f"The token in {wanted.path} is not the one of the worker group {wanted.group!r}: its SHA-256 differs from "
            "the hash in the database, so the webapp would refuse every supervisor. The file or the database comes "
            "from another installation or backup; restore the one that fits. If that is not possible: "
            f"{new_token_steps(wanted)}"
        )
    return Token(text, sha256)


def read_file(path: str) -> str | None:
    """Read the file without following a link: its folder belongs to the webapp's user, not to root."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(0, "not a regular file")
        return stream.read(LONGEST_FILE).decode("utf-8", errors="replace")


def look(wanted: Parameters, runner: Run) -> Token | Problem:
    """Look once."""
    try:
        rows = wanted.database.rows(runner, QUERY, group_name=wanted.group)
    except DatabaseError as error:
        return Problem(
            f"Cannot read the worker group from {error}. The control stack must be up on this host.", may_take_long=True
        )
    return judge(read_file(wanted.path), rows[0]["hash"] if rows else None, wanted)


def wait(
    observe: Callable[[], Token | Problem], timeout: float, clock: Callable[[], float], pause: Callable[[float], None]
) -> Token | Problem:
    """Look until there is a token, or until waiting cannot help any more."""
    started = clock()
    seen: dict[bool, float] = {}
    while True:
        outcome = observe()
        if isinstance(outcome, Token):
            return outcome
        now = clock()
        first = seen.setdefault(outcome.may_take_long, now)
        if now - started >= timeout or (not outcome.may_take_long and now - first >= GRACE_SECONDS):
            return outcome
        pause(PAUSE_SECONDS)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "path": {"type": "path", "default": "/opt/trigger/webapp/shared/worker_token"},
            "timeout": {"type": "int", "default": 60},
            "state": {"type": "str", "choices": ["present"], "default": "present"},
        },
        required_one_of=REQUIRED_ONE_OF,
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        outcome = wait(lambda: look(wanted, run), wanted.timeout, time.monotonic, time.sleep)
    except OSError as error:
        module.fail_json(msg=f"{wanted.path}: {error.strerror}")
    if isinstance(outcome, Token):
        found = {"token": outcome.text, "sha256": outcome.sha256, "group": wanted.group}
        module.exit_json(changed=False, worker_token=found)
    else:
        module.fail_json(msg=outcome.message)


if __name__ == "__main__":
    main()
