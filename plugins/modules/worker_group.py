# SPDX-License-Identifier: MIT
"""Module worker_group."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_group
version_added: 0.1.0
short_description: Have a worker group beside the one that the webapp makes
description:
  - Runs on the control host. Creates a worker group that is missing, in the database of the webapp, and its token in a
    file. The webapp needs no restart.
  - The webapp itself creates the first group of an installation, because that one gets all runs that name no group.
  - What a group needs depends on the release of the webapp. If the tables want more than this module fills, it refuses
    and changes nothing.
  - A group that is there is left as it is. Whether its token file fits it is checked by
    M(selfhosted.trigger_dev.worker_token).
attributes:
  check_mode:
    support: full
    description: Predicts truly, but for the folder of O(path), which an earlier task may have yet to make.
  diff_mode:
    support: full
    description: Shows the name.
options:
  path:
    description:
      - Path of the token file on the control host. Its folder must exist.
      - It is written before the group is made, with mode C(0600), and belongs to the user that the task runs as
        (normally root). A token that is already there, as after an interrupted run, becomes that of the group.
    type: path
    required: true
  description:
    description: What the dashboard says about the group.
    type: str
    default: ""
  state:
    description: Only V(present), the group must be there.
    type: str
    choices: [present]
    default: present
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.database
  - selfhosted.trigger_dev.database.group
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.worker_token
"""

EXAMPLES = r"""
- name: Have a worker group for machines with a GPU
  selfhosted.trigger_dev.worker_group:
    database: {container: trigger-webapp-trigger-postgres-1}
    group: gpu
    path: /opt/trigger/worker_groups/gpu
    description: Machines with a GPU
  delegate_to: "{{ groups['trigger_control'] | first }}"
"""

RETURN = r"""
worker_group:
  description: The group. Its token is not returned.
  returned: success
  type: dict
  contains:
    group:
      description: Its name.
      type: str
      returned: success
    created:
      description: Whether it was made (in check mode, whether it would be).
      type: bool
      returned: success
"""

import secrets
import string
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
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._worker_token import (
    MODE,
    Token,
    new_token,
    parse,
    read_file,
)

# Whoever inserts gives ids and times, the latter in UTC without zone: the webapp's own library does so, too.
INSERT_TOKEN = """
INSERT INTO "WorkerGroupToken" (id, "tokenHash", "updatedAt")
VALUES (:'token_id', :'hash', now() AT TIME ZONE 'UTC') RETURNING id
"""
INSERT_GROUP = """
INSERT INTO "WorkerInstanceGroup" (id, type, name, "masterQueue", "tokenId", description, "updatedAt")
VALUES (:'group_id', 'MANAGED', :'group_name', :'group_name', :'token_id', nullif(:'description', ''),
  now() AT TIME ZONE 'UTC') RETURNING id
"""
FILLED = {
    "WorkerGroupToken": ["id", "tokenHash", "updatedAt"],
    "WorkerInstanceGroup": ["id", "type", "name", "masterQueue", "tokenId", "description", "updatedAt"],
}

QUERY = """
SELECT
  EXISTS (SELECT FROM "WorkerInstanceGroup" WHERE name = :'group_name') AS there,
  EXISTS (SELECT FROM "WorkerInstanceGroup" WHERE type = 'MANAGED') AS bootstrapped,
  (SELECT name FROM "WorkerInstanceGroup" WHERE "masterQueue" = :'group_name') AS user_of_queue,
  EXISTS (SELECT FROM "WorkerGroupToken" WHERE "tokenHash" = :'hash') AS token_in_use,
  (SELECT json_agg(json_build_array(table_name, column_name) ORDER BY table_name, ordinal_position)
    FROM information_schema.columns
    WHERE table_schema = ANY (current_schemas(false)) AND table_name IN ('WorkerGroupToken', 'WorkerInstanceGroup')
    AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AND is_generated = 'NEVER') AS required
"""


class RefusalError(Exception):
    """The group cannot be made; the text says why and what to do."""


@dataclass(frozen=True)
class Parameters:
    database: Database
    group: str
    path: str
    description: str


@dataclass(frozen=True)
class Seen:
    """What the database says."""

    there: bool
    bootstrapped: bool
    user_of_queue: str | None
    token_in_use: bool
    # Table and column of what has to be given.
    required: Sequence[Sequence[str]]


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(database(params), params["group"], params["path"], params["description"])


def identifier() -> str:
    """Make an id that looks like the webapp's own."""
    return "c" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(24))


def is_missing(seen: Seen, content: str | None, wanted: Parameters) -> bool:
    """Decide whether to make the group, or say why that must not be done."""
    if seen.there:
        return False
    if not seen.bootstrapped:
        raise RefusalError(
            f"The database holds no worker group yet, so {wanted.group!r} would become the one that all runs go to. "
            "Let the webapp make the first one: deploy it and look in its log for lines with [bootstrap]."
        )
    if seen.user_of_queue is not None:
        raise RefusalError(
            f"The queue {wanted.group!r} belongs to the worker group {seen.user_of_queue!r}, and two groups cannot "
            "share one. Give the new group another name."
        )
    unknown = [f"{table}.{column}" for table, column in seen.required if column not in FILLED[table]]
    if unknown:
        raise RefusalError(
            f"This release of the webapp wants more of a worker group than is known here: {', '.join(unknown)}. "
            "Create the group by its API as an administrator, POST /admin/api/v1/workers with the name "
            f"{wanted.group!r}, write the token of the answer to {wanted.path} (mode 0600), and run this again."
        )
    if content is not None and parse(content) is None:
        raise RefusalError(
            f"{wanted.path} is there but does not hold a worker token (its content is not shown). The group "
            f"{wanted.group!r} does not exist yet, so the file cannot be of use to it. Remove it, or give another path."
        )
    if seen.token_in_use:
        raise RefusalError(
            f"The token in {wanted.path} is already that of another worker group, and two groups cannot share one. "
            f"Give {wanted.group!r} a path of its own."
        )
    return True


def look(wanted: Parameters, token: Token | None, runner: Run) -> Seen:
    hash_of_file = token.sha256 if token else ""
    (row,) = wanted.database.rows(runner, QUERY, group_name=wanted.group, hash=hash_of_file)
    return Seen(**{**row, "required": row["required"] or []})


def create(wanted: Parameters, token: Token, runner: Run) -> None:
    """Write the file first: the database keeps no more than a hash, so a group without it would be of no use."""
    write_atomically(wanted.path, token.text, MODE)
    wanted.database.changed(
        runner,
        INSERT_TOKEN,
        INSERT_GROUP,
        token_id=identifier(),
        hash=token.sha256,
        group_id=identifier(),
        group_name=wanted.group,
        description=wanted.description,
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **GROUP_ARGUMENT_SPEC,
            "path": {"type": "path", "required": True},
            "description": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        content = read_file(wanted.path)
        token = parse(content) if content is not None else None
        missing = is_missing(look(wanted, token, run), content, wanted)
        if missing and not module.check_mode:
            create(wanted, token or new_token(), run)
    except RefusalError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or wanted.path}: {error.strerror}")
    except DatabaseError as error:
        module.fail_json(msg=f"Cannot have the worker group {wanted.group!r}: {error}")
    module.exit_json(
        changed=missing,
        worker_group={"group": wanted.group, "created": missing},
        diff={"before": "" if missing else f"{wanted.group}\n", "after": f"{wanted.group}\n"},
    )


if __name__ == "__main__":
    main()
