# SPDX-License-Identifier: MIT
"""Asks the webapp's database: in its container by the local socket, or over the network where it is not ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._postgres import ask, filled, parse
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import SecretFileError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_file import read as read_secrets

# Goes with the doc fragment `database`.
ARGUMENT_SPEC: dict[str, Any] = {
    "database": {
        "type": "dict",
        "required": True,
        "options": {
            "container": {"type": "str"},
            "name": {"type": "str", "default": "main"},
            "user": {"type": "str", "default": "postgres"},
            "url": {"type": "str"},
            "secrets_file": {"type": "path", "no_log": False},
            "ca_certificates": {"type": "str", "default": ""},
        },
        "required_one_of": [("container", "url")],
    }
}
# Goes with the part `group` of it.
GROUP_ARGUMENT_SPEC: dict[str, Any] = {**ARGUMENT_SPEC, "group": {"type": "str", "default": "bootstrap"}}
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
    # Seconds for one query, where it takes longer than those that read a few rows.
    timeout: float | None = None
    # Seconds after which the server gives up a query: one that nobody waits for any more would go on. 0 is never.
    statement_seconds: int = 0

    def rows(self, run: Run, query: str, **variables: str) -> list[dict[str, Any]]:
        """Give the rows of a query; the variables are quoted where the query says :'name'."""
        return self._ask(run, f"SELECT coalesce(json_agg(found), '[]') AS rows FROM ({query}) AS found", variables)

    def changed(self, run: Run, *statements: str, **variables: str) -> list[dict[str, Any]]:
        """Change data by statements that end with RETURNING, all of them or none; give the rows of the last.

        They are parts of one statement, so none of them sees what the others change.
        """
        # PostgreSQL takes statements that change data at the top of a WITH only, so they cannot be a subquery.
        steps = ", ".join(f"step{number} AS ({statement})" for number, statement in enumerate(statements))
        last = f"step{len(statements) - 1}"
        whole = f"WITH {steps} SELECT coalesce(json_agg({last}), '[]') AS rows FROM {last}"
        return self._ask(run, whole, variables)

    def _ask(self, run: Run, query: str, variables: Mapping[str, str]) -> list[dict[str, Any]]:
        limit = f"SET statement_timeout = {self.statement_seconds * 1000}; " if self.statement_seconds else ""
        whole = limit + filled(query, variables)
        rows: list[dict[str, Any]] = json.loads(
            self._over_network(whole) if self.url else self._in_container(run, whole)
        )
        return rows

    def _over_network(self, query: str) -> str:
        try:
            secrets = read_secrets(self.secrets_file).secrets if self.secrets_file else {}
            server = parse(self.url, self.ca)
            if self.timeout:
                server = replace(server, endpoint=replace(server.endpoint, timeout=self.timeout))
            return str(ask(server, secrets.get(SECRET, ""), query)[0]["rows"])
        except (ServiceError, SecretFileError) as error:
            raise DatabaseError(str(error)) from None

    def _in_container(self, run: Run, query: str) -> str:
        argv = ["docker", "exec", "-i", "-u", "postgres", self.container, "psql", "-X", "-q", "-A", "-t"]
        argv += ["-v", "ON_ERROR_STOP=1", "-U", self.user, "-d", self.name]
        # By stdin, because everybody on the host can read the arguments of a program.
        done = run(argv, stdin=f"{query};\n", timeout=self.timeout or 30)
        if done.code != 0:
            raise DatabaseError(f"the database {self.name} in the container {self.container}: {done.error}")
        return done.stdout


def database(params: Mapping[str, Any], timeout: float | None = None, statement_seconds: int = 0) -> Database:
    given = params["database"]
    return Database(
        given["container"] or "",
        given["name"],
        given["user"],
        given["url"] or "",
        given["secrets_file"] or "",
        given["ca_certificates"],
        timeout,
        statement_seconds,
    )
