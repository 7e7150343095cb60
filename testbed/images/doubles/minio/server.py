# SPDX-License-Identifier: MIT
"""An S3 server with MinIO's command line, environment, health endpoints and error answers."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from doubles.sigv4 import Key, Request, SignatureError, access_of, verify

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
DATA, META = "part.1", "meta.json"
ADMIN = "/minio/admin/v3/"
# Right that each call needs, by what it is about and its method.
ACTIONS = {
    "bucket": {"GET": "s3:ListBucket", "HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"},
    "object": {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"},
}


class CredentialError(Exception):
    pass


def key_from_environment(environment: Mapping[str, str]) -> Key:
    """MinIO's own length rules; both variables unset means its published default."""
    user, password = environment.get("MINIO_ROOT_USER"), environment.get("MINIO_ROOT_PASSWORD")
    if user is None and password is None:
        return Key("minioadmin", "minioadmin")
    if not user or not password:
        raise CredentialError("Missing credential, set both MINIO_ROOT_USER and MINIO_ROOT_PASSWORD")
    if len(user) < 3:
        raise CredentialError("MINIO_ROOT_USER length should be at least 3 characters")
    if len(password) < 8:
        raise CredentialError("MINIO_ROOT_PASSWORD length should be at least 8 characters")
    return Key(user, password)


