# SPDX-License-Identifier: MIT
"""Module host_health_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_health_info
version_added: 0.1.0
short_description: See whether containers run as deployed, and what a host has left
description:
  - Looks at the Docker Engine, at each service of the given Compose projects, and at free disk space and memory.
  - Asks Compose in a dry run whether it would change anything of the projects. That is so after a change of their files
    that was not deployed, and where a container was stopped or removed by hand. Such a row warns.
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
  images:
    description:
      - References of images that services must run, by C(project/service), such as C(trigger-webapp/webapp).
      - A service that runs another one has a row that warns.
    type: dict
    default: {}
  alertmanager:
    description:
      - Name of a container that runs Alertmanager. It is asked which alerts are firing, which is a row that warns.
      - Silenced and inhibited alerts do not count. Empty means that it is not asked.
    type: str
  cleaned_file:
    description:
      - File in which the cleaning of task images notes when it last looked. A row warns if that is longer ago than
        O(cleaned_max_seconds), or if it never has since it was installed so long ago.
      - Empty means that nothing cleans here.
    type: str
  cleaned_max_seconds:
    description: Seconds within which the cleaning has to look again. It follows from its schedule.
    type: int
    default: 172800
  asked_at:
    description:
      - Unix time of the controller when it asks, in seconds. Given back in RV(clock), so that the filter
        P(selfhosted.trigger_dev.clock_check#filter) can compare the clocks.
    type: float
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
    warning:
      description: Whether it works, and you should look at it.
      type: bool
      returned: when it is so
clock:
  description: What the filter P(selfhosted.trigger_dev.clock_check#filter) needs, in Unix time.
  returned: success
  type: dict
  contains:
    asked_at:
      description: O(asked_at), or the same as RV(clock.began_at).
      type: float
      returned: always
    began_at:
      description: When the host began to look, by its own clock.
      type: float
      returned: always
    ended_at:
      description: When it was done.
      type: float
      returned: always
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._apparmor import (
    ENABLED,
    PROFILES,
    engine_uses_it,
    kernel_has_it,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import TOO_SLOW, Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._drift import changes, comparison
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._memory import (
    PROC,
    Memory,
    memory,
    used_by_containers,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._quantity import duration, size
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._units import FOLDER, unit_names

CONTAINERD_ROOT = "/var/lib/containerd"
CONTAINERD_STORE = "io.containerd.snapshotter"
LABEL = '{{.Label "com.docker.compose.%s"}}'
# A one-off container (`docker compose run`) is no service.
LABELS = [LABEL % name for name in ("project", "service", "oneoff")]
COLUMNS = "\t".join([*LABELS, "{{.ID}}", "{{.Names}}", "{{.Image}}", "{{.State}}", "{{.Status}}"])
# Of those that are silenced everybody knows.
ALERTS = "http://127.0.0.1:9093/api/v2/alerts?active=true&silenced=false&inhibited=false"
# As the alert TriggerMemoryLow.
MEMORY_LOW_PERCENT = 5
CLEANER = "task_images.py"
DRIFT_SECONDS = 180
# Of the containers that use memory, so many are named.
NAMED = 3
RUNNER = re.compile(r"runner-")


@dataclass(frozen=True)
class Parameters:
    projects: Mapping[str, str]
    paths: Sequence[str]
    minimum_free_percent: float
    images: Mapping[str, str] = field(default_factory=dict)
    alertmanager: str | None = None
    cleaned_file: str | None = None
    cleaned_max_seconds: int = 172800


@dataclass(frozen=True)
class Container:
    project: str
    service: str
    state: str
    status: str
    identity: str = ""
    name: str = ""
    image: str = ""

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
    rows = [line.split("\t", 7) for line in listing.splitlines() if line.count("\t") >= 7]
    return [Container(project, service, state, status, identity, name, image)
            for project, service, once, identity, name, image, state, status in rows if once != "True"]  # fmt: skip


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


def image(key: str, wanted: str, found: Sequence[Container]) -> Check:
    running = {one.image for one in found if f"{one.project}/{one.service}" == key and one.state == "running"}
    if running == {wanted}:
        return Check(f"image of {key}", True, f"{wanted}, as wanted")
    runs = f"runs {', '.join(sorted(running))}" if running else "does not run"
    return Check(f"image of {key}", True, f"{runs}, wanted {wanted}; run site, or upgrade for another version", True)


def drift(name: str, folder: str, runner: Run) -> Check:
    done = runner(comparison(folder), timeout=DRIFT_SECONDS)
    if done.code == TOO_SLOW:
        return Check(f"drift of {name}", True, f"Compose did not compare it within {DRIFT_SECONDS} s", True)
    changed = changes(done)
    if changed is None:
        return Check(f"drift of {name}", False, "docker compose --dry-run up fails, so it cannot be told")
    if changed:
        return Check(f"drift of {name}", True, f"not as its files say: {', '.join(changed)}; run site", True)
    return Check(f"drift of {name}", True, "containers are as its files say")


def alerts(name: str, runner: Run) -> Check:
    done = runner(["docker", "exec", name, "wget", "-q", "-O", "-", ALERTS])
    try:
        labels = [row["labels"] for row in json.loads(done.stdout)]
    except (ValueError, KeyError, TypeError):
        return Check("alerts", False, f"Alertmanager does not tell them (exit code {done.code})")
    firing = sorted(
        {f"{row.get('alertname')} ({row['host']})" if "host" in row else str(row.get("alertname")) for row in labels}
    )
    return Check("alerts", True, f"firing: {', '.join(firing)}" if firing else "none is firing", bool(firing))


def uncleaned(path: str, now: float) -> float:
    """Give the seconds since the cleaner was installed, which lies beside the file that it writes."""
    program = Path(path).with_name(CLEANER)
    return now - program.stat().st_mtime if program.exists() else 0


def cleaning(path: str, most: float, now: float) -> Check:
    try:
        ago = now - float(json.loads(Path(path).read_text(encoding="utf-8"))["looked"])
    except FileNotFoundError:
        return Check("cleaning of task images", True, "it has not looked yet", uncleaned(path, now) > most)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Check("cleaning of task images", False, f"{path} cannot be read: {error}")
    return Check("cleaning of task images", True, f"{duration(max(0, ago))} ago", ago > most)


def users(used: Mapping[str, int]) -> str:
    """Name those that use the most. Containers of runs are many and come and go, so they count as one."""
    runs = [number for name, number in used.items() if RUNNER.match(name)]
    rows = [(number, name) for name, number in used.items() if not RUNNER.match(name)]
    rows += [(sum(runs), f"{len(runs)} of runs")] if runs else []
    return ", ".join(f"{name} {size(number)}" for number, name in sorted(rows, reverse=True)[:NAMED])


def memory_left(has: Memory, used: Mapping[str, int]) -> Check:
    share = 100 * has.available / has.total
    detail = f"{size(has.available)} of {size(has.total)} available ({share:.0f} %)"
    most = users(used)
    return Check("memory", True, f"{detail}; most use {most}" if most else detail, share < MEMORY_LOW_PERCENT)


def memory_check(names: Mapping[str, str]) -> Check:
    try:
        has = memory((PROC / "meminfo").read_text())
    except (OSError, ValueError, KeyError) as error:
        return Check("memory", False, f"/proc/meminfo cannot be read: {error}")
    return memory_left(has, {names[identity]: number for identity, number in used_by_containers(names).items()})


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


def parts(runner: Run) -> str:
    """Name what of the engine's fills its disk."""
    done = runner(["docker", "system", "df", "--format", "{{.Type}}\t{{.Size}}\t{{.Reclaimable}}"])
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 2] if done.code == 0 else []
    return ", ".join(f"{kind.lower()} {used} (unused: {unused.split(' ')[0]})" for kind, used, unused in rows)


