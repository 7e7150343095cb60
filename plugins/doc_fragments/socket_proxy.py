# SPDX-License-Identifier: MIT
"""Options of the modules that call the supervisor's Docker proxy."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  proxy_container:
    description: Name of the container of the Docker proxy.
    type: str
    required: true
  proxy_network:
    description: Docker network over which the supervisor reaches the proxy.
    type: str
    default: trigger-proxy
  proxy_port:
    description: Port of the proxy.
    type: int
    default: 2375
requirements:
  - the C(docker) command on the host
"""
