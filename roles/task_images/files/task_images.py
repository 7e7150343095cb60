# SPDX-License-Identifier: MIT
"""Keeps task images of a worker host in order. Two timers run this.

The supervisor pulls a task image when a run needs it and never removes one. `clean` removes those that are no longer
used, and what is left of task containers; `pull` fetches deployed images before the first run waits for them. Each
prints one JSON object that says what was done.

When an image was last used is the newest of: its tag on this host, the last time that `clean` saw a container of it,
and the engine's events since then. The engine keeps only its last few hundred events, in memory. So a short run between
two times that `clean` looked can be missed; then the image goes a little early, and the next run pulls it again.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

SOCKET = "/var/run/docker.sock"
CONTAINERD_ROOT = "/var/lib/containerd"
CONTAINERD_STORE = "io.containerd.snapshotter"
MIB = 1024 * 1024
# A container that is just made has not started yet, and one that just ended is about to be removed by the engine.
LEFT_AFTER_SECONDS = 600
# Not even a full disk takes an image that is in use from run to run.
WARM_SECONDS = 3600
# What layers grow to on the disk, roughly; the registry knows their compressed size only.
UNPACKED = 3
ANSWER_SECONDS = 60
# A removal works through many files, a pull may be silent while it unpacks a layer.
WORK_SECONDS = 900
NOTHING: Mapping[str, str] = {}

RUNNER = re.compile(r"/runner-[^/]+")
ENDED = ("created", "exited", "dead")
# <YYYYMMDD>.<n>.<environment>.<shortcode>
TAG = re.compile(r"(\d{8})\.(\d+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9]+)")
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")
# As the filter dotenv writes it.
VARIABLE = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPE = re.compile(r"\\(.)|\$\$", re.DOTALL)
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class Problem(Exception):
    """What went wrong, in one line."""


@dataclass(frozen=True)
class Image:
    """An image on this host."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int

    @property
    def references(self) -> tuple[str, ...]:
        # Tags first: with the last one the engine drops the digests itself.
        return self.tags + self.digests


@dataclass(frozen=True)
class Space:
    """Bytes of a filesystem, as df counts them."""

    used: int
    total: int

    def percent(self, more: int = 0) -> float:
        return 100 * (self.used + more) / self.total


@dataclass(frozen=True)
class Deployed:
    """An image in the registry."""

    date: int
    number: int
    repository: str
    tag: str


Measure = Callable[[str], Space]
Login = tuple[str, str]  # name and password


def space(path: str) -> Space:
    found = os.statvfs(path)
    used = found.f_blocks - found.f_bfree
    return Space(used * found.f_frsize, (used + found.f_bavail) * found.f_frsize)


def seconds(stamp: str) -> float:
    """Read a time of the engine's; the year 1 stands for never."""
    match = TIME.fullmatch(stamp)
    if not match:
        return 0.0
    return max(0.0, datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).timestamp())


def repository(reference: str) -> str:
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def aliases(reference: str) -> set[str]:
    """Spell a reference as an image may have it; a deployment can name tag and digest at once."""
    name, at, digest = reference.partition("@")
    return {reference, name, f"{repository(reference)}@{digest}"} if at else {reference}


def is_task_image(image: Image, prefix: str) -> bool:
    """Say whether nobody but us has a name for it. The probe proves a worker at every change of it, so it stays."""
    named = {repository(each) for each in image.references}
    return bool(named) and f"{prefix}/probe" not in named and all(each.startswith(f"{prefix}/") for each in named)


def is_left(container: Mapping[str, Any], network: str, now: float) -> bool:
    """Say whether an inspected container is what is left of a task on one of our networks."""
    state, mode = container["State"], container["HostConfig"]["NetworkMode"]
    last = max(seconds(each) for each in (container["Created"], state["StartedAt"], state["FinishedAt"]))
    return (
        RUNNER.fullmatch(container["Name"]) is not None
        and state["Status"] in ENDED
        and (mode == network or mode.startswith(f"{network}-"))
        and now - last > LEFT_AFTER_SECONDS
    )


def names_in_use(containers: Iterable[Mapping[str, Any]]) -> set[str]:
    """Collect ids and names of images that containers have, whatever state they are in."""
    return {name for each in containers for name in ({each["ImageID"]} | aliases(each["Image"]))}


def is_in(image: Image, names: Collection[str]) -> bool:
    return any(name in names for name in (image.id, *image.references))


