# SPDX-License-Identifier: MIT
"""Large payloads and outputs in the bucket `packets`, by the presigned addresses that runners get too."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from doubles.authorities import trusted
from doubles.sigv4 import Key, presign
from doubles.webapp.ids import random_text
from doubles.webapp.log import log

# Fixed in the original: no variable changes the name.
BUCKET = "packets"
LIFE_SECONDS = 300


@dataclass(frozen=True)
class ObjectStore:
    origin: str
    key: Key
    region: str
    trust: ssl.SSLContext

    def session(self) -> ClientSession:
        return ClientSession(connector=TCPConnector(ssl=self.trust), timeout=ClientTimeout(total=10))

    def presigned(self, method: str, name: str) -> str:
        """The base address gives scheme and host only; its path is overwritten."""
        url = f"{self.origin}/{BUCKET}/{quote(name, safe='/')}"
        return presign(self.key, method, url, LIFE_SECONDS, datetime.now(UTC), self.region)


def object_store(environment: Mapping[str, str]) -> ObjectStore | None:
    base = environment.get("OBJECT_STORE_BASE_URL", "")
    access = environment.get("OBJECT_STORE_ACCESS_KEY_ID", "")
    secret = environment.get("OBJECT_STORE_SECRET_ACCESS_KEY", "")
    if not (base and access and secret):
        return None
    parts = urlsplit(base)
    region = environment.get("OBJECT_STORE_REGION") or "us-east-1"
    return ObjectStore(f"{parts.scheme}://{parts.netloc}", Key(access, secret), region, trusted(environment))


async def upload(session: ClientSession, store: ObjectStore, name: str, body: bytes) -> None:
    async with session.put(store.presigned("PUT", name), data=body) as answer:
        if answer.status != 200:
            raise ClientError(f"PUT {answer.status}: {(await answer.text())[:300]}")


async def download(session: ClientSession, store: ObjectStore, name: str) -> bytes:
    async with session.get(store.presigned("GET", name)) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise ClientError(f"GET {answer.status}: {body[:300].decode(errors='replace')}")
        return body


async def prove(store: ObjectStore, tries: int = 60) -> None:
    """Put and get one object by the public address. The bucket may come after the webapp, so this asks for a while."""
    content, failure = random_text(32).encode(), ""
    async with store.session() as session:
        for _ in range(tries):
            try:
                await upload(session, store, "self-test", content)
                if await download(session, store, "self-test") == content:
                    log("info", "[objectStore] put and get succeeded", bucket=BUCKET, origin=store.origin)
                    return
                failure = "another object came back"
            except (ClientError, TimeoutError) as problem:
                failure = str(problem)
            await asyncio.sleep(5)
    log("error", "[objectStore] put and get failed", bucket=BUCKET, origin=store.origin, error=failure)
