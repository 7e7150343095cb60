# SPDX-License-Identifier: MIT
"""Asks a ClickHouse server over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._container_address import container_address
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._http import Origin, origin, request


class QueryError(ServiceError):
    """The server refuses a query."""


@dataclass(frozen=True)
class Server:
    """Where a server is and who logs in to it."""

    origin: Origin
    user: str
    password: str = field(repr=False)

    def ask(self, statement: str) -> str:
        """Run one statement, and give what the server answers."""
        headers = {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password}
        # As a body, because a query in the address is read-only by definition, and CHECK GRANT would be refused.
        answer = request("ClickHouse", self.origin, "POST", "/", headers, statement.encode())
        text = answer.body.decode(errors="replace").strip()
        where = self.origin.endpoint.address
        if answer.status in (401, 403):
            raise ServiceError(f"ClickHouse at {where} refuses the login of {self.user} ({answer.status})")
        if answer.status != 200:
            raise QueryError(f"ClickHouse at {where} refuses a query: {text[:300] or answer.status}")
        return text


def server(url: str, password: str, ca: str) -> Server:
    """Read http(s)://user@host:port."""
    parts = urlsplit(url)
    if parts.password is not None:
        raise ServiceError("The URL of ClickHouse holds a password; it must be given apart from it")
    return Server(origin("ClickHouse", url, ca, 8123, 8443), unquote(parts.username or "default"), password)


def in_container(found: Server, container: str, run: Run, timeout: float) -> Server:
    """Give the server where this host reaches it: at the address of its container, which publishes no port."""
    endpoint = replace(found.origin.endpoint, timeout=timeout)
    if container:
        host, _ = container_address(container, run)
        if not host:
            raise ServiceError(f"The container {container} does not run. Deploy it first (playbook site)")
        endpoint = replace(endpoint, host=host)
    return replace(found, origin=replace(found.origin, endpoint=endpoint))
