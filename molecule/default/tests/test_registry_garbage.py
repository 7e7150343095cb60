# SPDX-License-Identifier: MIT
"""What was deleted in the registry is freed by a playbook, and everything else is as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from verification.deployment import Deployment, Play
from verification.nodes import Node

from testbed.hello import Hello

pytestmark = pytest.mark.changes

PLAYBOOK = "selfhosted.trigger_dev.registry_gc"
REGISTRY = "127.0.0.1:5000"
NAME = "trigger/garbage"

# Prints the digest. The password goes from file to login, and no login stays.
PUSH = f"""
set -eu
DOCKER_CONFIG=$(mktemp -d)
export DOCKER_CONFIG
trap 'rm -rf "$DOCKER_CONFIG"' EXIT
python3 -c 'import json; print(json.load(open("/opt/trigger/secrets.json"))["registry_password"])' |
    docker login --username trigger --password-stdin {REGISTRY} >/dev/null
docker tag "$0" {REGISTRY}/{NAME}:1
docker push --quiet {REGISTRY}/{NAME}:1 >/dev/null
docker inspect --format '{{{{range .RepoDigests}}}}{{{{println .}}}}{{{{end}}}}' "$0" |
    grep '^{REGISTRY}/{NAME}@' | cut -d@ -f2
docker image rm {REGISTRY}/{NAME}:1 >/dev/null
"""


@dataclass(frozen=True)
class Collected:
    """Three runs of the playbook, and what the registry used before and after."""

    dry: Play
    first: Play
    second: Play
    used: tuple[int, int, int]


def push(control: Node) -> str:
    """Push an image that shares no layer with others; gives its digest."""
    image = control.container("trigger-supervisor-docker-socket-proxy-1")["Config"]["Image"]
    return control.output("bash -c %s %s", PUSH, image)


def used(control: Node) -> int:
    """Kilobytes in the registry's volume."""
    folder = control.seen["volumes"]["trigger_registry_data"]["Mountpoint"]
    return int(control.output("du -sk %s", folder).split()[0])


def ask(control: Node, path: str, method: str = "GET") -> tuple[int, str]:
    """Ask the registry about the image."""
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    url = f"http://{REGISTRY}/v2/{NAME}/{path}"
    return control.http(url, method, user="trigger", password_of="registry_password", headers=accept)


def manifest(control: Node, digest: str, method: str = "GET") -> tuple[int, str]:
    """Ask for a manifest, or delete it."""
    return ask(control, f"manifests/{digest}", method)


@pytest.fixture(scope="module")
def collected(deployment: Deployment, control: Node) -> Collected:
    """Delete an image, look, collect, and collect again."""
    digest = push(control)
    assert manifest(control, digest)[0] == 200
    assert manifest(control, digest, "DELETE")[0] == 202
    full = used(control)
    dry = deployment.play("--check", playbook=PLAYBOOK)
    looked = used(control)
    first = deployment.play(playbook=PLAYBOOK)
    freed = used(control)
    return Collected(dry, first, deployment.play(playbook=PLAYBOOK), (full, looked, freed))


def test_a_dry_run_tells_and_frees_nothing(collected: Collected, control: Node) -> None:
    assert collected.dry.code == 0, collected.dry.ending()
    assert collected.dry.changed[control.name] == 1, collected.dry.ending()
    assert collected.used[1] == collected.used[0]


def test_the_space_is_free_afterwards(collected: Collected, control: Node) -> None:
    assert collected.first.code == 0, collected.first.ending()
    assert collected.first.changed[control.name] == 1
    assert collected.used[2] < collected.used[0] - 1000


def test_a_second_run_finds_nothing(collected: Collected, control: Node) -> None:
    assert collected.second.code == 0, collected.second.ending()
    assert collected.second.changed[control.name] == 0


def test_the_same_image_can_be_pushed_again(collected: Collected, control: Node) -> None:
    """A registry that keeps in mind which layers it had takes such a push, and has no image."""
    assert collected.first.code == 0
    digest = push(control)
    status, body = manifest(control, digest)
    assert status == 200
    for layer in json.loads(body)["layers"]:
        assert ask(control, f"blobs/{layer['digest']}", "HEAD")[0] == 200


def test_images_of_tasks_are_still_there(collected: Collected, hello: Hello) -> None:
    assert collected.first.code == 0
    assert hello.run().status == "COMPLETED"
