# SPDX-License-Identifier: MIT
"""The bucket of large payloads, over the S3 API. Its objects are written once, so only new ones are copied."""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from .engine import Engine
from .plan import HERE, SAVED, Advice, read_json, write_json
from .process import BackupError, digest_of
from .sigv4 import Key, headers, path, query_text
from .stores import Facts, Files, Service, Store

FOLDER = "objects"
# Name -> what is kept of it.
INDEX = "objects.json"
BLOCK = 2**20


@dataclass(frozen=True)
class Object:
    name: str
    size: int
    tag: str


class Kept(NamedTuple):
    """What the index has of an object. Without a type it was written before types were kept."""

    size: int
    digest: str
    # The SDK takes from it how a value is written: with another one, tasks get wrong values without an error.
    kind: str | None = None


class Gone(BackupError):
    """An object that the store does not have any more."""


class Bucket:
    """The S3 API of a container."""

    def __init__(self, address: str, name: str, region: str, key: Key) -> None:
        self.connection = http.client.HTTPConnection(address, 9000, timeout=120)
        self.host = f"{address}:9000"
        self.name = name
        self.region = region
        self.key = key

    def request(
        self, method: str, name: str, query: Mapping[str, str], body: bytes, kind: str = ""
    ) -> http.client.HTTPResponse:
        """Send one request. A server closes a connection that was idle: then another one is made."""
        try:
            answer = self._send(method, name, query, body, kind)
        except (OSError, http.client.HTTPException):
            self.connection.close()
            try:
                answer = self._send(method, name, query, body, kind)
            except (OSError, http.client.HTTPException) as error:
                raise BackupError(f"The object store does not answer: {error!r}") from None
        if answer.status >= 300:
            told = received(answer, 400).decode(errors="replace")
            self.connection.close()  # the rest is not read
            refusal = Gone if answer.status == 404 and name else BackupError
            raise refusal(f"The object store refuses {method} {self.name}/{name}: {answer.status} {told}")
        return answer

    def _send(
        self, method: str, name: str, query: Mapping[str, str], body: bytes, kind: str
    ) -> http.client.HTTPResponse:
        target = path(self.name, name)
        signed = headers(self.key, self.region, method, self.host, target, body, datetime.now(timezone.utc), query)
        typed = {"content-type": kind} if kind else {}
        self.connection.request(method, f"{target}?{query_text(query)}" if query else target, body, signed | typed)
        return self.connection.getresponse()

    def objects(self) -> Iterator[Object]:
        """List everything."""
        query = {"list-type": "2"}
        while True:
            page = ElementTree.fromstring(received(self.request("GET", "", query, b"")))
            space = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
            for row in page.iter(f"{space}Contents"):
                name = row.findtext(f"{space}Key", "")
                if not name.endswith("/"):
                    size = int(row.findtext(f"{space}Size", "0"))
                    yield Object(name, size, row.findtext(f"{space}ETag", "").strip('"'))
            following = page.findtext(f"{space}NextContinuationToken", "")
            if not following:
                return
            query = {"list-type": "2", "continuation-token": following}

    def get(self, name: str, file: Path) -> str:
        """Write an object into a file, and give its type."""
        answer = self.request("GET", name, {}, b"")
        with open(file, "wb") as copy:
            for block in iter(lambda: received(answer, BLOCK), b""):
                copy.write(block)
        return kind_of(answer)

    def kind(self, name: str) -> str:
        """Give the type of an object."""
        answer = self.request("HEAD", name, {}, b"")
        received(answer)
        return kind_of(answer)

    def put(self, name: str, content: bytes, kind: str) -> None:
        received(self.request("PUT", name, {}, content, kind))

    def require_gone(self, names: Iterable[str]) -> None:
        """See that objects which could not be read were removed: one that is still listed is lost."""
        wanted = set(names)
        lost = sorted(each.name for each in self.objects() if each.name in wanted) if wanted else []
        if lost:
            raise BackupError(
                f"The object store lists {len(lost)} objects that it does not have, such as {lost[0]}. Its log says "
                "why. Correct that, and start the same playbook or command again."
            )


def received(answer: http.client.HTTPResponse, size: int | None = None) -> bytes:
    """Give what comes of an answer, or a part of it."""
    try:
        return answer.read(size)
    except (OSError, http.client.HTTPException) as error:
        raise BackupError(
            f"The object store has not sent the whole answer: {error!r}. Its log says why. Start the same playbook or "
            "command again."
        ) from None


def kind_of(answer: http.client.HTTPResponse) -> str:
    return answer.getheader("Content-Type", "")


