# SPDX-License-Identifier: MIT
"""Module secret_file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file
version_added: 0.1.0
short_description: Generate secrets once and keep them in a file
description:
  - Keeps the secrets of an installation in one file on the host, a flat JSON object of names and values. The file has
    mode C(0600) and belongs to the user that the task runs as (normally root).
  - A secret that is missing is generated. One that is there is never replaced, except by a value given in O(values).
    Names in the file that the task does not mention are kept.
  - The file is replaced as a whole. A file that cannot be read as secrets is an error and stays as it is.
  - The module returns the secrets, so the result is hidden as with C(no_log). An error is shown.
attributes:
  check_mode:
    support: full
    description: Predicts truly. On a host without the file it returns generated values that are not stored.
  diff_mode:
    support: full
    description: Shows names and the mode of the file, never values.
options:
  path:
    description:
      - Path of the file. Its folder is made with mode C(0700) if it is missing.
    type: path
    required: true
  generate:
    description:
      - Secrets that must be there. The name is the key, the number of characters is the value.
      - Values are random hexadecimal digits, so the number must be even, and at least 16.
    type: dict
    default: {}
  values:
    description:
      - Secrets that the inventory gives. Each wins over the stored one and is stored.
      - V(null) means that none is given. An empty string, or anything but a string, is an error.
    type: dict
    default: {}
  fixed_length:
    description:
      - Names out of O(generate) whose given value must have exactly that number of bytes.
        The webapp ends at start unless its C(ENCRYPTION_KEY) has 32 bytes.
    type: list
    elements: str
    default: []
  immutable:
    description:
      - Secrets that cannot be changed once they are stored. The name is the key, the value is a sentence for the error
        message that says what would be lost, and which variable to unset.
      - A stored secret that was lost from the file cannot be told from a new one, and is generated again
        unless O(in_use) tells them apart.
    type: dict
    default: {}
  in_use:
    description:
      - Where the host shows that a secret is in use. The name is the key. The value has C(path), C(starts) and
        C(loss). C(path) is a text file. C(starts) is the beginning of the line in it that stands for the secret.
        C(loss) is a sentence for the error message that says what another value would mean.
      - A secret that is neither stored nor given, and for which there is such a line, is an error.
        It is never generated again.
    type: dict
    default: {}
  rotation_allowed:
    description:
      - Whether a rotation of secrets may be under way (M(selfhosted.trigger_dev.secret_rotation)).
        Otherwise one that is not complete is an error.
    type: bool
    default: false
  beside:
    description:
      - Files whose content is secret, too, by any name. Their text is returned in RV(secret_file.beside).
      - One task for all of them, because each task on each host costs about a second.
    type: dict
    default: {}
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.secret_file_info
"""

EXAMPLES = r"""
- name: Secrets of the installation
  selfhosted.trigger_dev.secret_file:
    path: /opt/trigger/secrets.json
    generate:
      postgres_password: 32
      encryption_key: 32
    values:
      postgres_password: "{{ trigger_secrets.postgres_password | default(none) }}"
      encryption_key: "{{ trigger_secrets.encryption_key | default(none) }}"
    fixed_length:
      - encryption_key
    immutable:
      encryption_key: >-
        Environment variables, secrets and personal access tokens in the database would become unreadable.
        Unset trigger_secrets.encryption_key, or set it to the stored value.
  register: secrets
"""

