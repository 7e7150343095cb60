# SPDX-License-Identifier: MIT
"""An old installation, as its users and its operator see it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from verification.deployment import Deployment, Play
from verification.nodes import Node
from verification.secrets import Secrets

from testbed import cluster as cluster_module
from testbed import hello as hello_module
from testbed.cluster import Cluster
from testbed.hello import Hello

# Above what a run keeps in the database.
PAD = 700_000
TABLES = (
    *("User", "Organization", "OrgMember", "Project", "RuntimeEnvironment", "PersonalAccessToken", "WorkerGroupToken"),
    *("WorkerInstanceGroup", "WorkerDeployment", "TaskRun", "TaskRunExecutionSnapshot"),
)
# Values that everybody can read, and words that stand in the output for other reasons.
COMMON = {"password", "trigger", "default", "admin"}


class OldCluster(Cluster):
    """The same ports, and a registry whose password stands in its files."""

    def registry_password(self) -> str:
        return "very-secure-indeed"


@dataclass(frozen=True)
class Old:
    """The containers and files of one of the stacks."""

    path: str
    project: str
    webapp: str
    postgres: str
    user: str
    database: str
    registry: str
    objects: str

    @contextmanager
    def hello(self, control: Node) -> Iterator[Hello]:
        """Give the developer's side of it."""
        with (
            patch.object(hello_module, "WEBAPP", self.webapp),
            patch.object(cluster_module, "POSTGRES", self.postgres),
        ):
            yield Hello(OldCluster(control.name))

    def sql(self, control: Node, query: str) -> list[list[str]]:
        psql = "docker exec %s psql -U %s -d %s -v ON_ERROR_STOP=1 -XAtF '|' -c %s"
        found = control.output(psql, self.postgres, self.user, self.database, query)
        return [line.split("|") for line in found.splitlines()]

    def running(self, control: Node) -> set[str]:
        words = "docker ps --filter label=com.docker.compose.project=%s --format '{{.Names}}'"
        return set(control.output(words, self.project).split())

    def secrets(self, control: Node) -> Secrets:
        """Give the secrets of its settings, and the token of its workers."""
        lines = [line.partition("=") for line in control.read(f"{self.path}/.env").splitlines()]
        words = ("SECRET", "PASSWORD", "KEY")
        found = {name: value for name, _, value in lines if any(word in name for word in words)}
        return Secrets({name: value for name, value in found.items() if value not in COMMON})


UPSTREAM = Old(
    "/opt/old", "trigger", "trigger-webapp-1", "trigger-postgres-1", "postgres", "main", "trigger-registry-1",
    "trigger-minio-1",
)  # fmt: skip
COMMUNITY = Old(
    "/opt/trigger-dev", "trigger-dev", "trigger-dev-webapp-1", "trigger-dev-trigger-postgres-1", "trigger", "trigger",
    "trigger-dev-trigger-registry-1", "trigger-dev-trigger-minio-1",
)  # fmt: skip


def digests_of(rows: dict[str, list[list[str]]]) -> dict[str, tuple[int, str]]:
    """Give number and digest of the rows of each table."""
    return {name: (len(found), hashlib.sha256(json.dumps(found).encode()).hexdigest()) for name, found in rows.items()}


def rows_of(table: str, run: str = "") -> str:
    """Select everything but names of images, whose registry has another name now; of runs, those of one that ended."""
    if table == "WorkerDeployment":
        return 'SELECT id, version, status, "contentHash", "deployedAt" FROM "WorkerDeployment" ORDER BY id'
    condition = {
        "TaskRun": f""" WHERE "friendlyId" = '{run}'""",
        "TaskRunExecutionSnapshot": f""" WHERE "runId" = (SELECT id FROM "TaskRun" WHERE "friendlyId" = '{run}')""",
    }
    return f'SELECT * FROM "{table}"{condition.get(table, "")} ORDER BY id'


def blobs(control: Node, folder: str) -> set[str]:
    """Give the digest of every layer and manifest, read from its content."""
    script = "cd %s/docker/registry/v2/blobs && find . -name data -exec sha256sum {} +"
    return {line.split()[0] for line in control.output(script, folder).splitlines()}


def mount(control: Node, container: str, destination: str) -> str:
    template = '{{range .Mounts}}{{if eq .Destination "%s"}}{{.Source}}{{end}}{{end}}'
    return control.output("docker inspect --format %s %s", template % destination, container)


def adopt(deployment: Deployment, name: str, scratch: Path, files: Path, *options: str, **values: Any) -> Play:
    """Run a playbook with the files that were written, as an inventory would bring them."""
    written = [files / each for each in ("adopted.yml", "adopted_secrets.yml") if (files / each).exists()]
    brought = [word for file in written for word in ("-e", f"@{file}")]
    values = {"adopt_directory": str(files), **values}
    return deployment.play(
        *brought, *options, values=values, scratch=scratch, playbook=f"selfhosted.trigger_dev.{name}"
    )
