# SPDX-License-Identifier: MIT
"""What the tests of the socket proxy need: the role's configuration, proxies that run it, an engine that records."""

from __future__ import annotations

import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed import images
from testbed.common import IMAGES, LABEL, ROOT, docker, lock
from tests.plays import render_cases, template

LABELS = ("--label", f"{LABEL}=proxy")
SOCKET = Path("/var/run/docker.sock")
REGISTRY = "registry.example.com:5000"
# Of this run, for others may run beside it.
RUN = secrets.token_hex(4)
IMAGE = f"{REGISTRY}/trigger/trigger-test:{RUN}"
NETWORK = "trigger-runner"
PORT = 2375
WAIT_SECONDS = 90.0
QUIET_SECONDS = 0.5
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
# Debian 12's and 13's.
HAPROXIES = {"2.6": "trigger-testbed/haproxy:2.6", "3.0": "docker.io/library/haproxy:3.0.11-alpine"}


def render(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Render the proxy for each case from the role's defaults: files (name -> text) and service."""
    given = {
        "trigger_registry_host": REGISTRY,
        "__supervisor_socket_group": str(SOCKET.stat().st_gid),
        # Inside the role these are found by their names alone.
        "__supervisor_proxy_config": template("supervisor/templates/haproxy.cfg.j2"),
        "__supervisor_proxy_program": (ROOT / "roles/supervisor/files/create_body.lua").read_text(),
    }
    wanted = {
        "files": "__supervisor_proxy_files",
        "service": "__supervisor_proxy_service",
        "calls": "__supervisor_calls",
    }
    return render_cases(
        folder,
        *("trigger", "supervisor"),
        host="worker.example.com",
        wanted=wanted,
        cases={name: given | case for name, case in cases.items()},
    )


def have_image(version: str) -> str:
    """Have the image of a version of HAProxy; that of Debian 12 is only for these tests."""
    name = HAPROXIES[version]
    if version == "2.6":
        context = images.SERVICES / "haproxy"
        with lock(IMAGES / "lock"):
            base = images.base("bookworm")
            inputs = images.fingerprint(context, context / "Dockerfile", [base])
            if images.inspect(name)[1] != inputs:
                labels = ["--label", f"{LABEL}=image", "--label", f"{images.INPUTS}={inputs}"]
                argument = ["--build-arg", f"BASE={images.BASE}:bookworm"]
                docker("build", "--network", "host", *argument, *labels, "--tag", name, context)
    return name


@contextmanager
def network(name: str, *options: str) -> Iterator[None]:
    """A Docker network."""
    docker("network", "create", *LABELS, *options, name)
    try:
        yield
    finally:
        docker("network", "rm", name)


@dataclass
class Proxy:
    """A proxy that runs."""

    name: str
    address: str

    def send(self, data: bytes, *, pause: float = 0, answers: int = 0) -> bytes:
        """Send bytes as they are, and give all that comes back until the end of the connection.

        Of several requests so many answers are waited for; how many are not known of hostile ones, so they get a while.
        """
        several = data.count(b" HTTP/1.") > 1
        with socket.create_connection((self.address, PORT), timeout=WAIT_SECONDS) as connection:
            received = b""
            try:
                # In two pieces when there is a pause, so that the second comes when the first was looked at.
                middle = len(data) // 2 if pause else len(data)
                connection.sendall(data[:middle])
                if pause:
                    time.sleep(pause)
                    connection.sendall(data[middle:])
                if several:
                    # What follows the first request would be left alone once the sender has gone.
                    connection.settimeout(WAIT_SECONDS if answers else QUIET_SECONDS)
                    with suppress(TimeoutError):
                        while not answers or len(STATUS.findall(received)) < answers:
                            if not (part := connection.recv(65536)):
                                break
                            received += part
                    connection.settimeout(WAIT_SECONDS)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    received += part
            except TimeoutError:
                raise
            except OSError:
                pass  # a proxy that has turned away takes no more
            return received

    def statuses(self, data: bytes, **options: Any) -> list[int]:
        """Send bytes, and give the status of each answer."""
        return [int(found) for found in STATUS.findall(self.send(data, **options))]

    def log(self, *awaited: str) -> str:
        """All that it has logged; the engine writes it a moment later, so what must be there is waited for."""
        deadline = time.monotonic() + WAIT_SECONDS
        while [words for words in awaited if words not in (found := docker("logs", self.name))]:
            assert time.monotonic() < deadline, found[-2000:]
            time.sleep(0.1)
        return docker("logs", self.name)


@contextmanager
def proxy(
    name: str, image: str, row: dict[str, Any], folder: Path, engine: Path, on: str, *, watched: bool = False
) -> Iterator[Proxy]:
    """Run a proxy with everything that its row in the Compose file gives it, in front of the socket of an engine.

    Its health check only where it is `watched`: a request each second would stand among those of a test.
    """
    service = row["service"]
    folder.mkdir()
    for file in row["files"]:
        (folder / file["path"]).write_text(file["content"])
        (folder / file["path"]).chmod(int(file["mode"], 8))
    options = ["--read-only"] if service["read_only"] else []
    options += [f"--tmpfs={each}" for each in service.get("tmpfs", [])]
    options += [f"--env={key}={value}" for key, value in service.get("environment", {}).items()]
    for volume in service["volumes"]:
        source, _, inside = volume.partition(":")
        where = engine if source == str(SOCKET) else folder / Path(source).name
        options.append(f"--volume={where}:{inside}")
    options += [f"--user={service['user']}", "--cap-drop=ALL", "--security-opt=no-new-privileges:true"]
    options += [f"--memory={service['memory_mib']}m", f"--network={on}"]
    if watched:
        kind, command = service["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        options += [f"--health-cmd={command}", "--health-interval=1s", "--health-timeout=5s", "--health-retries=4"]
        options += ["--restart=unless-stopped"]
    docker("run", "--detach", "--name", name, *LABELS, *options, image)
    try:
        address = docker(
            "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name
        ).strip()
        found = Proxy(name, address)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                if found.statuses(b"GET /images/none/json HTTP/1.1\r\nHost: x\r\n\r\n") == [404]:
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline, found.log()[-2000:]
            time.sleep(0.1)
        yield found
    finally:
        docker("rm", "--force", "--volumes", name)


@dataclass
class Recorder:
    """An engine that writes down all that reaches it, and says yes to every POST."""

    path: Path
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        """Answer the requests of a connection, one after the other."""
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                length = 0
                while (header := reader.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.partition(b":")[2])
                body = reader.read(length)
                self.seen.append((line.decode("latin-1").strip(), body))
                made = b'{"Id":"%s"}' % (b"a" * 64)
                status = b"201 Created" if line.startswith(b"POST ") else b"404 Not Found"
                connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(made), made))

    def take(self) -> list[tuple[str, bytes]]:
        """Give what has come since the last time."""
        taken, self.seen = self.seen, []
        return taken


@contextmanager
def recorder(folder: Path) -> Iterator[Recorder]:
    """Run an engine that only records."""
    path = folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(64)
        found = Recorder(path)
        threading.Thread(target=found.serve, args=(listener,), daemon=True).start()
        try:
            yield found
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in found.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def events(since: float, until: float, mark: str) -> list[dict[str, Any]]:
    """Give the events of the genuine engine in which a mark stands; others make events of their own meanwhile."""
    lines = docker(
        "events", "--since", f"{since:.6f}", "--until", f"{until:.6f}", "--format", "{{json .}}"
    ).splitlines()
    return [json.loads(line) for line in lines if mark in line]
