# SPDX-License-Identifier: MIT
"""Asks the webapp's PostgreSQL through the local socket of its container."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run

# Goes with the doc fragment `database`.
ARGUMENT_SPEC: dict[str, Any] = {
    "database_container": {"type": "str", "required": True},
    "database": {"type": "str", "default": "main"},
    "database_user": {"type": "str", "default": "postgres"},
    "group": {"type": "str", "default": "bootstrap"},
}


class DatabaseError(Exception):
    """The database did not answer; its text says why."""


@dataclass(frozen=True)
class Database:
    container: str
    name: str
    user: str

    def rows(self, run: Run, query: str, **variables: str) -> list[dict[str, Any]]:
        """Give the rows of a query; psql quotes the variables where the query says :'name'."""
        argv = ["docker", "exec", "-i", "-u", "postgres", self.container, "psql", "-X", "-q", "-A", "-t"]
        argv += ["-v", "ON_ERROR_STOP=1", "-U", self.user, "-d", self.name]
        for name, value in variables.items():
            argv += ["-v", f"{name}={value}"]
        # psql reads variables in SQL from stdin only, not in the argument of -c.
        done = run(argv, stdin=f"SELECT coalesce(json_agg(found), '[]') FROM ({query}) AS found;\n", timeout=30)
        if done.code != 0:
            raise DatabaseError(f"the database {self.name} in the container {self.container}: {done.error}")
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows


def database(params: Mapping[str, Any]) -> Database:
    return Database(params["database_container"], params["database"], params["database_user"])
