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
from .process import BackupError
from .sigv4 import Key, headers, path, query_text
from .stores import Facts, Files, Service, differences

FOLDER = "objects"
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
        target = path(self.name, name)
        signed = headers(self.key, self.region, method, self.host, target, body, datetime.now(timezone.utc), query)
        try:
            self.connection.request(method, f"{target}?{query_text(query)}" if query else target, body, signed)
            answer = self.connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise BackupError(f"The object store does not answer: {error!r}") from None
        if answer.status >= 300:
            told = answer.read(400).decode(errors="replace")
            raise BackupError(f"The object store refuses {method} {self.name}/{name}: {answer.status} {told}")
        return answer

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


def inside(folder: Path, name: str) -> Path:
    """Give the file of an object. Names that would lead out of the folder are none that the webapp gives."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise BackupError(f"The object {name!r} has a name that no file can have.")
    return folder / name


class Objects:
    """The bundled object store."""

    name = "objects"

    def __init__(self, engine: Engine, row: Mapping[str, Any], key: Key) -> None:
        self.engine = engine
        self.container: str = row["container"]
        self.bucket: str = row["bucket"]
        self.region: str = row["region"]
        # Makes the bucket where it is missing; `sh` in the container runs it with the name of the bucket.
        self.script: str = row["script"]
        self.key = key

    def reach(self, container: str) -> Bucket:
        return Bucket(self.engine.address(container), self.bucket, self.region, self.key)

    def size(self) -> int:
        return sum(each.size for each in self.reach(self.container).objects())

    def snapshot(self) -> None:
        """What a run stores meanwhile does not hurt."""

    def copy(self, stage: Path) -> Facts:
        """Bring the copy of the last backup up to date."""
        folder = stage / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        bucket = self.reach(self.container)
        found = {each.name: each for each in bucket.objects()}
        for each in found.values():
            file = inside(folder, each.name)
            if not same(file, each):
                file.parent.mkdir(parents=True, exist_ok=True)
                fresh = file.with_name(f".{file.name}.new")
                bucket.get(each.name, fresh)
                os.replace(fresh, file)
        for file in list(files_of(folder)):
            if file.relative_to(folder).as_posix() not in found:
                file.unlink()
        sizes = [each.size for each in found.values()]
        return {"objects": len(sizes), "bytes": sum(sizes), "tags": {each.name: each.tag for each in found.values()}}

    def release(self) -> None:
        """The copy stays for the next backup."""

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        self.engine.ask(service.container, "sh", "-euc", self.script, "sh", self.bucket, doing="Creating the bucket")
        bucket = self.reach(service.container)
        folder = files.stage / FOLDER
        there = {each.name: each for each in bucket.objects()}
        for file in files_of(folder):
            name = file.relative_to(folder).as_posix()
            if name not in there or not same(file, there[name]):
                bucket.put(name, file.read_bytes())

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        found = {each.name: each.tag for each in self.reach(service.container).objects()}
        return differences("object", facts["tags"], found)


def files_of(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def same(file: Path, wanted: Object) -> bool:
    """Tell whether a file is the object: by its MD5 where the tag is one, else by its size."""
    if not file.is_file() or file.stat().st_size != wanted.size:
        return False
    if "-" in wanted.tag:  # of an object that came in parts
        return True
    digest = hashlib.md5(usedforsecurity=False)
    with open(file, "rb") as content:
        for block in iter(lambda: content.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest() == wanted.tag
