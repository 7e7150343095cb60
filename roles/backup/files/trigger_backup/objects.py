# SPDX-License-Identifier: MIT
"""The bucket of large payloads, over the S3 API. Its objects are written once, so only new ones are copied."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .engine import Engine
from .plan import read_json, write_json
from .process import BackupError, digest_of
from .sigv4 import Key, headers, path, query_text
from .stores import Facts, Files, Service, Store

FOLDER = "objects"
# Name -> size and MD5 of each.
INDEX = "objects.json"
BLOCK = 2**20


@dataclass(frozen=True)
class Object:
    name: str
    size: int
    tag: str


class Bucket:
    """The S3 API of a container."""

    def __init__(self, address: str, name: str, region: str, key: Key) -> None:
        self.connection = http.client.HTTPConnection(address, 9000, timeout=120)
        self.host = f"{address}:9000"
        self.name = name
        self.region = region
        self.key = key

    def request(self, method: str, name: str, query: Mapping[str, str], body: bytes) -> http.client.HTTPResponse:
        """Send one request. A server closes a connection that was idle: then another one is made."""
        try:
            answer = self._send(method, name, query, body)
        except (OSError, http.client.HTTPException):
            self.connection.close()
            try:
                answer = self._send(method, name, query, body)
            except (OSError, http.client.HTTPException) as error:
                raise BackupError(f"The object store does not answer: {error!r}") from None
        if answer.status >= 300:
            told = answer.read(400).decode(errors="replace")
            raise BackupError(f"The object store refuses {method} {self.name}/{name}: {answer.status} {told}")
        return answer

    def _send(self, method: str, name: str, query: Mapping[str, str], body: bytes) -> http.client.HTTPResponse:
        target = path(self.name, name)
        signed = headers(self.key, self.region, method, self.host, target, body, datetime.now(timezone.utc), query)
        self.connection.request(method, f"{target}?{query_text(query)}" if query else target, body, signed)
        return self.connection.getresponse()

    def objects(self) -> Iterator[Object]:
        """List everything."""
        query = {"list-type": "2"}
        while True:
            page = ElementTree.fromstring(self.request("GET", "", query, b"").read())
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

    def get(self, name: str, file: Path) -> None:
        answer = self.request("GET", name, {}, b"")
        with open(file, "wb") as copy:
            shutil.copyfileobj(answer, copy, BLOCK)

    def put(self, name: str, content: bytes) -> None:
        self.request("PUT", name, {}, content).read()


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
        self.index: dict[str, Any] = {}
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
        index: dict[str, list[Any]] = {}
        known = read_json(stage / INDEX) if self.trusting and (stage / INDEX).exists() else {}
        for each in list(bucket.objects()):
            file = file_of(folder, each.name)
            digest = known[each.name][1] if each.name in known and file.is_file() else md5_of(file)
            if not same(file, digest, each):
                file.parent.mkdir(exist_ok=True)
                fresh = file.with_suffix(".new")
                bucket.get(each.name, fresh)
                digest = md5_of(fresh)
                if not same(fresh, digest, each):
                    raise BackupError(f"The object {each.name} was not read whole. Start the backup again.")
                os.replace(fresh, file)
            index[each.name] = [each.size, digest]
        kept = {file_of(folder, name) for name in index}
        for file in [file for file in folder.glob("*/*") if file not in kept]:
            file.unlink()
        write_json(stage / INDEX, index)
        return {"objects": len(index), "bytes": sum(size for size, _ in index.values())}

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        self.engine.ask(service.container, "sh", "-euc", self.script, "sh", self.bucket, doing="Creating the bucket")
        bucket = self.reach(service.container)
        self.index = read_json(files.stage / INDEX)
        require_files(files.stage / FOLDER, self.index)
        there = {each.name: each for each in bucket.objects()}
        for name, (size, digest) in self.index.items():
            if name not in there or not fits(there[name], size, digest):
                bucket.put(name, file_of(files.stage / FOLDER, name).read_bytes())

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        there = {each.name: each for each in self.reach(service.container).objects()}
        wrong = [
            f"the object {name} is missing or differs"
            for name, (size, digest) in self.index.items()
            if name not in there or not fits(there[name], size, digest)
        ]
        found = len(self.index)
        return wrong + ([f"{found} objects instead of {facts['objects']}"] if found != facts["objects"] else [])


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
