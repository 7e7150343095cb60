# SPDX-License-Identifier: MIT
"""Asks the webapp's database: in its container by the local socket, or over the network where it is not ours."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._postgres import ask, filled, parse
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import read as read_secrets

# Goes with the doc fragment `database`.
ARGUMENT_SPEC: dict[str, Any] = {
    "database_container": {"type": "str"},
    "database": {"type": "str", "default": "main"},
    "database_user": {"type": "str", "default": "postgres"},
    "database_url": {"type": "str"},
    "database_secrets_file": {"type": "path", "no_log": False},
    "database_ca_certificates": {"type": "str", "default": ""},
    "group": {"type": "str", "default": "bootstrap"},
}
REQUIRED_ONE_OF = [("database_container", "database_url")]
SECRET = "postgres_password"


class DatabaseError(Exception):
    """The database did not answer; its text says why."""


@dataclass(frozen=True)
class Database:
    """The database in the bundled container, or the one at `url` if there is one."""

    container: str
    name: str
    user: str
    url: str = ""
    secrets_file: str = ""
    ca: str = ""

    @property
    def psql(self) -> str:
        """The command by which an operator gets to the database."""
        if self.url:
            return f"psql {shlex.quote(self.url)}"
        return (
            f"docker exec -i -u postgres {shlex.quote(self.container)} "
            f"psql -U {shlex.quote(self.user)} -d {shlex.quote(self.name)}"
        )

    def rows(self, run: Run, query: str, **variables: str) -> list[dict[str, Any]]:
        """Give the rows of a query; the variables are quoted where the query says :'name'."""
        whole = f"SELECT coalesce(json_agg(found), '[]') AS rows FROM ({query}) AS found"
        text = self._over_network(filled(whole, variables)) if self.url else self._in_container(run, whole, variables)
        rows: list[dict[str, Any]] = json.loads(text)
        return rows

    def _over_network(self, query: str) -> str:
        try:
            secrets = read_secrets(self.secrets_file).secrets if self.secrets_file else {}
            return str(ask(parse(self.url, self.ca), secrets.get(SECRET, ""), query)[0]["rows"])
        except (ServiceError, SecretFileError) as error:
            raise DatabaseError(str(error)) from None

    def _in_container(self, run: Run, query: str, variables: Mapping[str, str]) -> str:
        argv = ["docker", "exec", "-i", "-u", "postgres", self.container, "psql", "-X", "-q", "-A", "-t"]
        argv += ["-v", "ON_ERROR_STOP=1", "-U", self.user, "-d", self.name]
        for name, value in variables.items():
            argv += ["-v", f"{name}={value}"]
        # psql reads variables in SQL from stdin only, not in the argument of -c.
        done = run(argv, stdin=f"{query};\n", timeout=30)
        if done.code != 0:
            raise DatabaseError(f"the database {self.name} in the container {self.container}: {done.error}")
        return done.stdout


def database(params: Mapping[str, Any]) -> Database:
    return Database(
        params["database_container"] or "",
        params["database"],
        params["database_user"],
        params["database_url"] or "",
        params["database_secrets_file"] or "",
        params["database_ca_certificates"],
    )
