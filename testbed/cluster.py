# SPDX-License-Identifier: MIT
"""A deployed control host, seen from the machine that its host is a container of: what the lab and the tests ask it."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPResponse, HTTPSConnection
from typing import Any

from .common import TestbedError, docker

WEBAPP = "trigger-webapp-webapp-1"
POSTGRES = "trigger-webapp-trigger-postgres-1"
WEBAPP_PORT = 8030
REGISTRY_PORT = 5000
REGISTRY_USER = "trigger"

# A supervisor sends a heartbeat every 30 s, whatever its container's state is; five more seconds for the way.
HEARTBEAT_SECONDS = 35.0
# Columns are `timestamp without time zone` in UTC; NULL is a supervisor that has not sent one yet.
_LIVENESS = """
    SELECT name, extract(epoch FROM (now() AT TIME ZONE 'UTC') - "lastHeartbeatAt") FROM "WorkerInstance" ORDER BY name
"""

_WORKER = """
    SELECT i.name FROM "TaskRun" r JOIN "TaskRunExecutionSnapshot" s ON s."runId" = r.id
    JOIN "WorkerInstance" i ON i.id = s."workerId"
    WHERE r."friendlyId" = '{}' ORDER BY s."createdAt" DESC LIMIT 1
"""

_ENDED = {"COMPLETED", "FAILED", "CANCELED", "CRASHED", "SYSTEM_FAILURE", "TIMED_OUT", "EXPIRED", "INTERRUPTED"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; redirects are not followed."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Door:
    """A gateway with TLS, and the way to it for a machine that neither resolves its name nor knows its CA."""

    origin: str
    address: str
    # PEM
    authority: str = field(repr=False)


class _Connection(HTTPSConnection):
    """Goes to the address of a door; name and certificate are those of the origin all the same."""

    def __init__(self, *arguments: Any, door: Door, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.door = door

    def connect(self) -> None:
        plain = socket.create_connection((self.door.address, self.port), self.timeout)
        trust = ssl.create_default_context(cadata=self.door.authority)
        self.sock = trust.wrap_socket(plain, server_hostname=self.host)


class _Through(urllib.request.HTTPSHandler):
    def __init__(self, door: Door) -> None:
        super().__init__()
        self.door = door

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(_Connection, door=self.door), req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def _opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    # No proxy of the environment either: everything here is on this machine.
    return urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}), *handlers)


def http(
    method: str,
    url: str,
    *,
    payload: Any = None,
    form: dict[str, str] | None = None,
    bearer: str | None = None,
    headers: dict[str, str] | None = None,
    door: Door | None = None,
) -> Answer:
    """Send one request; any status is an answer, no connection is an error."""
    sent = dict(headers or {})
    body: bytes | None = None
    if payload is not None:
        body, sent["Content-Type"] = json.dumps(payload).encode(), "application/json"
    elif form is not None:
        body, sent["Content-Type"] = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
    if bearer:
        sent["Authorization"] = f"Bearer {bearer}"
    request = urllib.request.Request(url, data=body, headers=sent, method=method)
    try:
        with _opener(*([_Through(door)] if door else [])).open(request, timeout=30) as reply:
            return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())
    except OSError as error:
        raise TestbedError(f"{method} {urllib.parse.urlsplit(url)._replace(query='').geturl()}: {error}") from error


def address(container: str) -> str:
    """Give the address of a node in the network that all nodes of its scenario are in; others are named after it."""
    found = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container))
    return str(found[min(found)]["IPAddress"])


@dataclass(frozen=True)
class Instance:
    """A supervisor as the webapp's database knows it."""

    name: str
    age: float | None

    @property
    def alive(self) -> bool:
        """Tell whether its heartbeat is fresh; nothing else says so."""
        return self.age is not None and self.age <= HEARTBEAT_SECONDS


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    id: str
    status: str
    seconds: float
    output: dict[str, Any]
    ask_worker: Callable[[], str] = field(default=lambda: "unknown", repr=False, compare=False)

    @property
    def worker(self) -> str:
        """Name of the instance that executed it. The task itself does not know it: only its runner is told."""
        return self.ask_worker()


@dataclass(frozen=True)
class Cluster:
    """One deployment, named by the container of its control host."""

    control: str
    # The container of the host that runs the registry, if that is another one.
    registry_host: str = ""
    # The way in, where webapp and registry are not published themselves.
    door: Door | None = None

    def address(self, port: int, host: str = "") -> str:
        """Give the loopback address (host:port) at which a port of a host (the control host) is published."""
        found = docker("port", host or self.control, f"{port}/tcp").split()
        if not found:
            raise TestbedError(f"{host or self.control} does not publish port {port}")
        return found[0]

    @property
    def registry(self) -> str:
        """Loopback address of the registry."""
        return self.address(REGISTRY_PORT, self.registry_host)

    @property
    def webapp(self) -> str:
        """Base URL of the webapp."""
        return self.door.origin if self.door else f"http://{self.address(WEBAPP_PORT)}"

    def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Send one request to the webapp; any status is an answer."""
        return http(method, self.webapp + path, door=self.door, **options)

    def host(self, *command: str) -> str:
        """Run a command on the control host as root."""
        return docker("exec", self.control, *command)

    def sql(self, query: str) -> list[list[str]]:
        """Ask the webapp's database; NULL is an empty string."""
        psql = [
            "docker",
            "exec",
            "-u",
            "postgres",
            POSTGRES,
            "psql",
            "-d",
            "main",
            "-v",
            "ON_ERROR_STOP=1",
            "-AtF",
            "|",
            "-c",
            query,
        ]
        return [line.split("|") for line in self.host(*psql).splitlines()]

    def instances(self) -> list[Instance]:
        """List the connected supervisors."""
        return [Instance(name, float(age) if age else None) for name, age in self.sql(_LIVENESS)]

    def worker_of(self, run_id: str) -> str:
        """Name the instance that had a run last."""
        found = self.sql(_WORKER.format(run_id))
        return found[0][0] if found else "unknown"

    def registry_password(self) -> str:
        """Read the password of the registry from where the deployment keeps it."""
        return str(json.loads(self.host("cat", "/opt/trigger/secrets.json"))["registry_password"])

    def await_run(self, run_id: str, key: str, seconds: float = 300) -> Run:
        """Wait for the end of a run."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.ask("GET", f"/api/v3/runs/{run_id}", bearer=key)
            if answer.status != 200:
                raise TestbedError(f"the webapp answers {answer.status} to the question for run {run_id}")
            found = answer.json()
            if found["status"] in _ENDED:
                seconds_run = float(found["durationMs"]) / 1000
                ask_worker = partial(self.worker_of, run_id)
                return Run(run_id, found["status"], seconds_run, found.get("output") or {}, ask_worker)
            if time.monotonic() > deadline:
                raise TestbedError(f"run {run_id} is still {found['status']} after {seconds:.0f} s")
            time.sleep(0.3)
