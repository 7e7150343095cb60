# SPDX-License-Identifier: MIT
"""A bucket behind the S3 API, as far as backups need that. A test can make it misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Store:
    """What the bucket has."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        # Name -> the type that the object was put with.
        self.kinds: dict[str, str] = {}
        self.keys: set[str] = set()
        self.url = ""
        # What a test has opened to it.
        self.closing = ExitStack()
        # Method and name of each request.
        self.asked: list[tuple[str, str]] = []
        # Names that are listed, and not found.
        self.lost: set[str] = set()
        # What happens before a request is answered; true: it is refused.
        self.before: Callable[[str, str], object] = lambda _method, _name: None
        self.tag: Callable[[bytes], str] = lambda content: hashlib.md5(content, usedforsecurity=False).hexdigest()

    def listing(self) -> str:
        rows = "".join(
            f'<Contents><Key>{name}</Key><Size>{len(content)}</Size><ETag>"{self.tag(content)}"</ETag></Contents>'
            for name, content in sorted(self.objects.items())
        )
        return f'<ListBucketResult xmlns="{SPACE}">{rows}</ListBucketResult>'


@contextmanager
def serving() -> Iterator[Store]:
    store = Store()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = unquote(urlsplit(self.path).path).partition("/packets/")[2]
            store.keys.add(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
            store.asked.append((self.command, name))
            refused = store.before(self.command, name) is True
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind = 200, ""
            if refused:
                status, answer = 503, b"<Code>SlowDown</Code>"
            elif self.command == "PUT":
                store.objects[name] = body
                store.kinds[name] = self.headers.get("Content-Type", "")
                answer = b""
            elif name and (name not in store.objects or name in store.lost):
                status, answer = 404, b"<Code>NoSuchKey</Code>"
            else:
                answer = store.objects[name] if name else store.listing().encode()
                kind = store.kinds.get(name, "")
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if kind:
                self.send_header("Content-Type", kind)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        do_PUT = do_HEAD = do_GET

        def log_message(self, *_given: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with store.closing:
            yield store
    finally:
        server.shutdown()
        server.server_close()