def file_of(folder: Path, name: str) -> Path:
    """Give the file of an object. Tasks choose the names, and not every name can be one of a file."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return folder / digest[:2] / digest


class Objects(Store):
    """The bundled object store."""

    name = "objects"
    staged = (FOLDER, INDEX)

    def __init__(self, engine: Engine, row: Mapping[str, Any], key: Key) -> None:
        self.engine = engine
        self.container: str = row["container"]
        self.bucket: str = row["bucket"]
        self.region: str = row["region"]
        # Makes the bucket where it is missing; `sh` in the container runs it with the name of the bucket.
        self.script: str = row["script"]
        self.key = key
        self.index: dict[str, Kept] = {}
        # Whether copies that are known are taken for what they were: reading all of them takes too long for a point.
        self.trusting = False

    def reach(self, container: str) -> Bucket:
        return Bucket(self.engine.address(container), self.bucket, self.region, self.key)

    def size(self) -> int:
        return sum(each.size for each in self.reach(self.container).objects())

    def copy(self, stage: Path) -> Facts:
        """Bring the copy of the last backup up to date, and write what is in it."""
        folder = stage / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        bucket = self.reach(self.container)
        index: dict[str, Kept] = {}
        gone: list[str] = []
        known = index_of(stage / INDEX) if (stage / INDEX).exists() else {}
        for each in list(bucket.objects()):
            try:
                index[each.name] = self.keep(bucket, each, file_of(folder, each.name), known.get(each.name))
            except Gone:
                gone.append(each.name)
        bucket.require_gone(gone)
        kept = {file_of(folder, name) for name in index}
        for file in [file for file in folder.glob("*/*") if file not in kept]:
            file.unlink()
        write_json(stage / INDEX, index)
        return {"objects": len(index), "bytes": sum(each.size for each in index.values())}

    def keep(self, bucket: Bucket, wanted: Object, file: Path, known: Kept | None) -> Kept:
        """See that a file is the object, and tell what is known of it."""
        digest = known.digest if known and self.trusting and file.is_file() else md5_of(file)
        if same(file, digest, wanted):
            # To ask for the type of each object in each backup would take long.
            told = known.kind if known and known.digest == digest else None
            return Kept(wanted.size, digest, bucket.kind(wanted.name) if told is None else told)
        file.parent.mkdir(exist_ok=True)
        fresh = file.with_suffix(".new")
        kind = bucket.get(wanted.name, fresh)
        digest = md5_of(fresh)
        if not same(fresh, digest, wanted):
            raise BackupError(f"The object {wanted.name} was not read whole. Start the backup again.")
        os.replace(fresh, file)
        return Kept(wanted.size, digest, kind)

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        self.engine.ask(service.container, "sh", "-euc", self.script, "sh", self.bucket, doing="Creating the bucket")
        bucket = self.reach(service.container)
        self.index = index_of(files.stage / INDEX, SAVED)
        require_files(files.stage / FOLDER, self.index)
        there = {each.name: each for each in bucket.objects()}
        for name, each in self.index.items():
            if name not in there or not fits(there[name], each.size, each.digest):
                bucket.put(name, file_of(files.stage / FOLDER, name).read_bytes(), each.kind or "")

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        there = {each.name: each for each in self.reach(service.container).objects()}
        wrong = [
            f"the object {name} is missing or differs"
            for name, each in self.index.items()
            if name not in there or not fits(there[name], each.size, each.digest)
        ]
        found = len(self.index)
        return wrong + ([f"{found} objects instead of {facts['objects']}"] if found != facts["objects"] else [])


def index_of(path: Path, advice: Advice = HERE) -> dict[str, Kept]:
    """Read an index."""
    return {name: Kept(*row) for name, row in read_json(path, advice).items()}


def require_files(folder: Path, index: Mapping[str, Any]) -> None:
    """Refuse a copy that lacks objects of its list, before any is put."""
    lost = [name for name in index if not file_of(folder, name).is_file()]
    if lost:
        raise BackupError(
            f"What was saved of the bucket is not complete: {len(lost)} of {len(index)} objects are missing, such as "
            f"{lost[0]}. Restore another backup (playbook backup_list)."
        )


def same(file: Path, digest: str, wanted: Object) -> bool:
    """Tell whether a file is the object."""
    return file.is_file() and fits(wanted, file.stat().st_size, digest)


def fits(wanted: Object, size: int, digest: str) -> bool:
    """Compare sizes, and the tag where it is an MD5: that of an object that came in parts is none."""
    return size == wanted.size and ("-" in wanted.tag or digest == wanted.tag)


def md5_of(file: Path) -> str:
    """Give the MD5 of a file, nothing if it is missing."""
    return digest_of("md5", file) if file.is_file() else ""
