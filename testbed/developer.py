# SPDX-License-Identifier: MIT
"""A developer with a machine of their own: the image of the task is built there, and pushed from there over https."""

from __future__ import annotations

import base64
import urllib.parse
from dataclasses import dataclass, replace

from . import images
from .cluster import REGISTRY_USER, Door, http
from .common import TestbedError, docker
from .hello import Hello

# What a task's image has to carry for a private CA: there is no other way to give a runner one.
TRUST = "COPY ca.pem /ca.pem\nENV NODE_EXTRA_CA_CERTS=/ca.pem\n"
_BUILD = """
set -eu
folder=$(mktemp -d /var/tmp/hello.XXXXXX)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/Dockerfile"
install -m 0644 "$2" "$folder/ca.pem"
docker build --quiet --tag "$1" "$folder"
"""


@dataclass(frozen=True)
class Developer(Hello):
    """The developer's side of a deployment behind a gateway."""

    # Container of the developer's machine.
    machine: str = ""
    registry: str = ""
    # Where the registry is, if not behind the deployment's own gateway.
    registry_address: str = ""
    # Whether the image carries the private CA.
    trusting: bool = False

    def machine_runs(self, *command: str, stdin: str | None = None) -> str:
        """Run a command on the developer's machine."""
        return docker("exec", *(["--interactive"] if stdin is not None else []), self.machine, *command, stdin=stdin)

    def image(self) -> tuple[str, str]:
        """Build the image on the developer's machine."""
        base, identity = images.hello()
        known = ["image", "ls", "--quiet", "--no-trunc", base]
        if identity not in self.machine_runs("docker", *known):
            self.bring(base)
        name = "hello:trusting" if self.trusting else "hello:plain"
        dockerfile = f"FROM {base}\n{TRUST if self.trusting else 'LABEL authority=none'}\n"
        build = ["sh", "-c", _BUILD, "sh", name, "/opt/trigger/ca.pem"]
        return name, self.machine_runs(*build, stdin=dockerfile).strip()

    def bring(self, image: str) -> None:
        """Copy an image of this machine to the developer's."""
        # Through a file of the node: an image is no text.
        docker("save", "--output", f"/tmp/{self.machine}.tar", image)
        docker("cp", f"/tmp/{self.machine}.tar", f"{self.machine}:/var/tmp/image.tar")
        self.machine_runs("docker", "load", "--quiet", "--input", "/var/tmp/image.tar")
        self.machine_runs("rm", "/var/tmp/image.tar")

    def login(self, user: str = REGISTRY_USER, password: str | None = None) -> str:
        """Log in to the registry; raises where it is refused."""
        word = password if password is not None else self.cluster.registry_password()
        return self.machine_runs("docker", "login", "--username", user, "--password-stdin", self.registry, stdin=word)

    def push(self, image: str, tag: str) -> None:
        """Log in, push, and log out again."""
        if tag.partition("/")[0] != self.registry:
            raise TestbedError(f"the webapp hands out {tag}, which is not in the registry {self.registry}")
        self.login()
        try:
            self.machine_runs("docker", "tag", image, tag)
            self.machine_runs("docker", "push", "--quiet", tag)
        finally:
            self.machine_runs("docker", "logout", self.registry)

    def is_pushed(self, tag: str) -> bool:
        """Tell whether the registry has an image of this name."""
        repository, _, version = tag.partition("/")[2].rpartition(":")
        basic = base64.b64encode(f"{REGISTRY_USER}:{self.cluster.registry_password()}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        url = f"https://{self.registry}/v2/{urllib.parse.quote(repository)}/manifests/{version}"
        door = replace(self.door, address=self.registry_address or self.door.address)
        return http("HEAD", url, headers=headers, door=door).status == 200

    @property
    def door(self) -> Door:
        """The way to the gateway."""
        if self.cluster.door is None:
            raise TestbedError("the deployment has no gateway")
        return replace(self.cluster.door)
