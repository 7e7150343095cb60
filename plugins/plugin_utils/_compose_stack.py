# SPDX-License-Identifier: MIT
"""An installation that was started by other means: its containers, why it cannot be adopted, and where its data is."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

# Store -> names of its service, of upstream's files and of the community stack.
SERVICES = {
    "postgres": "postgres",
    "redis": "redis",
    "clickhouse": "clickhouse",
    "objects": "minio",
    "images": "registry",
}
REQUIRED = {"postgres": "DATABASE_URL", "redis": "REDIS_HOST", "clickhouse": "CLICKHOUSE_URL"}
# Projects of this collection.
OURS = re.compile(r"trigger-(webapp|registry|gateway|supervisor.*|backup.*|adopt)")
VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?![\w.])")
REGISTRY = "/var/lib/registry"
TOKEN = "/home/node/shared/worker_token"


class Stack:
    """The containers of the old installation, by what they are for."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.projects: list[str] = found["projects"]
        self.rows: list[dict[str, Any]] = found["containers"]
        self.variables: dict[str, str] = found["variables"]
        self.postgres: dict[str, Any] = found["postgres"]
        self.runs: list[str] = found["runs"]

    def all(self, service: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["service"] in (service, f"trigger-{service}")]

    def one(self, service: str) -> dict[str, Any] | None:
        return next(iter(self.all(service)), None)

    @property
    def names(self) -> set[str]:
        return {name for row in self.rows for name in (row["service"], row["name"])}

    @property
    def webapp(self) -> dict[str, str]:
        found: dict[str, str] = self.all("webapp")[0]["environment"]
        return found

    def environment(self) -> dict[str, str]:
        """Give what somebody has set, the webapp's last."""
        found = dict(self.variables)
        for service in ("supervisor", "webapp"):
            for row in self.all(service):
                found |= {name: row["environment"][name] for name in row["given"]}
        return found


def refusals(stack: Stack, path: str, majors: Sequence[int]) -> Iterator[str]:
    """Say what keeps it from being adopted; what comes later may need what comes first."""
    if not stack.rows:
        yield (
            f"adopt_path is {path}, and Docker Compose has made no container from files there. Name the folder of the "
            "old installation, and start it (docker compose up --detach): only running stores can be read."
        )
        return
    webapps = stack.all("webapp")
    if len(webapps) != 1:
        services = ", ".join(sorted({row["service"] for row in stack.rows}))
        yield (
            f"{path} has {len(webapps)} containers of a service webapp (services: {services}). Only upstream's "
            "hosting/docker and the community stack can be adopted, each with one webapp."
        )
        return
    wrong = [name for name in stack.projects if OURS.fullmatch(name)]
    if wrong:
        yield f"The Compose project {wrong[0]} is named like one of this collection. It cannot be told apart from it."
    missing = [name for store, name in REQUIRED.items() if not stack.one(SERVICES[store])]
    if missing:
        yield (
            f"{', '.join(missing)} of the webapp names a store that is no service of {path}. External stores are not "
            "moved: deploy with the settings of docs/external-services.md and trigger_secrets.encryption_key instead."
        )
        return
    yield from _wrong_values(stack, majors)


def _wrong_values(stack: Stack, majors: Sequence[int]) -> Iterator[str]:
    database = urlsplit(stack.webapp.get("DATABASE_URL", ""))
    if database.hostname not in stack.names:
        yield (
            f"DATABASE_URL of the webapp names the host {database.hostname}, which is no service of the installation. "
            "External stores are not moved: deploy with webapp_postgres_url and trigger_secrets.encryption_key."
        )
    schema = re.search(r"(?:^|&)schema=([^&]*)", database.query)
    if schema and schema[1] != "public":
        yield f"DATABASE_URL of the webapp names the schema {schema[1]}. Only the schema public can be adopted."
    if len(stack.webapp.get("ENCRYPTION_KEY", "").encode()) != 32:
        yield "ENCRYPTION_KEY of the webapp has not exactly 32 characters, so this is no installation that works."
    major = int(re.match(r"\d*", stack.postgres.get("version", ""))[0] or 0)  # type: ignore[index]
    if major and major not in majors:
        yield (
            f"The data is of Postgres {major}. Postgres {majors[0]} to {majors[-1]} can be adopted: bring it to one of "
            "these first."
        )
    release = version_of(stack)
    if release and release < (4, 0, 0):
        yield f"The webapp is of Trigger.dev {text(release)}. Upgrade it to version 4 by upstream's guide first."
    images = stack.one("registry")
    if images and REGISTRY not in images["mounts"]:
        yield f"The container {images['name']} keeps its images in no volume at {REGISTRY}, so they cannot be moved."