RETURN = r"""
secret_file:
  description: The file as it is now (in check mode, as it would be).
  returned: success
  type: dict
  contains:
    path:
      description: Path of the file.
      type: str
      returned: success
    secrets:
      description: All secrets in the file, by name. Not masked, since they are needed.
      type: dict
      returned: success
    beside:
      description: Text of each of O(beside), by its name. Empty for one that does not exist.
      type: dict
      returned: success
    settled:
      description: Whether the file was there already, with all of it, and with the right owner and mode.
      type: bool
      returned: success
created:
  description: Names of the secrets that were not in the file before.
  returned: success
  type: list
  elements: str
replaced:
  description: Names of the secrets that a value of O(values) has replaced.
  returned: success
  type: list
  elements: str
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import (
    SecretFileError,
    Stored,
    hexadecimal,
    read,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_rotation import NEXT, UNFINISHED, is_begun

MODE = 0o600
FOLDER_MODE = 0o700
SHORTEST = 16


@dataclass(frozen=True)
class Use:
    """A line of a file that stands for a secret."""

    path: str
    starts: str
    loss: str


@dataclass(frozen=True)
class Parameters:
    path: str
    generate: Mapping[str, int]
    values: Mapping[str, str]
    immutable: Mapping[str, str]
    # Secret -> where it is in use, and what another one would mean.
    used: Mapping[str, Use]


@dataclass(frozen=True)
class Plan:
    """What the file shall hold."""

    secrets: Mapping[str, str]
    created: list[str]
    replaced: list[str]


def _characters(name: str, number: object) -> int:
    digits = str(number)
    if not digits.isdigit() or int(digits) < SHORTEST or int(digits) % 2:
        raise SecretFileError(f"generate: the length of {name} must be an even number of at least {SHORTEST}")
    return int(digits)


def _given(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SecretFileError(f"values: {name} is a value of type {type(value).__name__}; put it in quotes")
    if value == "":
        raise SecretFileError(f"values: {name} is an empty string; leave it unset to have one generated")
    return value


def parameters(params: Mapping[str, Any]) -> Parameters:
    """Check what argument specs cannot."""
    generate = {name: _characters(name, number) for name, number in params["generate"].items()}
    values = {name: _given(name, value) for name, value in params["values"].items() if value is not None}
    for name in params["fixed_length"]:
        if name not in generate:
            raise SecretFileError(f"fixed_length: {name} is not in generate, which would say the length")
        if name in values and len(values[name].encode()) != generate[name]:
            raise SecretFileError(
                f"values: {name} must have exactly {generate[name]} bytes, not {len(values[name].encode())}"
            )
    return Parameters(params["path"], generate, values, params["immutable"], uses(params["in_use"]))


def uses(rows: Mapping[str, Mapping[str, str]]) -> dict[str, Use]:
    """Look for the lines that show a secret in use. Their values are not read."""
    found = {}
    for name, row in rows.items():
        if set(row) != {"path", "starts", "loss"}:
            raise SecretFileError(f"in_use: {name} must have path, starts and loss")
        use = Use(**row)
        try:
            with open(use.path, encoding="utf-8", errors="replace") as stream:
                if any(line.startswith(use.starts) for line in stream):
                    found[name] = use
        except (FileNotFoundError, NotADirectoryError):
            continue
    return found


def check_missing(missing: Iterable[str], wanted: Parameters) -> None:
    """Refuse to generate a secret anew that programs and data of this host depend on."""
    rows = [(name, wanted.used[name]) for name in sorted(missing) if name in wanted.used]
    if rows:
        places = ", ".join(f"{name} is the value of {use.starts.rstrip('=')} in {use.path}" for name, use in rows)
        raise SecretFileError(
            f"{wanted.path} holds no {', '.join(name for name, _ in rows)}, though this host has an installation that "
            f"uses {'it' if len(rows) == 1 else 'them'}. {' '.join(dict.fromkeys(use.loss for _, use in rows))} "
            f"Restore the file from a backup, or put back what is missing: {places}."
        )


def plan(stored: Mapping[str, str], wanted: Parameters, generate: Callable[[int], str]) -> Plan:
    """Decide: a given value wins, then the stored one, then a new one."""
    replaced = sorted(name for name, value in wanted.values.items() if stored.get(name, value) != value)
    for name in replaced:
        if name in wanted.immutable:
            raise SecretFileError(
                f"{name} is given with another value than the one stored in {wanted.path}. {wanted.immutable[name]}"
            )
    known = {**stored, **wanted.values}
    check_missing(set(wanted.generate) - set(known), wanted)
    new = {name: generate(number) for name, number in wanted.generate.items() if name not in known}
    result = {**known, **new}
    return Plan(result, sorted(set(result) - set(stored)), replaced)


def summary(found: Stored, names: Mapping[str, str], replaced: list[str]) -> dict[str, object]:
    """Describe the file for a diff, without values."""
    if not found.exists:
        return {}
    owner = f"{found.owner}:{found.group}"
    result: dict[str, object] = {"mode": f"{found.mode:04o}", "owner": owner, "names": sorted(names)}
    return {**result, "replaced": replaced} if replaced else result


def store(path: str, found: Stored, decided: Plan) -> None:
    """Bring the file about, touching no more than what differs."""
    os.makedirs(os.path.dirname(path) or ".", mode=FOLDER_MODE, exist_ok=True)
    if not found.exists or decided.secrets != found.secrets:
        write_atomically(path, json.dumps(decided.secrets, indent=2, sort_keys=True) + "\n", MODE)
    else:
        os.chown(path, os.geteuid(), os.getegid())
        os.chmod(path, MODE)


def text(path: str) -> str:
    """Give what a file holds. A line that is no UTF-8 is of no use to the caller."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "generate": {"type": "dict", "default": {}},
            "values": {"type": "dict", "default": {}, "no_log": True},
            "fixed_length": {"type": "list", "elements": "str", "default": []},
            "immutable": {"type": "dict", "default": {}},
            "in_use": {"type": "dict", "default": {}},
            "rotation_allowed": {"type": "bool", "default": False},
            "beside": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    try:
        if is_begun(path) and not module.params["rotation_allowed"]:
            raise SecretFileError(f"{path}{NEXT} {UNFINISHED}")
        wanted = parameters(module.params)
        found = read(path)
        decided = plan(found.secrets, wanted, hexadecimal)
        target = Stored(True, MODE, os.geteuid(), os.getegid(), decided.secrets)
        changed = found != target
        beside = {name: text(place) for name, place in module.params["beside"].items()}
        if changed and not module.check_mode:
            store(path, found, decided)
    except SecretFileError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or path}: {error.strerror}")

    # Values of no_log options are masked wherever they appear in the result, and the caller needs them there.
    # So masking ends here, and the echo of the arguments goes out without them.
    module.no_log_values.clear()
    module.exit_json(
        changed=changed,
        secret_file={"path": path, "secrets": dict(decided.secrets), "settled": not changed, "beside": beside},
        created=decided.created,
        replaced=decided.replaced,
        diff={
            "before_header": path,
            "after_header": path,
            "before": summary(found, found.secrets, []),
            "after": summary(target, decided.secrets, decided.replaced),
        },
        invocation={"module_args": {**module.params, "values": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}},
    )


if __name__ == "__main__":
    main()