def disks(wanted: Parameters, of_engine: Sequence[str], runner: Run, measurer: Measure) -> Iterator[Check]:
    known = ""
    for path in dict.fromkeys([*wanted.paths, *of_engine]):
        check = disk(path, wanted.minimum_free_percent, measurer)
        if not check.ok and path in of_engine:
            # Only then: it adds up the files of all volumes, which takes time.
            known = known or parts(runner)
            check = replace(check, detail=f"{check.detail}: {known}") if known else check
        yield check


def look(wanted: Parameters, runner: Run, measurer: Measure) -> Iterator[Check]:
    answer = runner(["docker", "info", "--format", "{{json .}}"])
    try:
        engine = json.loads(answer.stdout)
    except ValueError:
        engine = {}
    version = engine.get("ServerVersion")
    found: list[Container] = []
    if not version:
        said = "; ".join(engine.get("ServerErrors") or [answer.error])
        yield Check("Docker Engine", False, said)
    else:
        yield Check("Docker Engine", True, f"version {version}")
        if kernel_has_it(ENABLED, PROFILES):
            yield confinement(engine)
        # Not only ours, because others use memory, too. Not truncated: images have the references that were given.
        listed = runner(["docker", "ps", "--all", "--no-trunc", "--format", COLUMNS])
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
                    yield drift(name, folder, runner)
            for key, reference in wanted.images.items():
                yield image(key, reference, found)
        if wanted.alertmanager:
            yield alerts(wanted.alertmanager, runner)
    names = {one.identity: one.name for one in found if one.state == "running"}
    yield memory_check(names)
    yield from units(runner, unit_names(FOLDER))
    if wanted.cleaned_file:
        yield cleaning(wanted.cleaned_file, wanted.cleaned_max_seconds, time.time())
    yield from disks(wanted, roots(engine), runner, measurer)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "projects": {"type": "dict", "default": {}},
            "images": {"type": "dict", "default": {}},
            "alertmanager": {"type": "str"},
            "cleaned_file": {"type": "str"},
            "cleaned_max_seconds": {"type": "int", "default": 172800},
            "asked_at": {"type": "float"},
            "paths": {"type": "list", "elements": "path", "default": []},
            "minimum_free_percent": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    began_at = time.time()
    params: dict[str, Any] = dict(module.params)
    asked_at = params.pop("asked_at")
    checks = [check.row for check in look(Parameters(**params), run, measure)]
    clock = {"asked_at": began_at if asked_at is None else asked_at, "began_at": began_at, "ended_at": time.time()}
    module.exit_json(changed=False, checks=checks, clock=clock)


if __name__ == "__main__":
    main()
