# SPDX-License-Identifier: MIT
"""Options of the modules that ask the webapp's database."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  database_container:
    description:
      - Name of the container that runs the webapp's PostgreSQL, for example V(trigger-webapp-trigger-postgres-1).
      - Required unless O(database_url) is given.
    type: str
  database:
    description: Name of the database in the container.
    type: str
    default: main
  database_user:
    description: Database user. It logs in over the local socket inside the container, without a password.
    type: str
    default: postgres
  database_url:
    description:
      - Where the database is when it is external, as M(selfhosted.trigger_dev.postgres_server_info) takes it.
      - Wins over O(database_container).
    type: str
  database_secrets_file:
    description: File on the host that holds the password for O(database_url) as V(postgres_password).
    type: path
  database_ca_certificates:
    description: Certificates of private CAs in PEM for O(database_url).
    type: str
    default: ""
attributes:
  action_group:
    description: Use C(group/selfhosted.trigger_dev.database) in C(module_defaults) to set these options once.
    support: full
    membership: [selfhosted.trigger_dev.database]
requirements:
  - the C(docker) command on the host, unless O(database_url) is given
"""

    # For modules that are about one worker group.
    GROUP = r"""
options:
  group:
    description: Name of the worker group.
    type: str
    default: bootstrap
"""