def newest(tags: Iterable[str], count: int) -> list[tuple[int, int, str]]:
    """Choose the latest tags of each environment, by date and number."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for tag in tags:
        match = TAG.fullmatch(tag)
        if match:
            found.setdefault(match[3], []).append((int(match[1]), int(match[2]), tag))
    return [each for rows in found.values() for each in sorted(rows, reverse=True)[:count]]


def credentials(text: str) -> Login | None:
    """Read the login from the supervisor's env file."""
    values = {}
    for line in text.split("\n"):  # no other character ends a line there
        match = VARIABLE.fullmatch(line)
        if match:
            values[match[1]] = ESCAPE.sub(unescaped, match[2])
    name, password = values.get("DOCKER_REGISTRY_USERNAME"), values.get("DOCKER_REGISTRY_PASSWORD")
    return (name, password) if name and password else None


def unescaped(match: re.Match[str]) -> str:
    if match[1] is None:
        return "$"
    return {"n": "\n", "r": "\r"}.get(match[1], match[1])


class Uses:
    """When images were last used, by their id, kept in a file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.looked: float | None = None
        self.last: dict[str, float] = {}
        try:
            with open(path, encoding="utf-8") as file:
                kept = json.load(file)
            self.last = {str(name): float(value) for name, value in kept["used"].items()}
            self.looked = float(kept["looked"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            # Whatever was lost, every image counts as just seen.
            self.last = {}

    def save(self, now: float) -> None:
        fresh = f"{self.path}.new"
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"looked": now, "used": self.last}, file)
        os.replace(fresh, self.path)


class LocalConnection(http.client.HTTPConnection):
    """HTTP over a socket of this host."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def error_text(body: bytes) -> str:
    """Find the words of an error in the body of an answer, in one line."""
    try:
        text = str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        text = body.decode(errors="replace")
    return " ".join(text.split())[:500]


class Engine:
    """The engine of this host."""

    def __init__(self, path: str) -> None:
        self.path = path

    def call(
        self, method: str, path: str, query: Mapping[str, str] = NOTHING, headers: Mapping[str, str] = NOTHING
    ) -> tuple[int, bytes]:
        target = f"{path}?{urlencode(query)}" if query else path
        timeout = ANSWER_SECONDS if method == "GET" else WORK_SECONDS
        try:
            with closing(LocalConnection(self.path, timeout)) as connection:
                connection.request(method, target, headers=dict(headers))
                answer = connection.getresponse()
                return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Problem(f"The engine does not answer at {self.path}: {error or type(error).__name__}") from error

    def read(self, path: str, query: Mapping[str, str] = NOTHING) -> bytes:
        status, body = self.call("GET", path, query)
        if status != 200:
            raise Problem(f"The engine answers {path} with {status}: {error_text(body)}")
        return body

    def json(self, path: str, query: Mapping[str, str] = NOTHING) -> Any:
        return json.loads(self.read(path, query))

    def root(self) -> str:
        """Give the folder that holds images: from engine 29 on usually that of containerd."""
        info = self.json("/info")
        contained = any(CONTAINERD_STORE in str(row) for row in info.get("DriverStatus") or [])
        return CONTAINERD_ROOT if contained else str(info["DockerRootDir"])

    def platform(self) -> str:
        version = self.json("/version")
        return f"{version['Os']}/{version['Arch']}"

    def containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("/containers/json", {"all": "1"})
        return found

    def images(self) -> list[Image]:
        return [
            Image(
                each["Id"],
                tuple(tag for tag in each.get("RepoTags") or [] if not tag.startswith("<none>")),
                tuple(digest for digest in each.get("RepoDigests") or [] if not digest.startswith("<none>")),
                int(each["Size"]),
            )
            for each in self.json("/images/json")
        ]

    def inspected(self, path: str) -> Any:
        """Inspect something that may be gone meanwhile."""
        status, body = self.call("GET", f"{path}/json")
        if status not in (200, 404):
            raise Problem(f"The engine answers {path}/json with {status}: {error_text(body)}")
        return json.loads(body) if status == 200 else None

    def events(self, since: float, until: float) -> Iterator[tuple[str, float]]:
        """Yield what images were used for, as far as the engine remembers: reference and time."""
        wanted = {"type": ["container", "image"], "event": ["create", "start", "pull", "tag"]}
        query = {"since": f"{since:.9f}", "until": f"{until:.9f}", "filters": json.dumps(wanted)}
        for line in self.read("/events", query).splitlines():
            event = json.loads(line)
            yield event["Actor"].get("Attributes", {}).get("image") or event["Actor"]["ID"], float(event["time"])

    def remove(self, path: str, query: Mapping[str, str] = NOTHING) -> bool:
        """Remove something, never by force; say whether it is gone. What is in use is left alone (409)."""
        status, body = self.call("DELETE", path, query)
        if status not in (200, 204, 404, 409):
            raise Problem(f"The engine does not remove {path}, {status}: {error_text(body)}")
        return status != 409

    def pull(self, image: str, tag: str, platform: str, login: Login | None, server: str) -> None:
        headers = {}
        if login:
            card = {"username": login[0], "password": login[1], "serveraddress": server}
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(card).encode()).decode()
        query = {"fromImage": image, "tag": tag}
        if platform:
            query["platform"] = platform
        status, body = self.call("POST", "/images/create", query, headers)
        if status != 200:
            raise Problem(f"{status}: {error_text(body)}")
        for line in body.splitlines():
            step = json.loads(line) if line.strip() else {}
            if "error" in step or "errorDetail" in step:
                words = step.get("error") or (step.get("errorDetail") or {}).get("message")
                raise Problem(" ".join(str(words).split())[:500])


