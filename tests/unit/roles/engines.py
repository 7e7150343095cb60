# SPDX-License-Identifier: MIT
"""An engine and a registry in threads, which note what they are asked for. The engine refuses as the real one does."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.unit.roles.programs import load

NOW = 1_795_600_000.0
DAY = 86400.0
NEVER = "0001-01-01T00:00:00Z"
PREFIX = "control.lab:5000/trigger"

Answer = tuple[int, Any, dict[str, str]]


def program() -> Any:
    """The program as a module."""
    return load("task_images/files/task_images.py")


def stamp(moment: float) -> str:
    """A time as the engine writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + ".123456789Z"


@dataclass
class Image:
    tags: list[str]
    digests: list[str] = field(default_factory=list)
    size: int = 100
    tagged: str = NEVER


@dataclass
class Container:
    name: str
    state: str = "running"
    network: str = "trigger-runner"
    image: str = ""
    image_id: str = ""
    created: float = NOW - DAY
    ended: float | None = None


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Engine:
    """The Engine API as far as the program uses it."""

    images: dict[str, Image] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    # What an image or container was used for, its kind, and when.
    events: list[tuple[str, str, float]] = field(default_factory=list)
    # Reference -> what a pull of it streams after a 200.
    streams: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # Start of a request -> its answer.
    answers: dict[str, Answer] = field(default_factory=dict)
    # Called before each removal.
    meanwhile: Callable[[str], None] = lambda path: None
    pulled_size: int = 100
    requests: list[Request] = field(default_factory=list)
    socket: str = ""

    def used(self) -> int:
        return sum(image.size for image in self.images.values())

    def changes(self) -> list[str]:
        return [str(each) for each in self.requests if each.method != "GET"]

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        assert "force" not in request.query, "force removes what is in use"
        if request.method == "DELETE":
            self.meanwhile(request.path)
        for start, answer in self.answers.items():
            if str(request).startswith(start):
                return answer
        kind, _, name = request.path[1:].partition("/")
        if request.method == "DELETE":
            return self.remove_container(name) if kind == "containers" else self.untag(name)
        if str(request) == "POST /images/create":
            return self.pull(request)
        return 200, self.read(kind, name, request), {}

    def read(self, kind: str, name: str, request: Request) -> Any:
        if kind == "info":
            return {"DockerRootDir": "/somewhere"}
        if kind == "version":
            return {"Os": "linux", "Arch": "amd64"}
        if kind == "events":
            assert json.loads(request.query["filters"]) == {
                "type": ["container", "image"],
                "event": ["create", "start", "pull", "tag"],
            }
            since, until = float(request.query["since"]), float(request.query["until"])
            assert since <= until, "the real one answers 400"
            return [self.event(*each) for each in self.events if since <= each[2] <= until]
        if name == "json":
            return self.listed(kind, request)
        one = name.removesuffix("/json")
        if kind == "images":
            return {"Id": one, "Metadata": {"LastTagTime": self.images[one].tagged}}
        row = self.containers[one]
        state = {
            "Status": row.state,
            "StartedAt": stamp(row.created) if row.ended else NEVER,
            "FinishedAt": stamp(row.ended) if row.ended else NEVER,
        }
        host = {"NetworkMode": row.network}
        return {"Id": one, "Name": f"/{row.name}", "Created": stamp(row.created), "State": state, "HostConfig": host}

    def listed(self, kind: str, request: Request) -> list[dict[str, Any]]:
        if kind == "images":
            return [
                {"Id": name, "RepoTags": row.tags or ["<none>:<none>"], "RepoDigests": row.digests, "Size": row.size}
                for name, row in self.images.items()
            ]
        assert request.query == {"all": "1"}, "containers that do not run have images as well"
        return [
            {"Id": name, "Names": [f"/{row.name}"], "State": row.state, "Image": row.image, "ImageID": row.image_id}
            for name, row in self.containers.items()
        ]

    @staticmethod
    def event(kind: str, reference: str, moment: float) -> dict[str, Any]:
        if kind == "image":
            return {"Actor": {"ID": reference, "Attributes": {"name": reference}}, "time": int(moment)}
        return {"Actor": {"ID": "c" * 64, "Attributes": {"image": reference}}, "time": int(moment)}

    def remove_container(self, name: str) -> Answer:
        if self.containers[name].state in ("running", "paused", "restarting"):
            return 409, {"message": "stop it first"}, {}
        del self.containers[name]
        return 204, "", {}

    def untag(self, reference: str) -> Answer:
        reference = unquote(reference)
        for name, image in self.images.items():
            if reference not in image.tags + image.digests:
                continue
            last = reference in image.digests or image.tags == [reference]
            if last and any(name == each.image_id for each in self.containers.values()):
                return 409, {"message": "image is being used"}, {}
            if last:
                del self.images[name]
            else:
                image.tags.remove(reference)
            return 200, [{"Untagged": reference}], {}
        return 404, {"message": "No such image"}, {}

    def pull(self, request: Request) -> Answer:
        reference = f"{request.query['fromImage']}:{request.query['tag']}"
        steps = self.streams.get(reference, [{"status": "Pulling"}, {"status": "Downloaded"}])
        if not any("error" in each or "errorDetail" in each for each in steps):
            self.images[f"sha256:{reference}"] = Image([reference], size=self.pulled_size)
        return 200, steps, {}

    @contextmanager
    def serving(self, path: str) -> Iterator[None]:
        self.socket = path
        with serving(Local(path, handler(self))):
            yield


@dataclass
class Registry:
    """The registry's API, with the sizes of its images."""

    # Repository -> tag -> size of its only layer.
    images: dict[str, dict[str, int]] = field(default_factory=dict)
    login: tuple[str, str] | None = ("trigger", "secret")
    page: int = 1000
    # Path -> its answer.
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        given = request.headers.get("authorization", "")
        wanted = "Basic " + base64.b64encode(":".join(self.login).encode()).decode() if self.login else ""
        if given != wanted:
            return 401, {"errors": [{"code": "UNAUTHORIZED"}]}, {}
        if request.path in self.answers:
            return self.answers[request.path]
        name, _, rest = request.path.removeprefix("/v2/").rpartition("/tags/")
        if request.path == "/v2/_catalog":
            return self.paged(request, "repositories", list(self.images))
        if rest == "list":
            return self.paged(request, "tags", list(self.images[name]))
        name, _, tag = request.path.removeprefix("/v2/").rpartition("/manifests/")
        if tag not in self.images.get(name, {}):
            return 404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]}, {}
        return 200, {"config": {"size": 1}, "layers": [{"size": self.images[name][tag] - 1}]}, {}

    def paged(self, request: Request, key: str, rows: list[str]) -> Answer:
        start = rows.index(request.query["last"]) + 1 if "last" in request.query else 0
        part = rows[start : start + self.page]
        more = start + self.page < len(rows)
        # The registry knows itself by another name than we call it.
        link = f'<http://registry.invalid{request.path}?last={part[-1]}&n={self.page}>; rel="next"' if more else ""
        return 200, {key: part or None}, {"Link": link} if more else {}


class Local(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Remote(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True


def handler(answer: Callable[[Request], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body, more = answer(Request(self.command, parts.path, query, headers))
            # Events and the progress of a pull come as a stream of objects.
            stream = parts.path in ("/events", "/images/create") and status == 200
            text = "".join(f"{json.dumps(each)}\r\n" for each in body) if stream else json.dumps(body)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            if status != 204:
                self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = handle_one

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    return Handler


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
