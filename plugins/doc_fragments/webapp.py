# SPDX-License-Identifier: MIT
"""Options of the modules that talk to the webapp."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  webapp_url:
    description:
      - Address of the webapp as the host that the module runs on reaches it.
      - The module runs on the control host, where the webapp is on the loopback.
    type: str
    default: http://127.0.0.1:8030
"""

    # For modules that log in as a user.
    LOGIN = r"""
options:
  webapp_container:
    description:
      - Name of the container that runs the webapp, for example V(trigger-webapp-webapp-1).
    type: str
    required: true
  email:
    description: Mail address of the user. Case does not count.
    type: str
    required: true
requirements:
  - the C(docker) command on the host, and the right to use it
"""
