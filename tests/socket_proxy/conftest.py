# SPDX-License-Identifier: MIT
"""Proxies of both versions of HAProxy, each in front of the genuine engine and of one that only records."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed import engine
from testbed.common import IMAGES, docker
from tests.socket_proxy import proxies
from tests.socket_proxy.proxies import IMAGE, RUN, Proxy, Recorder
from tests.socket_proxy.requests import MARK

RUNNERS = f"trigger-test-{RUN}-runner"
OWN = f"trigger-test-{RUN}-proxy"
# Case -> settings on top of the defaults.
CASES: dict[str, dict[str, Any]] = {
    "strict": {},
    "genuine": {"__supervisor_runner_network": RUNNERS},
    "all-images": {"supervisor_allowed_images": []},
    "two-images": {"supervisor_allowed_images": ["a.example.com/", "b.example.com/x:"]},
    "monitor": {"supervisor_resource_monitor_enabled": True},
    "boundless": {"supervisor_runner_pids_limit": 0},
    "classic": {"supervisor_proxy_mode": "classic"},
}


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short name, for the path of a socket may have no more than 107 characters."""
    with tempfile.TemporaryDirectory(prefix="trigger-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def rendered(folder: Path) -> dict[str, dict[str, Any]]:
    """Case -> files and service of the proxy, as the role has them."""
    return proxies.render(folder, CASES)


@pytest.fixture(scope="session")
def networks() -> Iterator[None]:
    """The networks of proxies and of what they start, an image that passes, and an end of all of it."""
    engine.ensure()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with proxies.network(OWN, "--internal"), proxies.network(RUNNERS, "--internal"):
        docker("tag", proxies.HAPROXIES["3.0"], IMAGE)
        try:
            yield
        finally:
            # They carry no label, for a create with labels does not pass.
            if left := docker("ps", "--all", "--quiet", "--filter", f"name={RUN}").split():
                docker("rm", "--force", *left)
            docker("rmi", IMAGE)


@pytest.fixture(scope="session")
def recorder(folder: Path) -> Iterator[Recorder]:
    """The engine that only records."""
    with proxies.recorder(folder) as found:
        yield found


Start = Callable[..., Proxy]


@pytest.fixture(scope="session")
def start(networks: None, rendered: dict[str, dict[str, Any]], folder: Path) -> Iterator[Start]:
    """Start a proxy of a case, once."""
    running: dict[str, Proxy] = {}
    with ExitStack() as stack:

        def run(case: str, image: str, behind: Path) -> Proxy:
            key = f"{case}-{image.rpartition(':')[2]}-{behind.parent.name}"
            if key not in running:
                name = f"trigger-test-{RUN}-{secrets.token_hex(4)}"
                where = folder / name
                running[key] = stack.enter_context(proxies.proxy(name, image, rendered[case], where, behind, OWN))
            return running[key]

        yield run


@pytest.fixture(scope="session", params=sorted(proxies.HAPROXIES))
def haproxy(request: pytest.FixtureRequest) -> str:
    """The image of each version."""
    return proxies.have_image(request.param)


@pytest.fixture
def recording(start: Start, haproxy: str, recorder: Recorder) -> Iterator[Proxy]:
    """A strict proxy in front of the engine that records."""
    proxy = start("strict", haproxy, recorder.path)
    recorder.take()
    yield proxy
    recorder.take()


@pytest.fixture
def genuine(start: Start, haproxy: str) -> Proxy:
    """A strict proxy in front of the genuine engine."""
    return start("genuine", haproxy, proxies.SOCKET)


@dataclass(frozen=True)
class Marker:
    """Puts names of this run into requests."""

    text: str

    def put(self, data: bytes) -> bytes:
        """Replace the mark."""
        return data.replace(MARK.encode(), self.text.encode())


@pytest.fixture
def marker() -> Marker:
    """A name for each test."""
    return Marker(f"{RUN}-{secrets.token_hex(4)}")