class Registry:
    """The registry of task images."""

    def __init__(self, scheme: str, host: str, ca_file: str, login: Login | None) -> None:
        self.scheme, self.host, self.login = scheme, host, login
        self.trust = ssl.create_default_context()
        # As the engine does it: this CA beside those of the system, where there is one.
        if scheme == "https" and ca_file and os.path.exists(ca_file):
            self.trust.load_verify_locations(ca_file)

    def connection(self) -> http.client.HTTPConnection:
        if self.scheme == "https":
            return http.client.HTTPSConnection(self.host, timeout=ANSWER_SECONDS, context=self.trust)
        return http.client.HTTPConnection(self.host, timeout=ANSWER_SECONDS)

    def get(self, path: str, accept: str = "application/json") -> tuple[Any, str]:
        """Get a document, none where there is nothing, and the path of its next page."""
        headers = {"Accept": accept}
        if self.login:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        try:
            with closing(self.connection()) as connection:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                status, body, link = answer.status, answer.read(), answer.getheader("Link", "")
        except (OSError, http.client.HTTPException) as error:
            raise Problem(
                f"The registry {self.host} does not answer {path}: {error or type(error).__name__}"
            ) from error
        if status not in (200, 404):
            raise Problem(f"The registry {self.host} answers {path} with {status}")
        try:
            document = json.loads(body) if status == 200 else None
        except ValueError as error:
            raise Problem(f"The registry {self.host} answers {path} with something that is no JSON") from error
        return document, following(link or "")

    def listed(self, path: str, key: str) -> Iterator[str]:
        """Yield a list that comes in pages."""
        while path:
            document, path = self.get(path)
            yield from (document or {}).get(key) or []

    def repositories(self, namespace: str) -> list[str]:
        found = self.listed("/v2/_catalog?n=200", "repositories")
        return [each for each in found if each.startswith(f"{namespace}/") and each != f"{namespace}/probe"]

    def tags(self, name: str) -> list[str]:
        return list(self.listed(f"/v2/{name}/tags/list", "tags"))

    def compressed(self, name: str, reference: str, platform: str) -> int:
        """Sum up what a pull loads at most."""
        document, _ = self.get(f"/v2/{name}/manifests/{reference}", MANIFESTS)
        if document is None:
            raise Problem("The registry has no such image any more")
        if "manifests" in document:
            return self.compressed(name, select_manifest(document["manifests"], platform), platform)
        return sum(int(each["size"]) for each in [*document["layers"], document["config"]])


def following(link: str) -> str:
    """Take the next page from a Link header; the login goes to our registry only, so no host of another."""
    match = re.match(r'<([^>]+)>;\s*rel="?next"?', link)
    if not match:
        return ""
    parts = urlsplit(match[1])
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def select_manifest(manifests: Sequence[Mapping[str, Any]], platform: str) -> str:
    """Choose from an image for several platforms. Attestations stand there as well, for a platform called unknown."""
    named = [(f"{each['platform']['os']}/{each['platform']['architecture']}", each["digest"]) for each in manifests]
    fitting = [digest for name, digest in named if f"{platform}/".startswith(f"{name}/")]
    if not fitting:
        raise Problem(f"The image is not for {platform}")
    return str(fitting[0])


