# SPDX-License-Identifier: MIT
"""Module secret_rotation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_rotation
version_added: 0.1.0
short_description: Replace secrets of an installation, in steps that survive an interruption
description:
  - Replaces secrets in the file that M(selfhosted.trigger_dev.secret_file) keeps, and in the services of the control
    stack.
  - V(begun) generates new secrets and keeps them in a file beside the old ones. V(switched) makes services take them.
    V(complete) revokes the old ones and forgets them.
  - A rotation that was interrupted continues with the secrets that it has. It does not generate others.
  - The module returns secrets, so the result is hidden as with C(no_log). An error is shown.
attributes:
  check_mode:
    support: full
    description: Predicts truly. V(begun) also tries whether every encrypted value can be read.
  diff_mode:
    support: none
    description: Shows nothing.
options:
  path:
    description: Path of the secrets file.
    type: path
    required: true
  state:
    description: How far the rotation is to come.
    type: str
    choices: [begun, switched, complete]
    default: begun
  generate:
    description:
      - Secrets to replace, for O(state=begun). The name is the key, the number of hexadecimal digits is the value.
    type: dict
    default: {}
  webapp:
    description: Name of the container of the webapp. It is stopped while services change.
    type: str
    required: true
  directory:
    description:
      - Folder of the Compose project of the control stack. Its files must hold the new secrets already.
        If empty, no service of it changes.
    type: str
    default: ""
  timeout:
    description: Seconds that services may take until they are healthy.
    type: int
    default: 300
  wait:
    description:
      - Whether to wait until the webapp is healthy. Without it, supervisors can get a new secret while it starts.
    type: bool
    default: true
  postgres:
    description: Container and user of the bundled Postgres, which has C(postgres_password).
    type: dict
    suboptions:
      container: {type: str, required: true, description: Name of the container.}
      user: {type: str, required: true, description: Role whose password is replaced.}
  encrypted:
    description: Where values are in O(database) that are encrypted with C(encryption_key).
    type: list
    elements: dict
    default: []
    suboptions:
      table: {type: str, required: true, description: Name of the table.}
      key: {type: str, required: true, description: Column that tells rows apart.}
      column: {type: str, required: true, description: Column with the value.}
      where: {type: str, default: "true", description: Condition of the rows.}
      path: {type: str, default: "", description: Key of the object in the column that holds the value.}
  accept:
    description: Commands that make a service accept a new secret beside the old one, which they get by standard input.
    type: list
    elements: dict
    default: []
    suboptions: &command
      name: {type: str, required: true, description: Name of the secret.}
      argv: {type: list, elements: str, required: true, description: The command.}
  prepare:
    description: Commands that run after the services have the new secrets, and before the webapp starts.
    type: list
    elements: dict
    default: []
    suboptions: *command
  revoke:
    description:
      - Commands that make a service refuse an old secret, which they get by standard input. For O(state=complete).
    type: list
    elements: dict
    default: []
    suboptions: *command
  lock_file:
    description: File that backups lock. Services are changed while none runs.
    type: path
    required: true
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.database
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.secret_file
"""

EXAMPLES = r"""
- name: Generate another password of Redis
  selfhosted.trigger_dev.secret_rotation:
    path: /opt/trigger/secrets.json
    generate: {redis_password: 32}
    webapp: trigger-webapp-webapp-1
    database: {container: trigger-webapp-trigger-postgres-1}
    lock_file: /opt/trigger/backup/lock
  register: rotation
"""

