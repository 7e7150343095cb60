# SPDX-License-Identifier: MIT
"""Module secret_file_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file_info
version_added: 0.1.0
short_description: Read the secrets that secret_file keeps
description:
  - Reads the file that M(selfhosted.trigger_dev.secret_file) keeps, and changes nothing.
  - The module returns secrets, so the result is hidden as with C(no_log). An error is shown.
options:
  path:
    description: Path of the file.
    type: path
    required: true
  names:
    description: Secrets to read. A name that is not in the file is an error. Unset means all.
    type: list
    elements: str
  predicted:
    description:
      - Secrets that this run would have generated before, by name. A dry run takes them for those that are not in the
        file; it would fail otherwise where the run itself does not.
      - Other runs pass them over.
    type: dict
    default: {}
  advice:
    description: Another way out, a sentence that ends an error message.
    type: str
    default: ""
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.secret_file
"""

EXAMPLES = r"""
- name: Read what a supervisor needs from the control host
  selfhosted.trigger_dev.secret_file_info:
    path: /opt/trigger/secrets.json
    names:
      - managed_worker_secret
      - registry_password
  delegate_to: "{{ groups['trigger_control'] | first }}"
  register: __supervisor_secrets
"""

RETURN = r"""
secret_file:
  description: What was read.
  returned: success
  type: dict
  contains:
    path:
      description: Path of the file.
      type: str
      returned: success
    secrets:
      description: The secrets, by name.
      type: dict
      returned: success
"""

from collections.abc import Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError, Stored, read

ADVICE = "Run the play of the control host first (selfhosted.trigger_dev.site, without a --limit that leaves it out)"


def select(
    found: Stored, path: str, names: Sequence[str] | None, predicted: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Pick the secrets that are asked for; those of the file win over predicted ones."""
    if not found.exists:
        raise SecretFileError(f"{path} does not exist. {ADVICE}.")
    known = {**(predicted or {}), **found.secrets}
    missing = sorted(set(names or ()) - set(known))
    if missing:
        raise SecretFileError(f"{path} does not hold {', '.join(missing)}. {ADVICE}.")
    return {name: known[name] for name in (found.secrets if names is None else names)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str"},
            "predicted": {"type": "dict", "default": {}, "no_log": True},
            "advice": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    predicted = module.params["predicted"] if module.check_mode else {}
    try:
        selected = select(read(path), path, module.params["names"], predicted)
    except SecretFileError as error:
        module.fail_json(msg=f"{error} {module.params['advice']}".strip())
    except OSError as error:
        module.fail_json(msg=f"{path}: {error.strerror}")
    # Values of no_log options are masked wherever they appear in the result, and the caller needs them there.
    # The action secret_result hides the result as a whole.
    module.no_log_values.clear()
    module.exit_json(changed=False, secret_file={"path": path, "secrets": selected})


if __name__ == "__main__":
    main()