class S3Error(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def split_path(path: str) -> tuple[str, str]:
    """Bucket and key of a path-style request, decoded; a key must not leave its bucket's folder."""
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if any(part in ("", ".", "..") for part in key.split("/")) and key:
        raise S3Error(400, "XMinioInvalidObjectName", "Object name contains unsupported characters.")
    return bucket, key


class Store:
    """A folder per bucket and, as MinIO has it, a folder per object."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def buckets(self) -> list[str]:
        return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and BUCKET.match(entry.name))

    def bucket(self, name: str) -> Path:
        folder = self.root / name
        if not BUCKET.match(name) or not folder.is_dir():
            raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist")
        return folder

    def make_bucket(self, name: str) -> None:
        if not BUCKET.match(name):
            raise S3Error(400, "InvalidBucketName", "The specified bucket is not valid.")
        try:
            (self.root / name).mkdir()
        except FileExistsError:
            raise S3Error(
                409,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            ) from None

    def remove_bucket(self, name: str) -> None:
        folder = self.bucket(name)
        if next(self.keys(name), None) is not None:
            raise S3Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
        shutil.rmtree(folder)

    def keys(self, bucket: str) -> Iterator[str]:
        folder = self.bucket(bucket)
        for meta in sorted(folder.rglob(META)):
            yield meta.parent.relative_to(folder).as_posix()

    def put(self, bucket: str, key: str, body: bytes, content_type: str) -> str:
        folder = self.bucket(bucket) / key
        folder.mkdir(parents=True, exist_ok=True)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        (folder / DATA).write_bytes(body)
        (folder / META).write_text(json.dumps({"etag": etag, "type": content_type, "size": len(body)}))
        return etag

    def meta(self, bucket: str, key: str) -> dict[str, str | int]:
        try:
            found: dict[str, str | int] = json.loads((self.bucket(bucket) / key / META).read_text())
        except OSError:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.") from None
        return found

    def get(self, bucket: str, key: str) -> bytes:
        self.meta(bucket, key)
        return (self.bucket(bucket) / key / DATA).read_bytes()

    def delete(self, bucket: str, key: str) -> None:
        folder = self.bucket(bucket) / key
        for name in (META, DATA):
            (folder / name).unlink(missing_ok=True)


class Users:
    """Users beside root, each with the policies that are attached to it. They survive a restart, as in MinIO."""

    def __init__(self, root: Key, folder: Path) -> None:
        self.root = root
        self.file = folder / ".minio.sys" / "iam.json"
        self.policies: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, Any]] = {}
        if self.file.exists():
            stored = json.loads(self.file.read_text())
            self.policies, self.users = stored["policies"], stored["users"]

    def save(self) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(json.dumps({"policies": self.policies, "users": self.users}))

    def key(self, access: str) -> Key:
        """Give the key of an access key id; an unknown one cannot match root's and is refused with it."""
        user = self.users.get(access)
        return Key(access, user["secret"]) if user else self.root

    def add(self, access: str, secret: str) -> None:
        if access == self.root.access:
            raise S3Error(
                400, "XMinioAdminAddUserInvalidArgument", "User is not allowed to be same as admin access key"
            )
        if len(access) < 3 or set(access) & set("=,"):
            raise S3Error(400, "XMinioAdminInvalidAccessKey", "The access key is invalid.")
        if len(secret) < 8:
            raise S3Error(400, "XMinioAdminInvalidSecretKey", "The secret key is invalid.")
        self.users[access] = {"secret": secret, "policies": self.users.get(access, {}).get("policies", [])}
        self.save()

    def require(self, access: str) -> None:
        if access not in self.users:
            raise S3Error(404, "XMinioAdminNoSuchUser", "The specified user does not exist.")

    def remove(self, access: str) -> None:
        self.require(access)
        del self.users[access]
        self.save()

    def create_policy(self, name: str, policy: dict[str, Any]) -> None:
        statements = policy.get("Statement", [])
        if policy.get("Version") != "2012-10-17" or not statements:
            raise S3Error(400, "XMinioMalformedIAMPolicy", "Policy has invalid resource or version.")
        for statement in statements:
            if statement.get("Effect") not in ("Allow", "Deny") or not statement.get("Action"):
                raise S3Error(400, "XMinioMalformedIAMPolicy", "Policy has an invalid statement.")
            if any(not re.match(r"arn:aws:s3:::.", resource) for resource in statement.get("Resource", [""])):
                raise S3Error(400, "XMinioMalformedIAMPolicy", "Policy has an invalid resource.")
        self.policies[name] = policy
        self.save()

    def attach(self, access: str, name: str, attached: bool) -> None:
        if name not in self.policies:
            raise S3Error(404, "XMinioAdminNoSuchPolicy", "The canned policy does not exist.")
        self.require(access)
        policies = self.users[access]["policies"]
        if (name in policies) == attached:
            raise S3Error(
                400, "XMinioAdminPolicyChangeAlreadyApplied", "The specified policy change is already in effect."
            )
        if attached:
            policies.append(name)
        else:
            policies.remove(name)
        self.save()

    def authorize(self, access: str, action: str, resource: str) -> None:
        """Raise unless a policy of the user allows it and none denies it; root may do everything."""
        if access == self.root.access:
            return
        effects = {
            statement["Effect"]
            for name in self.users[access]["policies"]
            for statement in self.policies[name]["Statement"]
            if any(fnmatchcase(action, pattern) for pattern in statement["Action"])
            and any(fnmatchcase(f"arn:aws:s3:::{resource}", pattern) for pattern in statement["Resource"])
        }
        if effects != {"Allow"}:
            raise S3Error(403, "AccessDenied", "Access Denied.")


def modified(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Server:
    def __init__(self, store: Store, users: Users) -> None:
        self.store = store
        self.users = users

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path.startswith("/minio/health/"):
            return web.Response(status=200 if path.split("/")[-1] in ("live", "ready", "cluster") else 404)
        body = await request.read()
        try:
            signed = Request(request.method, request.raw_path, request.headers)
            access = access_of(signed)
            verify(self.users.key(access), signed, body, datetime.now(UTC))
            if path.startswith("/minio/"):
                return self.administrate(access, path.removeprefix(ADMIN), body)
            bucket, key = split_path(path)
            self.users.authorize(access, self.action(request, bucket, key), f"{bucket}/{key}" if key else bucket)
            return self.answer(request, bucket, key, body)
        except (SignatureError, S3Error) as failure:
            text = (
                f"{XML}<Error><Code>{failure.code}</Code><Message>{escape(failure.message)}</Message>"
                f"<Resource>{escape(path)}</Resource></Error>"
            )
            return web.Response(status=failure.status, text=text, content_type="application/xml")

    @staticmethod
    def action(request: web.Request, bucket: str, key: str) -> str:
        if not bucket:
            return "s3:ListAllMyBuckets"
        if not key and request.method == "GET" and "location" in request.query:
            return "s3:GetBucketLocation"
        return ACTIONS["object" if key else "bucket"].get(request.method, "s3:*")

    def administrate(self, access: str, call: str, body: bytes) -> web.Response:
        """The calls of `mc admin`, in a form of our own: the real one's bodies are encrypted with root's key."""
        if access != self.users.root.access:
            raise S3Error(403, "AccessDenied", "Access Denied.")
        given = json.loads(body)
        if call == "add-user":
            self.users.add(given["accessKey"], given["secretKey"])
        elif call == "user-info":
            self.users.require(given["accessKey"])
        elif call == "remove-user":
            self.users.remove(given["accessKey"])
        elif call == "add-canned-policy":
            self.users.create_policy(given["name"], given["policy"])
        elif call in ("attach", "detach"):
            self.users.attach(given["user"], given["policy"], call == "attach")
        else:
            raise S3Error(404, "XMinioAdminUnknown", "There is no such call.")
        return web.Response()

    def answer(self, request: web.Request, bucket: str, key: str, body: bytes) -> web.Response:
        store, method = self.store, request.method
        if not bucket and method == "GET":
            entries = "".join(
                f"<Bucket><Name>{name}</Name><CreationDate>{modified(store.root / name)}</CreationDate></Bucket>"
                for name in store.buckets()
            )
            name = "ListAllMyBucketsResult"
            return self.xml(f"<{name} {NAMESPACE}><Buckets>{entries}</Buckets></{name}>")
        if bucket and not key:
            return self.on_bucket(request, bucket)
        if bucket and method == "PUT":
            etag = store.put(bucket, key, body, request.headers.get("Content-Type", "binary/octet-stream"))
            return web.Response(headers={"ETag": f'"{etag}"'})
        if bucket and method in ("GET", "HEAD"):
            meta = store.meta(bucket, key)
            headers = {"ETag": f'"{meta["etag"]}"', "Content-Type": str(meta["type"])}
            if method == "HEAD":
                return web.Response(headers={**headers, "Content-Length": str(meta["size"])})
            return web.Response(body=store.get(bucket, key), headers=headers)
        if bucket and method == "DELETE":
            store.bucket(bucket)
            store.delete(bucket, key)
            return web.Response(status=204)
        raise S3Error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")

    def on_bucket(self, request: web.Request, bucket: str) -> web.Response:
        store, method = self.store, request.method
        if method == "PUT":
            store.make_bucket(bucket)
            return web.Response(headers={"Location": f"/{bucket}"})
        if method == "DELETE":
            store.remove_bucket(bucket)
            return web.Response(status=204)
        folder = store.bucket(bucket)
        if method == "HEAD":
            return web.Response()
        if method == "GET" and "location" in request.query:
            return self.xml(f"<LocationConstraint {NAMESPACE}></LocationConstraint>")
        if method == "GET":
            prefix = request.query.get("prefix", "")
            found = [name for name in store.keys(bucket) if name.startswith(prefix)]
            known = {name: store.meta(bucket, name) for name in found}
            entries = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{modified(folder / name / META)}</LastModified>"
                f"<ETag>&#34;{meta['etag']}&#34;</ETag><Size>{meta['size']}</Size></Contents>"
                for name, meta in known.items()
            )
            return self.xml(
                f"<ListBucketResult {NAMESPACE}><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
                f"<KeyCount>{len(found)}</KeyCount><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
            )
        raise S3Error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")

    @staticmethod
    def xml(text: str) -> web.Response:
        return web.Response(text=XML + text, content_type="application/xml")


async def console(request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>MinIO Console</title>", content_type="text/html")


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "0.0.0.0", int(port)


async def serve(options: argparse.Namespace, key: Key) -> None:
    runners = []
    for place, handler in (
        (options.address, Server(Store(options.folder), Users(key, options.folder)).handle),
        (options.console_address, console),
    ):
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, *address(place)).start()
        runners.append(runner)
    print(f"MinIO Object Storage Server\nAPI: {options.address}\nWebUI: {options.console_address}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    for runner in runners:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="minio")
    server = parser.add_subparsers(required=True).add_parser("server")
    server.add_argument("folder", type=Path)
    server.add_argument("--address", default=":9000")
    server.add_argument("--console-address", default=":9001")
    options = parser.parse_args()
    try:
        key = key_from_environment(os.environ)
    except CredentialError as failure:
        sys.exit(f"FATAL Unable to validate credentials inherited from the shell environment: {failure}")
    if not os.access(options.folder, os.W_OK):
        sys.exit(f"FATAL Unable to initialize backend: file access denied on {options.folder}")
    asyncio.run(serve(options, key))


if __name__ == "__main__":
    main()
