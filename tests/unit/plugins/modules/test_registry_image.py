# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import registry_image as module

from .conftest import Invoke

PASSWORD = "p@ss word $x'\"#"
GIVEN = {"name": "trigger/probe:1", "source": "registry:2.8.3", "username": "trigger", "password": PASSWORD}


class Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x" * 300_000)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def listening() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@dataclass
class Docker:
    """An engine with one registry."""

    held: bool = False
    local: bool = True
    fails: str = ""
    addresses: tuple[str, ...] = ("127.0.0.1",)
    calls: list[list[str]] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        words = [word for word in argv[1:] if not word.startswith("/")]
        words = words[1:] if words[0] == "--config" else words
        assert PASSWORD not in " ".join(argv), "everybody on the host sees command lines"
        self.calls.append(words)
        if self.fails and self.fails in words:
            return Completed(1, "", f"denied for {PASSWORD}")
        if words[:2] == ["container", "inspect"]:
            networks = {f"n{number}": {"IPAddress": one} for number, one in enumerate(self.addresses)}
            return Completed(0, json.dumps([False, networks]), "")
        if words[0] == "login":
            assert stdin == PASSWORD
            if words[-1].startswith("127."):
                with urllib.request.urlopen(f"http://{words[-1]}/v2/") as answer:
                    self.seen.append(answer.read())
        if words[:2] == ["manifest", "inspect"]:
            return Completed(0 if self.held else 1, "", "no such manifest")
        if words[:2] == ["image", "inspect"]:
            return Completed(0 if self.local else 1, "", "")
        return Completed(0, "", "")

    def named(self) -> list[str]:
        return [words[0] if words[0] != "image" else f"image {words[1]}" for words in self.calls]


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    double = Docker()
    monkeypatch.setattr(module, "run", double)
    return double


def bring(invoke: Invoke, *, check: bool = False, **more: Any) -> dict[str, Any]:
    return invoke(module.main, check=check, **{**GIVEN, **more})


def test_an_image_that_is_there_is_left_alone(invoke: Invoke, docker: Docker) -> None:
    docker.held = True
    assert bring(invoke, registry="registry.example.com")["changed"] is False
    assert docker.named() == ["login", "manifest"]
    assert "--insecure" not in docker.calls[1]


def test_a_missing_one_is_pushed_and_its_name_removed(invoke: Invoke, docker: Docker) -> None:
    docker.local = False
    result = bring(invoke, registry="control.example.com:5000", insecure=True)
    assert result["changed"] is True
    assert result["registry_image"] == {"name": "trigger/probe:1", "source": "registry:2.8.3"}
    assert docker.named() == ["login", "manifest", "image inspect", "pull", "tag", "push", "image rm"]
    assert docker.calls[-1][-1] == docker.calls[-2][-1] == "control.example.com:5000/trigger/probe:1"
    assert "--insecure" in docker.calls[1]


def test_a_container_that_publishes_nothing_is_reached_from_the_loopback(
    invoke: Invoke, docker: Docker, listening: int
) -> None:
    """Engines trust 127.0.0.0/8 without TLS; behind it are the container's own answers, whole."""
    assert bring(invoke, container="trigger-registry", container_port=listening)["changed"] is True
    registry = docker.calls[1][-1]
    assert registry.startswith("127.0.0.1:")
    assert registry != f"127.0.0.1:{listening}"
    assert docker.seen == [b"x" * 300_000]
    assert docker.calls[-1][-1] == f"{registry}/trigger/probe:1"
    host, _, port = registry.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_failed_push_leaves_no_name_behind(invoke: Invoke, docker: Docker) -> None:
    docker.fails = "push"
    result = bring(invoke, registry="registry.example.com")
    assert "docker push: denied for ***" in result["msg"]
    assert docker.named()[-1] == "image rm"


@pytest.mark.parametrize("step", ["login", "pull", "tag"])
def test_what_docker_says_is_told_without_the_password(invoke: Invoke, docker: Docker, step: str) -> None:
    docker.fails, docker.local = step, False
    result = bring(invoke, registry="registry.example.com")
    assert f"docker {step}: denied for ***" in result["msg"]


@pytest.mark.parametrize("broken", [{"fails": "inspect"}, {"addresses": ()}, {"addresses": ("",)}])
def test_a_registry_that_does_not_run_is_named(invoke: Invoke, docker: Docker, broken: dict[str, Any]) -> None:
    for name, value in broken.items():
        setattr(docker, name, value)
    assert (
        "trigger-registry of the registry does not run on this host"
        in bring(invoke, container="trigger-registry")["msg"]
    )


@pytest.mark.parametrize("given", [{}, {"registry": "a.example.com", "container": "b"}])
def test_there_is_one_way_to_the_registry(invoke: Invoke, docker: Docker, given: dict[str, Any]) -> None:
    assert bring(invoke, **given)["msg"] == "Set either registry or container."


def test_a_dry_run_asks_nobody(invoke: Invoke, docker: Docker) -> None:
    assert bring(invoke, check=True, container="trigger-registry")["changed"] is False
    assert docker.calls == []


@dataclass
class Zstd:
    """A registry that has, or lacks, the image in zstd."""

    held: bool = False
    written: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, *place: str, plain: bool) -> Zstd:
        assert place == ("registry.example.com", "trigger/probe", "trigger", PASSWORD)
        assert not plain
        return self

    def manifest(self, tag: str) -> dict[str, Any] | None:
        assert tag == "1-zstd"
        return {} if self.held else None


@pytest.mark.parametrize(("pushed", "held"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_image_in_zstd_is_written_where_it_lacks(
    invoke: Invoke, docker: Docker, monkeypatch: pytest.MonkeyPatch, pushed: bool, held: bool
) -> None:
    """Also where the other is there already, as after an upgrade or an interrupted run."""
    docker.held, double = pushed, Zstd(held)
    monkeypatch.setattr(module, "Registry", double)
    monkeypatch.setattr(module, "add_zstd_layer", lambda *given: double.written.append(given))
    result = bring(invoke, registry="registry.example.com", zstd_name="trigger/probe:1-zstd")
    assert result["changed"] is not (pushed and held)
    assert double.written == ([] if held else [(double, "1", "1-zstd")])


def test_the_image_in_zstd_is_in_the_same_repository(invoke: Invoke, docker: Docker) -> None:
    result = bring(invoke, registry="registry.example.com", zstd_name="trigger/other:1-zstd")
    assert "differ in the tag only" in result["msg"]