RETURN = r"""
secret_rotation:
  description: The rotation as it is now.
  returned: success
  type: dict
  contains:
    stage:
      description: V(none), V(begun) or V(switched).
      type: str
      returned: success
    names:
      description: Secrets that are being replaced.
      type: list
      elements: str
      returned: success
    found:
      description: The stage that an earlier run has left.
      type: str
      returned: success
    resumed:
      description: Secrets out of RV(secret_rotation.names) that an earlier run has begun to replace.
      type: list
      elements: str
      returned: success
    secrets:
      description: All secrets with the new values. Not masked, since they are needed.
      type: dict
      returned: success
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._control_stack import (
    ControlStack,
    StackError,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import (
    ARGUMENT_SPEC,
    DatabaseError,
    database,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._encryption import EncryptionError, Place, Vault
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError, hexadecimal
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_rotation import (
    BEGUN,
    NONE,
    SWITCHED,
    Rotation,
    begin,
    forget,
    look,
    store,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_switch import (
    Command,
    Parameters,
    Switch,
    locked,
)

# The server gives up before the client does: a statement that goes on could commit values of the new key after the
# rotation was undone.
STATEMENT_SECONDS = 300
CLIENT_SECONDS = 600
COMMAND = {"name": {"type": "str", "required": True}, "argv": {"type": "list", "elements": "str", "required": True}}


def parameters(params: Mapping[str, Any], runner: Run) -> Parameters:
    stack = ControlStack(params["directory"], params["webapp"], params["timeout"])
    places = [Place(**row) for row in params["encrypted"]]
    asked = database(params, CLIENT_SECONDS, STATEMENT_SECONDS)
    vault = Vault(asked, places, stack.image(runner)) if places else None
    commands = {
        name: [Command(row["name"], row["argv"]) for row in params[name]] for name in ("accept", "prepare", "revoke")
    }
    generate = {name: int(length) for name, length in params["generate"].items()}
    return Parameters(
        params["path"],
        params["state"],
        generate,
        stack,
        params["postgres"],
        vault,
        params["lock_file"],
        params["wait"],
        **commands,
    )


def carry_out(wanted: Parameters, runner: Run, check: bool, found: Rotation) -> tuple[bool, Rotation]:
    """Bring the rotation to the state; tell whether that changes anything, and what it is then."""
    if wanted.state == "begun":
        rotation = begin(found, wanted.generate, hexadecimal)
        if "encryption_key" in rotation.names and wanted.vault and rotation.stage == BEGUN:
            wanted.vault.check(runner, rotation.old["encryption_key"], rotation.new["encryption_key"])
        changed = rotation != found
        if changed and not check:
            store(wanted.path, rotation)
        return changed, rotation
    if wanted.state == "switched":
        if found.stage == NONE or check:
            return found.stage == BEGUN, found
        # The commands take the lock of backups themselves.
        Switch(wanted, found, runner).accept()
        with locked(wanted.lock_file):
            # Of a run that was killed the module may have gone on until now.
            Switch(wanted, look(wanted.path), runner).carry_out()
        return True, look(wanted.path)
    if found.stage == BEGUN:
        raise SecretFileError(
            f"The rotation of {', '.join(found.names)} is not complete: services have the old secrets."
        )
    if found.stage == SWITCHED and not check:
        for command in wanted.revoke:
            if command.name in found.names:
                command.carry_out(runner, found.old[command.name])
        forget(wanted.path)
    return found.stage == SWITCHED, found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["begun", "switched", "complete"], "default": "begun"},
            "generate": {"type": "dict", "default": {}},
            "webapp": {"type": "str", "required": True},
            "directory": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 300},
            "wait": {"type": "bool", "default": True},
            "postgres": {
                "type": "dict",
                "options": {
                    "container": {"type": "str", "required": True},
                    "user": {"type": "str", "required": True},
                },
            },
            "encrypted": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "table": {"type": "str", "required": True},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "column": {"type": "str", "required": True},
                    "where": {"type": "str", "default": "true"},
                    "path": {"type": "str", "default": ""},
                },
            },
            "accept": {"type": "list", "elements": "dict", "default": [], "options": COMMAND},
            "prepare": {"type": "list", "elements": "dict", "default": [], "options": COMMAND},
            "revoke": {"type": "list", "elements": "dict", "default": [], "options": COMMAND},
            "lock_file": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        found = look(module.params["path"])
        changed, rotation = carry_out(parameters(module.params, run), run, module.check_mode, found)
    except (SecretFileError, StackError, EncryptionError, DatabaseError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['path']}: {error.strerror}")
    told = {"stage": rotation.stage, "names": rotation.names, "secrets": dict(rotation.new)}
    module.exit_json(changed=changed, secret_rotation={**told, "resumed": found.names, "found": found.stage})


if __name__ == "__main__":
    main()
