# SPDX-License-Identifier: MIT
"""Options of the modules that ask the webapp's database."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  database_container:
    description:
      - Name of the container that runs the webapp's PostgreSQL, for example V(trigger-webapp-trigger-postgres-1).
    type: str
    required: true
  database:
    description: Name of the database.
    type: str
    default: main
  database_user:
    description: Database user. It logs in over the local socket inside the container, without a password.
    type: str
    default: postgres
  group:
    description: Name of the worker group.
    type: str
    default: bootstrap
requirements:
  - the C(docker) command on the host
"""
