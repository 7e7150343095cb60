# SPDX-License-Identifier: MIT
"""Module worker_token."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_token
version_added: 0.1.0
short_description: Read, rotate or recover the token of a worker group
description:
  - Runs on the control host. Waits for the token file that the webapp writes. Checks the format of the token and that
    its SHA-256 is the one in the database. Returns the token.
  - The webapp writes the file only once, when it creates the group, and the database holds no more than a hash. So a
    token that is lost cannot be read again; O(state=recovered) gives the group a new one.
  - A new token is first written to a file beside O(path) whose name ends in C(.new). Then its hash is put into the
    database. Then the file takes the place of O(path). If that is interrupted, the next run in any state finishes it.
    If the database does not have its hash, that run removes the other file.
  - The webapp accepts a new token at once. From supervisors that have used it, it accepts the one before for at most
    11 minutes more, until it is restarted. Bring the new one to every worker in that time.
  - The module returns a secret, so the result is hidden as with C(no_log). An error is shown.
attributes:
  check_mode:
    support: full
    description:
      - Predicts truly. The webapp must have been deployed, so leave the task out of a first dry run.
      - O(state=rotated) returns the token that is there, O(state=recovered) one that is not stored.
  diff_mode:
    support: none
    description: A token is a secret.
options:
  path:
    description:
      - Path of the token file on the control host. Links are not followed, because its folder belongs to the webapp's
        user.
    type: path
    default: /opt/trigger/webapp/shared/worker_token
  timeout:
    description:
      - Seconds to wait for the webapp to create the group.
      - Once the group is there, a file that is missing or does not fit is given 10 seconds at most. The webapp writes
        it right after it has created the group.
    type: int
    default: 60
  state:
    description:
      - V(present), the token must be there. Changes nothing, unless there is an interrupted rotation to finish.
      - V(rotated), the group has a new token after every run. One that fits must be there before.
      - V(recovered), the group has a new token if its file is missing or does not fit. The group itself must exist.
    type: str
    choices: [present, rotated, recovered]
    default: present
  owner:
    description:
      - Number of the user to whom a recovered file belongs if there was none. The default is the webapp's user.
      - A file that replaces another one belongs to whom that one belonged.
    type: int
    default: 1000
  file_group:
    description: As O(owner), the number of the group of users. O(group) is the worker group.
    type: int
    default: 1000
  instances:
    description:
      - Whether to read the instances of the group, too. One task for both, because each task on each host costs about a
        second.
    type: bool
    default: false
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.database
  - selfhosted.trigger_dev.database.group
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Read the token of the worker group
  selfhosted.trigger_dev.worker_token:
    database: {container: trigger-webapp-trigger-postgres-1}
  delegate_to: "{{ groups['trigger_control'] | first }}"
  register: group_token

- name: Give the worker group a new token
  selfhosted.trigger_dev.worker_token:
    database: {container: trigger-webapp-trigger-postgres-1}
    state: rotated
  delegate_to: "{{ groups['trigger_control'] | first }}"
"""

