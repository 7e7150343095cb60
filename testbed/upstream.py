# SPDX-License-Identifier: MIT
"""Deploys the hello task with the genuine CLI, for a lab of genuine images (IMAGES=upstream)."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile

from .cluster import REGISTRY_USER, Cluster
from .common import TESTBED, TestbedError

PROJECT = TESTBED / "hello-upstream"
# Docker's CLI with buildx; Node.js comes from the image's own packages.
CLI_IMAGE = "docker.io/library/docker:28-cli"

# The CLI works on a worker: there the registry's and the API's names resolve and the engine trusts the registry.
# --builder default builds in that engine itself, with its trust and login; --network host gives the indexer inside the
# build the host's resolver, because it has to reach the API by name.
_SCRIPT = """
set -eu
umask 077
folder=$(mktemp -d /var/tmp/hello.XXXXXX)
trap 'rm -rf "$folder"' EXIT
tar -x -C "$folder"
mkdir "$folder/docker"
docker --config "$folder/docker" login --username "$REGISTRY_USER" --password-stdin "$REGISTRY" < "$folder/password" >&2
rm "$folder/password"
docker run --rm --network host --workdir /hello --env DOCKER_CONFIG=/hello/docker --env CI=1 \
    --env TRIGGER_ACCESS_TOKEN --env TRIGGER_API_URL --env TRIGGER_PROJECT_REF \
    --volume "$folder:/hello" --volume /var/run/docker.sock:/var/run/docker.sock "$CLI_IMAGE" \
    sh -euc 'apk add nodejs npm; npm install; npx --yes trigger.dev@4.2.0 deploy --builder default --network host'
"""


def fingerprint() -> str:
    """Hash the project, so that it is deployed again when it has changed."""
    digest = hashlib.sha256()
    for file in sorted(file for file in PROJECT.rglob("*") if file.is_file()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def deploy(cluster: Cluster, token: str, project: str) -> None:
    """Deploy the project from the first worker of the cluster."""
    domain = cluster.control.partition(".")[2]
    environment = {
        "CLI_IMAGE": CLI_IMAGE,
        "REGISTRY": f"{cluster.control}:5000",
        "REGISTRY_USER": REGISTRY_USER,
        "TRIGGER_ACCESS_TOKEN": token,
        "TRIGGER_API_URL": f"http://{cluster.control}:8030",
        "TRIGGER_PROJECT_REF": project,
    }
    # Names only: values on a command line are everybody's to read.
    names = [word for name in environment for word in ("--env", name)]
    sent = io.BytesIO()
    with tarfile.open(fileobj=sent, mode="w") as bundle:
        for file in sorted(PROJECT.iterdir()):
            bundle.add(file, arcname=file.name)
        password = cluster.registry_password().encode()
        member = tarfile.TarInfo("password")
        member.size, member.mode = len(password), 0o600
        bundle.addfile(member, io.BytesIO(password))
    command = ["docker", "exec", "--interactive", *names, f"worker1.{domain}", "sh", "-c", _SCRIPT]
    done = subprocess.run(command, input=sent.getvalue(), env={**os.environ, **environment}, check=False)
    if done.returncode != 0:
        raise TestbedError(f"the genuine CLI ended with {done.returncode}")
