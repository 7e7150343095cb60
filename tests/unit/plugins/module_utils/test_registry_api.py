# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _registry_api as api
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError

PASSWORD = "p@ss word"
BASIC = "Basic " + base64.b64encode(f"trigger:{PASSWORD}".encode()).decode()
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """A registry as strict as the genuine one: it refuses a manifest whose blobs it lacks, and a wrong digest."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tokens = self.elsewhere = False
        self.answer: tuple[int, bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def image(self, tag: str) -> dict[str, Any]:
        """Hold an image as the engine pushes it."""
        content = gzip.compress(b"layer")
        config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest_of(b"layer")]}}).encode()
        for blob in (content, config):
            self.blobs[digest_of(blob)] = blob
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest_of(config)},
            "layers": [{"mediaType": GZIP, "size": len(content), "digest": digest_of(content)}],
        }
        self.manifests[tag] = self.manifests[digest_of(json.dumps(manifest).encode())] = json.dumps(manifest).encode()
        return manifest


class Handler(BaseHTTPRequestHandler):
    server: Server

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> None:
        server, parts = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = parse_qs(parts.query)
        if parts.path == "/token":
            assert query == {"service": ["lab"], "scope": ["repository:trigger/probe:pull,push"]}
            return self.say(200 if self.headers["Authorization"] == BASIC else 401, b'{"token": "t0ken"}')
        if parts.path.startswith("/store/"):
            assert "Authorization" not in self.headers, "the login of the registry went to somebody else"
            return self.say(200, server.blobs[parts.path.rpartition("/")[2]])
        if self.headers["Authorization"] != ("Bearer t0ken" if server.tokens else BASIC):
            realm = f'Bearer realm="http://{server.host}/token",service="lab"' if server.tokens else "Basic realm=x"
            return self.say(401, WWW_Authenticate=realm)
        if server.answer:
            return self.say(*server.answer)
        base, _, name = parts.path.rpartition("/")
        if base == "/v2/trigger/probe/manifests":
            return self.manifest(name, body)
        if self.command == "POST":
            return self.say(202, Location=f"http://{server.host}{parts.path}one?state=x")
        if self.command == "PUT":
            assert query["state"] == ["x"]
            if query["digest"] != [digest_of(body)]:
                return self.say(400)
            server.blobs[digest_of(body)] = body
            return self.say(201)
        if server.elsewhere:
            return self.say(307, Location=f"http://{server.host}/store/{name}")
        return self.say(200, server.blobs[name])

    def manifest(self, name: str, body: bytes) -> None:
        held = self.server.manifests
        if self.command == "GET":
            return self.say(200, held[name]) if name in held else self.say(404)
        read = json.loads(body)
        needed = [read["config"], *read["layers"]] if "config" in read else read["manifests"]
        there = self.server.blobs if "config" in read else held
        if self.headers["Content-Type"] != read["mediaType"] or any(each["digest"] not in there for each in needed):
            return self.say(400)
        held[name] = held[digest_of(body)] = body
        return self.say(201)

    do_GET = do_PUT = do_POST = answer

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def registry(server: Server, password: str = PASSWORD) -> api.Registry:
    return api.Registry(server.host, "trigger/probe", "trigger", password, plain=True)


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_image_gets_a_layer_in_zstd(server: Server, tokens: bool, elsewhere: bool) -> None:
    old = server.image("1")
    server.tokens, server.elsewhere = tokens, elsewhere
    api.add_zstd_layer(registry(server), "1", "1-zstd")
    new = json.loads(server.manifests["1-zstd"])
    kinds = [new["mediaType"], new["config"]["mediaType"], *(each["mediaType"] for each in new["layers"])]
    assert kinds == [api.MANIFEST, api.CONFIG, f"{api.LAYER}+gzip", f"{api.LAYER}+zstd"]
    assert new["layers"][0]["digest"] == old["layers"][0]["digest"]
    config = json.loads(server.blobs[new["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [digest_of(b"layer"), digest_of(api.layer())]
    assert json.loads(server.manifests["1"]) == old


def test_a_second_time_makes_the_same_image(server: Server) -> None:
    server.image("1")
    for tag in ("a", "b"):
        api.add_zstd_layer(registry(server), "1", tag)
    assert server.manifests["a"] == server.manifests["b"]


def test_of_an_index_each_platform_that_was_pushed_gets_one(server: Server) -> None:
    digest = digest_of(json.dumps(server.image("image")).encode())
    platforms = [("linux", digest), ("linux", "sha256:" + 64 * "0"), ("unknown", digest)]
    entries = [{"digest": each, "platform": {"os": name, "architecture": "amd64"}} for name, each in platforms]
    index = {"schemaVersion": 2, "mediaType": api.DOCKER_INDEX, "manifests": entries}
    server.manifests["1"] = json.dumps(index).encode()
    api.add_zstd_layer(registry(server), "1", "1-zstd")
    (entry,) = json.loads(server.manifests["1-zstd"])["manifests"]
    assert entry["platform"] == {"os": "linux", "architecture": "amd64"}
    assert json.loads(server.manifests[entry["digest"]])["layers"][-1]["mediaType"].endswith("+zstd")


def test_the_frame_is_one_of_zstd() -> None:
    """Size in two bytes less 256, one last raw block: the program zstd was seen to read this."""
    content = b"x" * 300
    assert api.zstd(content) == bytes.fromhex("28b52ffd602c00610900") + content


def test_the_layer_holds_one_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(api.layer())) as archive:
        assert archive.getnames() == ["trigger-probe"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [((500, b""), "does not give a manifest: HTTP 500"), ((200, b"<html>"), "something else"), ((200, b"[]"), "JSON")],
)
def test_what_the_registry_refuses_is_told(server: Server, answer: tuple[int, bytes], words: str) -> None:
    server.answer = answer
    with pytest.raises(ServiceError, match=words):
        registry(server).manifest("1")


@pytest.mark.parametrize("tokens", [False, True])
def test_a_refused_login_is_told_without_the_password(server: Server, tokens: bool) -> None:
    server.tokens = tokens
    with pytest.raises(ServiceError, match="HTTP 401") as error:
        registry(server, "wrong password").manifest("1")
    assert "wrong" not in str(error.value)


def test_a_source_that_is_not_there_is_told(server: Server) -> None:
    with pytest.raises(ServiceError, match="no image of the tag 1"):
        api.add_zstd_layer(registry(server), "1", "1-zstd")
