# SPDX-License-Identifier: MIT
"""The way through a gateway: another address, the same name, and nobody's word but its CA's."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from testbed import cluster, common
from tests.unit.plugins.modules.servers import certificate, serving

ORIGIN = "https://trigger.example"


def answer(stream: socket.socket) -> None:
    host = next(line for line in stream.recv(65536).decode().splitlines() if line.startswith("Host: "))
    body = host.removeprefix("Host: ").encode()
    stream.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_a_door_is_asked_by_the_name_of_its_origin() -> None:
    tls = certificate("trigger.example")
    with serving(answer, tls) as port:
        origin = f"{ORIGIN}:{port}"
        door = cluster.Door(origin, "127.0.0.1", tls.pem)
        found = cluster.Cluster("control", door=door).ask("GET", "/healthcheck")
        assert (found.status, found.body.decode()) == (200, f"trigger.example:{port}")
        other = replace(door, origin=f"https://other.example:{port}")
        with pytest.raises(common.TestbedError, match="Hostname mismatch"):
            cluster.Cluster("control", door=other).ask("GET", "/")


def test_a_door_of_another_authority_is_refused() -> None:
    tls = certificate("trigger.example")
    with serving(answer, tls) as port:
        door = cluster.Door(f"{ORIGIN}:{port}", "127.0.0.1", certificate("other.example").pem)
        with pytest.raises(common.TestbedError, match="CERTIFICATE_VERIFY_FAILED"):
            cluster.Cluster("control", door=door).ask("GET", "/")