def strangers(stack: Stack) -> Iterator[str]:
    """Say which workers elsewhere keep it from being adopted now. Its settings can be translated all the same."""
    supervisors = [row for row in stack.all("supervisor") if row["running"]]
    workers = stack.postgres.get("workers", [])
    if len(workers) > len(supervisors):
        yield (
            f"{len(workers)} workers have called the webapp in the last 2 minutes ({', '.join(workers[:5])}), and "
            f"{len(supervisors)} of them run in this folder. Stop the supervisors elsewhere, and make their hosts "
            "workers in the inventory."
        )


def version_of(stack: Stack) -> tuple[int, ...]:
    """Give the release of the webapp, as far as its image says it."""
    row = stack.all("webapp")[0]
    for text in (row["image"].partition("@")[0].rpartition(":")[2], row["environment"].get("BUILD_APP_VERSION", "")):
        found = VERSION.match(text)
        if found:
            return tuple(int(part) for part in found.groups())
    return ()


def text(release: Sequence[int]) -> str:
    return "v" + ".".join(map(str, release))


def is_inner(value: str, names: Iterable[str]) -> bool:
    """Tell whether only one machine, or one of its networks, knows an address."""
    host = urlsplit(value if "//" in value else f"//{value}").hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in names or "." not in host or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def registry_of(webapp: Mapping[str, str]) -> tuple[str, str]:
    """Give host and namespace of task images; those of version 4 come first."""
    host = webapp.get("V4_DEPLOY_REGISTRY_HOST") or webapp.get("DEPLOY_REGISTRY_HOST", "")
    return host, webapp.get("V4_DEPLOY_REGISTRY_NAMESPACE") or webapp.get("DEPLOY_REGISTRY_NAMESPACE", "") or "trigger"


def source(stack: Stack, path: str) -> dict[str, Any]:
    """Tell the program that adopts where everything is."""
    webapp, rows = stack.webapp, {store: stack.one(name) for store, name in SERVICES.items()}
    containers = {store: row["name"] for store, row in rows.items() if row}
    own = {store: row["environment"] for store, row in rows.items() if row}
    url = urlsplit(webapp["CLICKHOUSE_URL"])
    stores: dict[str, dict[str, str]] = {
        "postgres": {
            "user": own["postgres"].get("POSTGRES_USER") or "postgres",
            "database": urlsplit(webapp["DATABASE_URL"]).path.strip("/"),
        },
        "redis": {"password": webapp.get("REDIS_PASSWORD", "")},
        "clickhouse": {
            "user": unquote(url.username or "") or own["clickhouse"].get("CLICKHOUSE_USER") or "default",
            "password": unquote(url.password or "") or own["clickhouse"].get("CLICKHOUSE_PASSWORD", ""),
            "database": url.path.strip("/") or "default",
        },
    }
    if "objects" in own:
        stores["objects"] = {
            "access_key": own["objects"].get("MINIO_ROOT_USER") or webapp.get("OBJECT_STORE_ACCESS_KEY_ID", ""),
            "secret_key": own["objects"].get("MINIO_ROOT_PASSWORD") or webapp.get("OBJECT_STORE_SECRET_ACCESS_KEY", ""),
            "region": webapp.get("OBJECT_STORE_REGION") or "us-east-1",
            "bucket": "packets",
        }
    if rows["images"]:
        stores["images"] = {"folder": rows["images"]["mounts"][REGISTRY]}
    return {
        "path": path,
        "projects": stack.projects,
        "webapp": stack.all("webapp")[0]["name"],
        "readers": [row["name"] for row in stack.all("supervisor")],
        "stores": {name: {"container": containers[name], **row} for name, row in stores.items()},
        "references": {"from": "/".join(registry_of(webapp)) + "/"},
        "group": webapp.get("TRIGGER_BOOTSTRAP_WORKER_GROUP_NAME") or "bootstrap",
        "token_path": webapp.get("TRIGGER_BOOTSTRAP_WORKER_TOKEN_PATH") or TOKEN,
    }
