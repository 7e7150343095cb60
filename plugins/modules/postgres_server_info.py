# SPDX-License-Identifier: MIT
"""Module postgres_server_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_server_info
version_added: 0.1.0
short_description: Log in to a PostgreSQL server and read what Trigger.dev needs of it
description:
  - Logs in over the network with a password, as the webapp does, and reads the settings of the server and the rights
    of the user. Nothing is written.
  - Fails when the server cannot be reached, when its certificate is not accepted, or when it refuses the login.
  - Needs neither a driver nor C(psql), so it works on a host on which nothing is installed yet.
options:
  url:
    description:
      - Where the database is, as C(postgresql://user@host:port/database?sslmode=verify-full).
        A password in it is an error.
      - The port is 5432 unless it is given.
      - V(sslmode) is read as the webapp's replication client reads it. Without it, and with V(disable), there is no
        TLS. With V(no-verify) any certificate will do. With V(prefer), V(require), V(verify-ca) and V(verify-full) the
        certificate has to be valid for the host's name.
    type: str
    required: true
  password:
    description: Password of the user.
    type: str
  secrets_file:
    description:
      - File on the host, written by M(selfhosted.trigger_dev.secret_file), that holds the password as
        V(postgres_password). So the password need not travel.
    type: path
  container:
    description:
      - Name of a container on the host. The connection goes to its own address instead of the host in O(url).
      - When it does not run, there is nothing to look at, and RV(postgres_server) is V(null).
    type: str
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
  - selfhosted.trigger_dev.service
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Look at the external database
  selfhosted.trigger_dev.postgres_server_info:
    url: postgresql://trigger@db.example.com:5432/trigger?sslmode=verify-full
    password: "{{ vault_postgres_password }}"
    ca_certificates: "{{ lookup('ansible.builtin.file', 'ca.pem') }}"
  register: __database

- name: See that the stored password is the one that the bundled database takes
  selfhosted.trigger_dev.postgres_server_info:
    url: postgresql://postgres@trigger-postgres/main
    container: trigger-webapp-trigger-postgres-1
    secrets_file: /opt/trigger/secrets.json
"""

RETURN = r"""
postgres_server:
  description: What was found. V(null) when O(container) does not run.
  returned: success
  type: dict
  contains:
    version:
      description: Version of the server.
      type: str
      returned: success
      sample: "17.6"
    wal_level:
      description: How much the write-ahead log holds. V(logical) is what replication needs.
      type: str
      returned: success
    max_replication_slots:
      description: Number of replication slots that the server allows.
      type: int
      returned: success
    free_replication_slots:
      description: Number of them that are free.
      type: int
      returned: success
    replication_slots:
      description: Names of the logical slots that exist in this database.
      type: list
      elements: str
      returned: success
    max_wal_senders:
      description: Number of connections for replication that the server allows.
      type: int
      returned: success
    standby:
      description: Whether it is a standby, which can be read only.
      type: bool
      returned: success
    replication_allowed:
      description: Whether the user may replicate.
      type: bool
      returned: success
    create_allowed:
      description: Whether the user may create schemas and publications in the database.
      type: bool
      returned: success
    schema_create_allowed:
      description: Whether the user may create tables in the schema V(public).
      type: bool
      returned: success
    foreign_tables:
      description: Tables of the schema V(public) that belong neither to the user nor to a role that it is a member of.
      type: list
      elements: str
      returned: success
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    ARGUMENT_SPEC,
    ServiceError,
    with_advice,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._container_address import container_address
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._postgres import Row, Server, ask, number, parse
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import read as read_secrets

SECRET = "postgres_password"

# Amazon's managed servers give the right by membership instead of the attribute.
QUERY = """
SELECT current_setting('server_version') AS version,
  current_setting('wal_level') AS wal_level,
  current_setting('max_replication_slots') AS max_replication_slots,
  (SELECT count(*) FROM pg_replication_slots) AS used_replication_slots,
  (SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots
    WHERE database = current_database()) AS replication_slots,
  current_setting('max_wal_senders') AS max_wal_senders,
  pg_is_in_recovery() AS standby,
  (SELECT rolsuper OR rolreplication OR EXISTS (
      SELECT 1 FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER'))
    FROM pg_roles r WHERE rolname = current_user) AS replication_allowed,
  has_database_privilege(current_database(), 'CREATE') AS create_allowed,
  coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'public'),
    has_database_privilege(current_database(), 'CREATE')) AS schema_create_allowed,
  (SELECT coalesce(json_agg(c.relname ORDER BY c.relname), '[]') FROM pg_class c JOIN pg_namespace n
    ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
    AND NOT pg_has_role(c.relowner, 'USAGE')) AS foreign_tables
"""


@dataclass(frozen=True)
class Parameters:
    url: str
    password: str | None
    secrets_file: str | None
    container: str | None
    ca_certificates: str
    advice: str


@dataclass(frozen=True)
class Found:
    version: str
    wal_level: str
    max_replication_slots: int
    free_replication_slots: int
    replication_slots: list[str]
    max_wal_senders: int
    standby: bool
    replication_allowed: bool
    create_allowed: bool
    schema_create_allowed: bool
    foreign_tables: list[str]


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(**{name: params[name] for name in Parameters.__dataclass_fields__})


def found(row: Row) -> Found:
    slots = number(row, "max_replication_slots")
    return Found(
        # Distributions add their own version in brackets.
        version=str(row["version"]).partition(" ")[0],
        wal_level=str(row["wal_level"]),
        max_replication_slots=slots,
        free_replication_slots=slots - number(row, "used_replication_slots"),
        replication_slots=json.loads(str(row["replication_slots"])),
        max_wal_senders=number(row, "max_wal_senders"),
        standby=row["standby"] == "t",
        replication_allowed=row["replication_allowed"] == "t",
        create_allowed=row["create_allowed"] == "t",
        schema_create_allowed=row["schema_create_allowed"] == "t",
        foreign_tables=json.loads(str(row["foreign_tables"])),
    )


def password(wanted: Parameters) -> str:
    if wanted.secrets_file is None:
        return wanted.password or ""
    stored = read_secrets(wanted.secrets_file).secrets
    if SECRET not in stored:
        raise ServiceError(f"{wanted.secrets_file} holds no {SECRET}, with which the webapp would log in")
    return stored[SECRET]


def place(wanted: Parameters, runner: Run) -> Server | None:
    server = parse(wanted.url, wanted.ca_certificates)
    if wanted.container is None:
        return server
    # Nothing also where there is no engine at all.
    host, _ = container_address(wanted.container, runner)
    return replace(server, endpoint=replace(server.endpoint, host=host)) if host else None


def look(wanted: Parameters, runner: Run) -> Found | None:
    server = place(wanted, runner)
    return found(ask(server, password(wanted), QUERY)[0]) if server else None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "url": {"type": "str", "required": True},
            "password": {"type": "str", "no_log": True},
            "secrets_file": {"type": "path", "no_log": False},
            "container": {"type": "str"},
        },
        mutually_exclusive=[("password", "secrets_file")],
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        server = look(wanted, run)
    except (ServiceError, SecretFileError) as error:
        module.fail_json(msg=with_advice(error, wanted.advice))
    module.exit_json(changed=False, postgres_server=server and asdict(server))


if __name__ == "__main__":
    main()
