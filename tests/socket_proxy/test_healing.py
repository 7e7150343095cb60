# SPDX-License-Identifier: MIT
"""A proxy whose engine has a new socket serves again without help: what it has mounted is the old, dead file."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from testbed.common import docker
from tests.socket_proxy import proxies
from tests.socket_proxy.conftest import OWN
from tests.socket_proxy.proxies import RUN
from tests.socket_proxy.requests import BENIGN, bare

WAIT_SECONDS = 180.0
PING = bare(f"{BENIGN} HTTP/1.1", "Host: docker")


def eventually(question: Callable[[], bool]) -> bool:
    """Ask until the answer is true; a proxy that starts again takes no connection for a moment."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if question():
                return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


@pytest.mark.parametrize("case", ["strict", "classic"])
def test_a_socket_that_is_made_anew_is_found_again(
    networks: None, rendered: dict[str, dict[str, Any]], folder: Path, case: str
) -> None:
    engine = folder / f"engine-{case}"
    engine.mkdir()
    row = rendered[case]
    name = f"trigger-test-{RUN}-{secrets.token_hex(4)}"
    image = row["service"]["image"].removeprefix("docker.io/library/")

    def look(form: str) -> str:
        return docker("inspect", "--format", form, name).strip()

    socket = engine / "docker.sock"
    with ExitStack() as stack:
        with proxies.recorder(engine):
            proxy = stack.enter_context(proxies.proxy(name, image, row, folder / name, socket, OWN, watched=True))
            assert eventually(lambda: look("{{.State.Health.Status}}") == "healthy")
            assert look("{{.RestartCount}}") == "0"
        socket.unlink()
        with proxies.recorder(engine) as anew:
            assert eventually(lambda: look("{{.RestartCount}}") == "1"), look("{{json .State.Health}}")
            assert eventually(lambda: proxy.statuses(PING) == [404])
            assert f"{BENIGN} HTTP/1.1" in [line for line, _ in anew.take()]
