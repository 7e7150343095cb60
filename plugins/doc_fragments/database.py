# SPDX-License-Identifier: MIT
"""Options of the modules that ask the webapp's database."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  database:
    description: Where the webapp's PostgreSQL is.
    type: dict
    required: true
    suboptions:
      container:
        description:
          - Name of the container that runs it, for example V(trigger-webapp-trigger-postgres-1).
          - Required unless O(database.url) is given.
        type: str
      name:
        description: Name of the database in the container.
        type: str
        default: main
      user:
        description: Database user. It logs in over the local socket inside the container, without a password.
        type: str
        default: postgres
      url:
        description:
          - Where the database is when it is external, as M(selfhosted.trigger_dev.postgres_server_info) takes it.
          - Wins over O(database.container).
        type: str
      secrets_file:
        description: File on the host that holds the password for O(database.url) as V(postgres_password).
        type: path
      ca_certificates:
        description: Certificates of private CAs in PEM for O(database.url).
        type: str
        default: ""
attributes:
  action_group:
    description: Use C(group/selfhosted.trigger_dev.database) in C(module_defaults) to set O(database) once.
    support: full
    membership: [selfhosted.trigger_dev.database]
requirements:
  - the C(docker) command on the host, unless O(database.url) is given
"""

    # For modules that are about one worker group.
    GROUP = r"""
options:
  group:
    description: Name of the worker group.
    type: str
    default: bootstrap
"""