RETURN = r"""
worker_token:
  description: The token of the group, the new one if it was changed.
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
worker_instances:
  description:
    - With O(instances) those of the group, as M(selfhosted.trigger_dev.worker_instance_info) returns them.
    - Otherwise empty.
  returned: success
  type: list
  elements: dict
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    GROUP_ARGUMENT_SPEC,
    Database,
    DatabaseError,
    database,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_instance import of_group
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_token import (
    MODE,
    Token,
    new_token,
    parse,
    read_file,
)

# The webapp commits the group just before it writes the file; this is ample for the moment in between.
GRACE_SECONDS = 10
PAUSE_SECONDS = 1

QUERY = """
SELECT t."tokenHash" AS hash
FROM "WorkerInstanceGroup" g JOIN "WorkerGroupToken" t ON t.id = g."tokenId"
WHERE g.name = :'group_name'
"""

RECOVER = (
    "Run the playbook selfhosted.trigger_dev.worker_token_recover, which gives the group a new token, and then "
    "selfhosted.trigger_dev.site, which brings it to every worker."
)

# Whoever writes sets the time, in UTC without zone: there is neither a default nor a trigger.
UPDATE = """
UPDATE "WorkerGroupToken" SET "tokenHash" = :'hash', "updatedAt" = now() AT TIME ZONE 'UTC'
WHERE id = (SELECT "tokenId" FROM "WorkerInstanceGroup" WHERE name = :'group_name')
RETURNING id
"""


@dataclass(frozen=True)
class Parameters:
    path: str
    group: str
    timeout: int
    database: Database
    state: str = "present"
    owner: int = 1000
    file_group: int = 1000

    @property
    def pending(self) -> str:
        """Where a new token waits until the database has its hash."""
        return f"{self.path}.new"


class Step(Enum):
    KEEP = "the file fits"
    FINISH = "the pending file fits and takes its place"
    DISCARD = "the file fits and the pending one, whose hash the database does not have, goes"
    RENEW = "a new token takes the place of what is there"


@dataclass(frozen=True)
class Found:
    """The token that the database knows, and what makes it the one of the file."""

    token: Token
    step: Step = Step.KEEP


@dataclass(frozen=True)
class Problem:
    """Why there is no token, and whether only more time can help; if not, the group is there and lacks just that."""

    message: str
    may_take_long: bool = False


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(
        params["path"],
        params["group"],
        params["timeout"],
        database(params),
        params["state"],
        params["owner"],
        params["file_group"],
    )


def check_token(content: str | None, hash_in_database: str | None, wanted: Parameters) -> Token | Problem:
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
            "the file only once, when it creates the group, and the database holds no more than a hash of it. Restore "
            f"the file. If that is not possible: {RECOVER}"
        )
    if hash_in_database is None:
        return Problem(
            f"The token file {wanted.path} exists but the database holds no worker group {wanted.group!r}. Either the "
            "database is new and the webapp has not bootstrapped (look at its log; it then overwrites the file), or "
            "the name of the group was changed: set it back to the one that the webapp created.",
            may_take_long=True,
        )
    token = parse(content)
    if token is None:
        return Problem(
            f"The content of {wanted.path} does not have the form of a worker token (tr_wgt_ and 40 letters or digits; "
            f"{len(content.strip())} characters were found, which are not shown). Restore the file. If that is not "
            f"possible: {RECOVER}"
        )
    if token.sha256 != hash_in_database:
        return Problem(
            f"The token in {wanted.path} is not the one of the worker group {wanted.group!r}: its SHA-256 differs from "
            "the hash in the database, so the webapp would refuse every supervisor. The file or the database comes "
            f"from another installation or backup; restore the one that fits. If that is not possible: {RECOVER}"
        )
    return token


def check_files(
    content: str | None, pending: str | None, hash_in_database: str | None, wanted: Parameters
) -> Found | Problem:
    """Judge both files: the hash in the database tells how far an interrupted rotation came."""
    if pending is not None:
        fresh = check_token(pending, hash_in_database, wanted)
        if isinstance(fresh, Token):
            return Found(fresh, Step.FINISH)
    token = check_token(content, hash_in_database, wanted)
    if isinstance(token, Problem):
        return token
    return Found(token, Step.KEEP if pending is None else Step.DISCARD)


def decide(outcome: Found | Problem, state: str) -> Step | Problem:
    """Choose what brings about the state."""
    if isinstance(outcome, Problem):
        return Step.RENEW if state == "recovered" and not outcome.may_take_long else outcome
    if state == "rotated" and outcome.step is not Step.FINISH:
        return Step.RENEW
    return outcome.step


def look(wanted: Parameters, runner: Run) -> Found | Problem:
    """Look once."""
    try:
        rows = wanted.database.rows(runner, QUERY, group_name=wanted.group)
    except DatabaseError as error:
        return Problem(
            f"Cannot read the worker group from {error}. The control stack must be up on this host.", may_take_long=True
        )
    hash_in_database = rows[0]["hash"] if rows else None
    return check_files(read_file(wanted.path), read_file(wanted.pending), hash_in_database, wanted)


def wait(
    observe: Callable[[], Found | Problem], timeout: float, clock: Callable[[], float], pause: Callable[[float], None]
) -> Found | Problem:
    """Look until there is a token, or until waiting cannot help any more."""
    started = clock()
    seen: dict[bool, float] = {}
    while True:
        outcome = observe()
        if isinstance(outcome, Found):
            return outcome
        now = clock()
        first = seen.setdefault(outcome.may_take_long, now)
        if now - started >= timeout or (not outcome.may_take_long and now - first >= GRACE_SECONDS):
            return outcome
        pause(PAUSE_SECONDS)


def renew(wanted: Parameters, runner: Run) -> Token:
    """Make a new token in such an order that one of the two files fits the database at any moment."""
    token = new_token()
    try:
        status = os.lstat(wanted.path)
        owner, group = status.st_uid, status.st_gid
    except FileNotFoundError:
        owner, group = wanted.owner, wanted.file_group
    write_atomically(wanted.pending, token.text, MODE, owner, group)
    if not wanted.database.changed(runner, UPDATE, group_name=wanted.group, hash=token.sha256):
        raise DatabaseError("it has just gone from the database")
    os.replace(wanted.pending, wanted.path)
    return token


def apply(step: Step, found: Token | None, wanted: Parameters, runner: Run) -> Token:
    """Take the step; gives the token of the file. There is one already, except before a recovery."""
    if step is Step.FINISH:
        os.replace(wanted.pending, wanted.path)
    elif step is Step.DISCARD:
        os.unlink(wanted.pending)
    return renew(wanted, runner) if found is None or step is Step.RENEW else found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **GROUP_ARGUMENT_SPEC,
            "path": {"type": "path", "default": "/opt/trigger/webapp/shared/worker_token"},
            "timeout": {"type": "int", "default": 60},
            "state": {"type": "str", "choices": ["present", "rotated", "recovered"], "default": "present"},
            "owner": {"type": "int", "default": 1000},
            "file_group": {"type": "int", "default": 1000},
            "instances": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        outcome = wait(lambda: look(wanted, run), wanted.timeout, time.monotonic, time.sleep)
        step = decide(outcome, wanted.state)
        if isinstance(step, Problem):
            module.fail_json(msg=step.message)
        else:
            found = outcome.token if isinstance(outcome, Found) else None
            token = (found or new_token()) if module.check_mode else apply(step, found, wanted, run)
            known = {"token": token.text, "sha256": token.sha256, "group": wanted.group}
            try:
                instances = of_group(wanted.database, run, wanted.group) if module.params["instances"] else []
            except DatabaseError as error:
                module.fail_json(msg=f"Cannot read the workers of the group {wanted.group!r}: {error}")
            module.exit_json(
                changed=step is not Step.KEEP,
                worker_token=known,
                worker_instances=[asdict(instance) for instance in instances],
            )
    except OSError as error:
        module.fail_json(msg=f"{error.filename or wanted.path}: {error.strerror}")
    except DatabaseError as error:
        module.fail_json(msg=f"Cannot give the worker group {wanted.group!r} a new token: {error}")


if __name__ == "__main__":
    main()
