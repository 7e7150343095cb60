# SPDX-License-Identifier: MIT
"""Module installation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: installation
version_added: 0.1.0
short_description: Remove what this collection has brought to a host
description:
  - Removes systemd units, containers, networks and files of an installation. With O(data) also its volumes, images and
    all of its files.
  - It goes by marks, not by the inventory. Units have the header of this collection, containers and networks its
    label. Task containers are found by their networks. So it works on hosts that are deployed by half, too.
  - What others have put on the host stays. Their containers on networks of the installation are only disconnected.
  - The engine, its C(daemon.json) and the rules of the firewall stay, too. Other modules see to them.
attributes:
  check_mode:
    support: full
    description: Tells what would be removed.
  diff_mode:
    support: none
    description: Files hold secrets. RV(removed) names what goes.
  platform:
    description: Linux with systemd.
requirements:
  - The C(docker) command. Without it there are neither containers nor networks to remove.
options:
  path:
    description: Folder of the installation.
    type: path
    required: true
  data:
    description: Whether volumes, images and every file in O(path) go as well. This loses all data of the installation.
    type: bool
    default: false
  kept:
    description: Files and folders in O(path) that stay unless O(data) is true. The volumes are of no use without them.
    type: list
    elements: path
    default: []
  image_prefixes:
    description:
      - Beginnings of image references. With O(data) these images are removed, and those of the containers. What a
        container of others uses stays. One that names only the default registry of the engine, such as docker.io/,
        stands for no image.
    type: list
    elements: str
    default: []
  runner_pattern:
    description:
      - Regular expression for the names of task containers.
      - They are removed if they are on a network of the installation.
    type: str
    default: ^runner-
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Remove the installation, and keep its data
  selfhosted.trigger_dev.installation:
    path: /opt/trigger
    kept: [/opt/trigger/secrets.json]
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode.
  returned: success
  type: dict
  contains:
    units: {description: Names of systemd units., type: list, elements: str, returned: success}
    containers: {description: Names of containers., type: list, elements: str, returned: success}
    networks: {description: Names of networks., type: list, elements: str, returned: success}
    volumes: {description: Names of volumes., type: list, elements: str, returned: success}
    images: {description: 'Names of images, or their ids.', type: list, elements: str, returned: success}
    files: {description: Paths of files and folders., type: list, elements: str, returned: success}
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import NO_PROGRAM, Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._units import FOLDER, unit_names

LABEL = "dev.trigger.ansible/role"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
PROJECT_LABEL = "com.docker.compose.project"
# The engine leaves it out of names.
DEFAULT_REGISTRY = r"^docker\.io/(library/)?"
# A unit that stops supervisors waits for their runs.
STOP_SECONDS = 900


class InstallationError(Exception):
    """A program did not do what it was told."""


@dataclass(frozen=True)
class Parameters:
    path: str
    data: bool
    kept: Sequence[str]
    image_prefixes: Sequence[str]
    runner_pattern: re.Pattern[str]


@dataclass(frozen=True)
class Host:
    """The programs of the host."""

    run: Run
    units: str = str(FOLDER)

    def output(self, *words: str, seconds: float = 120) -> str:
        done = self.run(words, timeout=seconds)
        if done.code:
            raise InstallationError(f"{' '.join(words[:3])}: {done.error}")
        return done.stdout

    def has_engine(self) -> bool:
        """Tell whether there is an engine. One that does not answer is an error: its containers would stay."""
        done = self.run(["docker", "version", "--format", "{{.Server.Version}}"])
        if done.code not in (0, NO_PROGRAM):
            raise InstallationError(f"The engine does not answer ({done.error}). Start it: systemctl start docker")
        return done.code == 0

    def inspect(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        if not names:
            return []
        found: list[dict[str, Any]] = json.loads(self.output("docker", kind, "inspect", *names))
        return found

    def listed(self, *words: str) -> list[str]:
        return sorted(set(self.output("docker", *words).split()))


def units(host: Host) -> list[str]:
    """List our units, timers before what they start. A link is not what the roles write."""
    ours = [name for name in unit_names(Path(host.units)) if not os.path.islink(os.path.join(host.units, name))]
    return sorted(ours, key=lambda name: not name.endswith(".timer"))


@dataclass(frozen=True)
class Objects:
    """Objects of the engine that are ours."""

    containers: list[str]
    # Name -> containers of others that are on it.
    networks: Mapping[str, list[str]]
    volumes: list[str]
    images: list[str]


def objects(host: Host, wanted: Parameters) -> Objects:
    """List the objects of the engine that are ours, as far as they are to go."""
    rows = host.inspect("container", host.listed("ps", "--all", "--quiet"))
    labels = {row["Name"].lstrip("/"): row["Config"]["Labels"] or {} for row in rows}
    images = {row["Name"].lstrip("/"): row["Image"] for row in rows}
    places = {row["Name"].lstrip("/"): set(row["NetworkSettings"]["Networks"] or {}) for row in rows}
    ours = {name for name, each in labels.items() if LABEL in each or inside(each.get(FOLDER_LABEL), wanted.path)}
    projects = {labels[name].get(PROJECT_LABEL) for name in ours} - {None}

    known = host.inspect("network", host.listed("network", "ls", "--quiet"))
    networks = {row["Name"] for row in known if marked(row, projects)}
    ours |= {name for name, where in places.items() if where & networks and wanted.runner_pattern.search(name)}
    others = {name: where for name, where in places.items() if name not in ours}
    guests = {network: sorted(name for name, where in others.items() if network in where) for network in networks}
    if not wanted.data:
        return Objects(sorted(ours), guests, [], [])
    volumes = host.inspect("volume", host.listed("volume", "ls", "--quiet"))
    used = {images[name] for name in ours}
    staying = {images[name] for name in labels if name not in ours}
    return Objects(
        sorted(ours),
        guests,
        sorted(row["Name"] for row in volumes if marked(row, projects)),
        unused(host, wanted.image_prefixes, used, staying),
    )


def marked(row: Mapping[str, Any], projects: set[Any]) -> bool:
    """Tell whether a network or volume carries our label, or is of a Compose project of ours."""
    labels = row.get("Labels") or {}
    return LABEL in labels or (PROJECT_LABEL in labels and labels[PROJECT_LABEL] in projects)


def inside(folder: str | None, path: str) -> bool:
    return folder is not None and Path(path) in [Path(folder), *Path(folder).parents]


def unused(host: Host, prefixes: Sequence[str], used: set[str], staying: set[str]) -> list[str]:
    """Name the images of our containers and those with a prefix, but for what containers of others have."""
    # Of a prefix that names only the default registry nothing is left, and every name begins with that.
    beginnings = tuple(filter(None, (re.sub(DEFAULT_REGISTRY, "", prefix) for prefix in prefixes)))
    found = []
    # From version 29 on the command line lists images without a name only with --all. An older one then lists layers of
    # builds, too, which are images that others begin with. They go with the last of these, and not before it.
    rows = host.inspect("image", host.listed("image", "ls", "--all", "--quiet", "--no-trunc"))
    parents = {row.get("Parent") for row in rows}
    for row in rows:
        tags = [tag for tag in row.get("RepoTags") or [] if tag != "<none>:<none>"]
        names = tags + [name.partition("@")[0] for name in row.get("RepoDigests") or []]
        ours = row["Id"] in used or any(name.startswith(beginnings) for name in names)
        if ours and row["Id"] not in staying and (tags or row["Id"] not in parents):
            found += tags or [row["Id"]]
    return sorted(found)


def files(wanted: Parameters) -> list[str]:
    """List the paths that go, each as a whole."""
    folder = Path(os.path.realpath(wanted.path))
    kept = [] if wanted.data else [folder / Path(path).relative_to(wanted.path) for path in wanted.kept]
    return [str(path) for path in leaving(folder, [path for path in kept if path.exists()])]


def leaving(path: Path, kept: Sequence[Path]) -> list[Path]:
    """Give the path itself, or what is in it if a part of it stays. A disk of its own cannot be removed either."""
    if path in kept or not path.exists():
        return []
    if path.is_mount() or any(path in each.parents for each in kept):
        return [inner for each in sorted(path.iterdir()) for inner in leaving(each, kept)]
    return [path]


def remove(host: Host, wanted: Parameters, check: bool) -> dict[str, list[str]]:
    """Remove what is ours, and give the names. The order is one that a second run can go on with."""
    ours = units(host)
    engine = host.has_engine()
    found = objects(host, wanted) if engine else Objects([], {}, [], [])
    paths = files(wanted)
    removed = {
        "units": ours,
        "containers": found.containers,
        "networks": sorted(found.networks),
        "volumes": found.volumes,
        "images": found.images,
        "files": paths,
    }
    if check:
        return removed
    # Units first: they would start again what is stopped here.
    if ours:
        host.output("systemctl", "disable", "--now", *ours, seconds=STOP_SECONDS)
        for name in ours:
            os.unlink(os.path.join(host.units, name))
        host.output("systemctl", "daemon-reload")
    if found.containers:
        host.output("docker", "stop", *found.containers, seconds=STOP_SECONDS)
        host.output("docker", "rm", "--force", "--volumes", *found.containers)
    for network, guests in found.networks.items():
        for guest in guests:
            host.output("docker", "network", "disconnect", "--force", network, guest)
        host.output("docker", "network", "rm", network)
    if found.volumes:
        host.output("docker", "volume", "rm", *found.volumes)
    for image in found.images:
        host.output("docker", "image", "rm", image)
    for path in paths:
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    return removed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "data": {"type": "bool", "default": False},
            "kept": {"type": "list", "elements": "path", "default": []},
            "image_prefixes": {"type": "list", "elements": "str", "default": []},
            "runner_pattern": {"type": "str", "default": "^runner-"},
        },
        supports_check_mode=True,
    )
    given = module.params
    pattern = re.compile(given["runner_pattern"])
    wanted = Parameters(given["path"], given["data"], given["kept"], given["image_prefixes"], pattern)
    try:
        removed = remove(Host(run), wanted, module.check_mode)
    except (InstallationError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=any(removed.values()), removed=removed)


if __name__ == "__main__":
    main()
