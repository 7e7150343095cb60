# SPDX-License-Identifier: MIT
"""Options of the modules that look at an external service."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  ca_certificates:
    description:
      - Certificates of private CAs in PEM, one after the other.
      - They are trusted beside those of the host on which the module runs.
    type: str
    default: ""
  advice:
    description: What the operator can do when the service cannot be used. Ends the message of the failure.
    type: str
    default: ""
"""