class Cleaning:
    """One run of `clean`."""

    def __init__(self, engine: Engine, given: argparse.Namespace, measure: Measure, now: float) -> None:
        self.engine, self.given, self.measure, self.now = engine, given, measure, now
        self.containers: list[str] = []
        self.images: list[str] = []
        self.failed: dict[str, str] = {}
        self.gone: set[str] = set()

    def run(self) -> dict[str, Any]:
        root = self.engine.root()
        before = self.measure(root)
        self.remove_containers()
        uses = Uses(self.given.state)
        images = self.know(uses)
        try:
            self.remove_images(images, uses.last, root)
        finally:
            if not self.given.dry_run:
                # An image that comes back is a new one; its old time would have it removed at once.
                uses.last = {name: last for name, last in uses.last.items() if name not in self.gone}
                uses.save(self.now)
        freed = max(0, before.used - self.measure(root).used) if self.gone else 0
        return {
            "dry_run": self.given.dry_run,
            "containers": self.containers,
            "images": self.images,
            "freed_bytes": None if self.given.dry_run else freed,
            "failed": self.failed,
        }

    def remove_containers(self) -> None:
        for row in self.engine.containers():
            if row["State"] not in ENDED or not any(RUNNER.fullmatch(name) for name in row["Names"]):
                continue
            path = f"/containers/{row['Id']}"
            container = self.engine.inspected(path)
            if container is None or not is_left(container, self.given.network, self.now):
                continue
            try:
                # With its unnamed volumes, as the engine would have done it.
                if self.given.dry_run or self.engine.remove(path, {"v": "1"}):
                    self.containers.append(container["Name"][1:])
                    self.gone.add(row["Id"])
            except Problem as problem:
                self.failed[container["Name"][1:]] = str(problem)

    def in_use(self) -> set[str]:
        return names_in_use(each for each in self.engine.containers() if each["Id"] not in self.gone)

    def know(self, uses: Uses) -> list[Image]:
        """Bring up to date when each task image was last used."""
        images = [each for each in self.engine.images() if is_task_image(each, self.given.prefix)]
        names = self.in_use()
        events: dict[str, float] = {}
        if uses.looked is not None:
            for reference, moment in self.engine.events(min(uses.looked, self.now), self.now):
                for name in aliases(reference):
                    events[name] = max(moment, events.get(name, 0.0))
        fresh = {}
        for image in images:
            known = [uses.last.get(image.id, self.now), self.now if is_in(image, names) else 0.0, self.tagged(image)]
            known += [events.get(name, 0.0) for name in (image.id, *image.references)]
            fresh[image.id] = min(self.now, max(known))
        uses.last = fresh
        return images

    def tagged(self, image: Image) -> float:
        """Engines differ in whether a pull counts here; not seen before means used just now in any case."""
        found = self.engine.inspected(f"/images/{image.id}") or {}
        return seconds((found.get("Metadata") or {}).get("LastTagTime") or "")

    def remove_images(self, images: Sequence[Image], last: Mapping[str, float], root: str) -> None:
        kept = []
        for image in sorted(images, key=lambda each: last[each.id]):
            idle = self.now - last[image.id]
            if self.given.all or idle >= self.given.retention_days * 86400:
                self.remove_image(image)
            elif idle > WARM_SECONDS:
                kept.append(image)
        # A dry run frees nothing, so it has to reckon.
        reckoned = sum(each.size for each in images if each.id in self.gone) if self.given.dry_run else 0
        for image in kept:
            if self.measure(root).percent(-reckoned) <= self.given.disk_percent:
                return
            self.remove_image(image)
            if self.given.dry_run and image.id in self.gone:
                reckoned += image.size

    def remove_image(self, image: Image) -> None:
        # Looked up anew: earlier removals take their time, and one of several tags goes though a container has another.
        if is_in(image, self.in_use()):
            return
        try:
            for reference in image.references:
                if not self.given.dry_run and not self.engine.remove(f"/images/{quote(reference, safe='/:@')}"):
                    return
        except Problem as problem:
            self.failed[image.references[0]] = str(problem)
            return
        self.images.append(image.references[0])
        self.gone.add(image.id)


