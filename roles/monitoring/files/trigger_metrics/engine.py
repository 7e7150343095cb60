# SPDX-License-Identifier: MIT
"""What is asked of the engine of this host, over its socket: starting its command each time would cost more."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

SOCKET = "/var/run/docker.sock"
SECONDS = 5

# Path and query -> what the engine has, None for what is gone.
Ask = Callable[..., Any]


class LocalConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class EngineError(Exception):
    pass


class Engine:
    def __init__(self, path: str = SOCKET) -> None:
        self.path = path

    def __call__(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            with closing(LocalConnection(self.path)) as connection:
                connection.request("GET", target)
                answer = connection.getresponse()
                body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"the engine does not answer at {self.path}: {error}") from error
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise EngineError(f"the engine answers {path} with {answer.status}")
        return json.loads(body)
