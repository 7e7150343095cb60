# SPDX-License-Identifier: MIT
"""Module clickhouse_server_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_server_info
version_added: 0.1.0
short_description: Log in to a ClickHouse server and read what Trigger.dev needs of it
description:
  - Logs in over HTTP as the webapp does and reads the version and the rights of the user. Nothing is written.
  - Fails when the server cannot be reached, when its certificate is not accepted, or when it refuses the login.
attributes:
  platform:
    description: Linux. Needs nothing but Python on the host.
options:
  url:
    description:
      - Where the server is, as C(https://user@host:8443). A password in it is an error.
      - The port is 8123 for http and 8443 for https unless it is given.
    type: str
    required: true
  password:
    description: Password of the user.
    type: str
    default: ""
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
  - selfhosted.trigger_dev.service
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Look at the external ClickHouse
  selfhosted.trigger_dev.clickhouse_server_info:
    url: https://trigger@clickhouse.example.com:8443
    password: "{{ vault_clickhouse_password }}"
  register: __clickhouse
"""

RETURN = r"""
clickhouse_server:
  description: What was found.
  returned: success
  type: dict
  contains:
    version:
      description: Version of the server.
      type: str
      returned: success
      sample: 25.8.18.1
    missing_rights:
      description:
        - Rights that migrations and webapp need and the user lacks, as a GRANT names them.
        - V(null) when the server is too old to be asked.
      type: list
      elements: str
      returned: success
      sample: ["CREATE DATABASE ON trigger_dev.*"]
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._clickhouse import QueryError, server
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    ARGUMENT_SPEC,
    ServiceError,
    with_advice,
)

# The migrations make the database `trigger_dev`, whatever the URL says, and keep their own table in `default`.
RIGHTS = (
    "CREATE DATABASE ON trigger_dev.*",
    "CREATE TABLE ON trigger_dev.*",
    "CREATE VIEW ON trigger_dev.*",
    "ALTER ON trigger_dev.*",
    "DROP ON trigger_dev.*",
    "SELECT ON trigger_dev.*",
    "INSERT ON trigger_dev.*",
    "CREATE TABLE ON default.*",
    "INSERT ON default.*",
)
SYNTAX_ERROR = "Code: 62."


@dataclass(frozen=True)
class Found:
    version: str
    missing_rights: list[str] | None


def look(ask: Callable[[str], str]) -> Found:
    version = ask("SELECT version()")
    try:
        missing = [right for right in RIGHTS if ask(f"CHECK GRANT {right}") != "1"]
    except QueryError as error:
        if SYNTAX_ERROR not in str(error):
            raise
        return Found(version, None)
    return Found(version, missing)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "url": {"type": "str", "required": True},
            "password": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        params = module.params
        found = look(server(params["url"], params["password"], params["ca_certificates"]).ask)
    except ServiceError as error:
        module.fail_json(msg=with_advice(error, module.params["advice"]))
    module.exit_json(changed=False, clickhouse_server=asdict(found))


if __name__ == "__main__":
    main()
