# SPDX-License-Identifier: MIT
"""Module host_health_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_health_info
version_added: 0.1.0
short_description: See whether containers run and disks have space
description:
  - Looks at the Docker Engine, at each service of the given Compose projects, and at the free space of disks.
  - Reports what it finds and does not fail because of it, so that one fault does not hide the others.
requirements:
  - the C(docker) command on the host, with Compose
options:
  projects:
    description:
      - Compose projects by their names, each with the folder that holds its C(compose.yml).
      - Every service of that file must have a container that runs and is healthy.
    type: dict
    default: {}
  paths:
    description: Paths whose disks are looked at. Those of the engine's images and volumes always are.
    type: list
    elements: path
    default: []
  minimum_free_percent:
    description: Share of a disk that must be free, in percent.
    type: float
    default: 10
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Look at the host
  selfhosted.trigger_dev.host_health_info:
    projects:
      trigger-supervisor: /opt/trigger/supervisor
    paths: [/opt/trigger]
"""

RETURN = r"""
checks:
  description: One entry for everything that was looked at.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was looked at.
      type: str
      returned: always
      sample: trigger-supervisor/supervisor
    ok:
      description: Whether it is as it must be.
      type: bool
      returned: always
    detail:
      description: What was found.
      type: str
      returned: always
      sample: Up 3 hours (healthy)
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._apparmor import (
    ENABLED,
    PROFILES,
    engine_uses_it,
    kernel_has_it,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check, size
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._units import FOLDER, unit_names

CONTAINERD_ROOT = "/var/lib/containerd"
CONTAINERD_STORE = "io.containerd.snapshotter"
LABEL = '{{.Label "com.docker.compose.%s"}}'
# A one-off container (`docker compose run`) is nobody's service.
COLUMNS = "\t".join([LABEL % "project", LABEL % "service", LABEL % "oneoff", "{{.State}}", "{{.Status}}"])


@dataclass(frozen=True)
class Parameters:
    projects: Mapping[str, str]
    paths: Sequence[str]
    minimum_free_percent: float


@dataclass(frozen=True)
class Container:
    project: str
    service: str
    state: str
    status: str

    @property
    def healthy(self) -> bool:
        return self.state == "running" and "(unhealthy)" not in self.status and "(health: " not in self.status


@dataclass(frozen=True)
class Space:
    free: int
    total: int


# Path -> the space of its disk.
Measure = Callable[[str], Space]


def measure(path: str) -> Space:
    """Count as df does: what only root may use is neither free nor part of the whole."""
    found = os.statvfs(path)
    used = found.f_blocks - found.f_bfree
    return Space(found.f_bavail * found.f_frsize, (used + found.f_bavail) * found.f_frsize)


def containers(listing: str) -> list[Container]:
    rows = [line.split("\t", 4) for line in listing.splitlines() if line.count("\t") >= 4]
    return [Container(project, service, state, status) for project, service, once, state, status in rows
            if once != "True"]  # fmt: skip


def services(runner: Run, folder: str) -> list[str] | str:
    """Give the services of a project, or say why they are not known."""
    file = f"{folder}/compose.yml"
    if not Path(file).is_file():
        return f"is not deployed ({file} does not exist)"
    done = runner(["docker", "compose", "--file", file, "config", "--services"])
    # What Compose says about an environment file that it cannot read may quote a secret from it.
    return done.stdout.split() if done.code == 0 else f"docker compose --file {file} config fails"


def project(name: str, wanted: Sequence[str], found: Sequence[Container]) -> Iterator[Check]:
    for service in sorted(wanted):
        mine = [one for one in found if (one.project, one.service) == (name, service)]
        detail = ", ".join(one.status or one.state for one in mine) or "there is no container"
        yield Check(f"{name}/{service}", bool(mine) and all(one.healthy for one in mine), detail)


def disk(path: str, minimum: float, measurer: Measure) -> Check:
    try:
        space = measurer(path)
    except OSError as error:
        return Check(f"disk of {path}", False, error.strerror or str(error))
    share = 100 * space.free / space.total if space.total else 0
    detail = f"{size(space.free)} of {size(space.total)} free ({share:.0f} %)"
    return Check(
        f"disk of {path}", share >= minimum, detail if share >= minimum else f"{detail}, less than {minimum:g} %"
    )


def units(runner: Run, names: Sequence[str]) -> Iterator[Check]:
    """See that systemd has the units as they are on the disk, and that timers run."""
    if not names:
        return
    done = runner(["systemctl", "show", "--property=Id,LoadState,ActiveState,NeedDaemonReload", "--", *names])
    wrong = [] if done.code == 0 else [done.error]
    for block in done.stdout.strip().split("\n\n") if done.code == 0 else []:
        has = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = has.get("Id", "")
        if has.get("NeedDaemonReload") == "yes":
            wrong.append(f"{name} was changed and systemd has the old one in force, run site")
        elif has.get("LoadState") != "loaded":
            wrong.append(f"{name} is {has.get('LoadState')}")
        elif name.endswith(".timer") and has.get("ActiveState") != "active":
            wrong.append(f"{name} is {has.get('ActiveState')}")
    yield Check("units of systemd", not wrong, "; ".join(wrong) or f"{len(names)} as they are on the disk")


def roots(engine: Mapping[str, Any]) -> list[str]:
    """Give the folders of the engine's data: images are in containerd's own where the engine has them in its store."""
    contained = any(CONTAINERD_STORE in str(row) for row in engine.get("DriverStatus") or [])
    return [root for root in (engine.get("DockerRootDir"), CONTAINERD_ROOT if contained else None) if root]


def confinement(engine: Mapping[str, Any]) -> Check:
    used = engine_uses_it(engine)
    unused = "the kernel has it and the engine does not use it: install the package apparmor and restart the engine"
    return Check("AppArmor", used, "containers run under its profiles" if used else unused)


def look(wanted: Parameters, runner: Run, measurer: Measure) -> Iterator[Check]:
    answer = runner(["docker", "info", "--format", "{{json .}}"])
    try:
        engine = json.loads(answer.stdout)
    except ValueError:
        engine = {}
    version = engine.get("ServerVersion")
    if not version:
        said = "; ".join(engine.get("ServerErrors") or [answer.error])
        yield Check("Docker Engine", False, said)
    else:
        yield Check("Docker Engine", True, f"version {version}")
        if kernel_has_it(ENABLED, PROFILES):
            yield confinement(engine)
        listed = runner(["docker", "ps", "--all", "--filter", "label=com.docker.compose.project", "--format", COLUMNS])
        if listed.code != 0:
            yield Check("containers", False, listed.error)
        else:
            found = containers(listed.stdout)
            for name, folder in wanted.projects.items():
                known = services(runner, folder)
                if isinstance(known, str):
                    yield Check(name, False, known)
                else:
                    yield from project(name, known, found)
    yield from units(runner, unit_names(FOLDER))
    for path in dict.fromkeys([*wanted.paths, *roots(engine)]):
        yield disk(path, wanted.minimum_free_percent, measurer)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "projects": {"type": "dict", "default": {}},
            "paths": {"type": "list", "elements": "path", "default": []},
            "minimum_free_percent": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    params: dict[str, Any] = module.params
    checks = look(Parameters(**params), run, measure)
    module.exit_json(changed=False, checks=[asdict(check) for check in checks])


if __name__ == "__main__":
    main()