class Fetching:
    """One run of `pull`."""

    def __init__(self, engine: Engine, given: argparse.Namespace, measure: Measure) -> None:
        self.engine, self.given, self.measure = engine, given, measure
        self.host, _, self.namespace = given.prefix.partition("/")
        with open(given.credentials, encoding="utf-8", newline="") as file:
            self.login = credentials(file.read())
        self.registry = Registry(given.registry_scheme, self.host, given.ca_file, self.login)
        self.pulled: list[str] = []
        self.skipped: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def run(self) -> dict[str, Any]:
        root = self.engine.root()
        present = {tag for image in self.engine.images() for tag in image.tags}
        platform = self.given.platform or self.engine.platform()
        for deployed in self.wanted():
            name = f"{self.host}/{deployed.repository}"
            reference = f"{name}:{deployed.tag}"
            if reference in present:
                continue
            try:
                size = self.registry.compressed(deployed.repository, deployed.tag, platform)
                reason = self.hindrance(size, root)
                if reason:
                    self.skipped[reference] = reason
                elif self.given.dry_run:
                    self.pulled.append(reference)
                else:
                    self.engine.pull(name, deployed.tag, self.given.platform, self.login, self.host)
                    self.pulled.append(reference)
            except (Problem, KeyError, TypeError, ValueError) as problem:
                self.failed[reference] = str(problem) if isinstance(problem, Problem) else f"unexpected: {problem!r}"
        return {
            "dry_run": self.given.dry_run,
            "pulled": self.pulled,
            "skipped": self.skipped,
            "failed": self.failed,
        }

    def wanted(self) -> list[Deployed]:
        """List what was deployed last, the latest first: where not all has room, it is the likeliest to run."""
        found = []
        for name in self.registry.repositories(self.namespace):
            try:
                found += [
                    Deployed(*row[:2], name, row[2]) for row in newest(self.registry.tags(name), self.given.count)
                ]
            except Problem as problem:
                self.failed[f"{self.host}/{name}"] = str(problem)
        return sorted(found, key=lambda each: (-each.date, -each.number, each.repository, each.tag))

    def hindrance(self, size: int, root: str) -> str:
        ours = sum(each.size for each in self.engine.images() if is_task_image(each, self.given.prefix))
        if ours + size > self.given.budget_mib * MIB:
            return "budget"
        # With what it grows to, or the next cleaning removes it and the next pull brings it back.
        return "disk" if self.measure(root).percent(UNPACKED * size) > self.given.disk_percent else ""


def prefix(text: str) -> str:
    host, slash, namespace = text.partition("/")
    if not (host and slash and namespace.strip("/")) or text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text} is not registry/namespace")
    return text


def arguments(words: Sequence[str]) -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--prefix", type=prefix, required=True, help="registry/namespace of task images")
    shared.add_argument("--disk-percent", type=float, default=85, help="how full the engine's disk may be")
    shared.add_argument("--socket", default=SOCKET, help="the engine's socket")
    shared.add_argument("--dry-run", action="store_true", help="look only")
    parser = argparse.ArgumentParser(description="Keep task images of this host in order.")
    commands = parser.add_subparsers(dest="command", required=True)

    clean = commands.add_parser("clean", parents=[shared], help="remove what is no longer used")
    clean.add_argument("--network", required=True, help="network of task containers; <network>-<name> is one as well")
    clean.add_argument("--state", required=True, help="file that keeps when images were last used")
    clean.add_argument("--retention-days", type=int, default=14, help="days without a use that an image stays")
    clean.add_argument("--all", action="store_true", help="remove every task image that no container has")

    pull = commands.add_parser("pull", parents=[shared], help="fetch what was deployed")
    pull.add_argument("--registry-scheme", choices=["http", "https"], required=True, help="what the registry speaks")
    pull.add_argument("--ca-file", default="", help="authority of the registry; the file need not be there")
    pull.add_argument("--credentials", required=True, help="the supervisor's env file")
    pull.add_argument("--count", type=int, default=1, help="latest images of each project and environment")
    pull.add_argument("--budget-mib", type=int, required=True, help="maximum MiB of all task images on this host")
    pull.add_argument("--platform", default="", help="platform of task images, unless the engine's own")
    return parser.parse_args(words)


def main(words: Sequence[str], measure: Measure = space, clock: Callable[[], float] = time.time) -> int:
    given = arguments(words)
    engine = Engine(given.socket)
    try:
        run = (
            Cleaning(engine, given, measure, clock()) if given.command == "clean" else Fetching(engine, given, measure)
        )
        done = run.run()
    except (Problem, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(done))
    if done["failed"]:
        print(f"Failed: {', '.join(done['failed'])}. The reasons stand above.", file=sys.stderr)
    return 1 if done["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
