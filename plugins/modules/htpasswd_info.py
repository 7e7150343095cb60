# SPDX-License-Identifier: MIT
"""Module htpasswd_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: htpasswd_info
version_added: 0.1.0
short_description: Read an htpasswd file
description:
  - Reads the file, so that the filter P(selfhosted.trigger_dev.htpasswd#filter) can keep the hashes that still fit.
  - The result holds hashes of passwords, so it is hidden as with C(no_log). An error is shown.
options:
  path:
    description: Path of the file. One that does not exist is empty.
    type: path
    required: true
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Know the hashes that are there
  selfhosted.trigger_dev.htpasswd_info:
    path: /opt/trigger/registry/auth/htpasswd
  register: __registry_htpasswd
"""

RETURN = r"""
htpasswd:
  description: The file.
  returned: success
  type: dict
  contains:
    path:
      description: Path of the file.
      type: str
      returned: success
    content:
      description: Its text. Empty if there is no file.
      type: str
      returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def read(path: str) -> str:
    """Give the text. A line that is no UTF-8 holds no hash that could be kept."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    path = module.params["path"]
    try:
        content = read(path)
    except OSError as error:
        module.fail_json(msg=f"{path}: {error.strerror}")
    module.exit_json(changed=False, htpasswd={"path": path, "content": content})


if __name__ == "__main__":
    main()
