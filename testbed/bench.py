# SPDX-License-Identifier: MIT
"""Measures what deployments cost, with containers as hosts: `make bench WORKERS=8 RUNS=5`. It asserts nothing.

Everything is measured in one run on one machine, so that its ratios tell more than its seconds.
docs/performance.md has the figures.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import bench_report, images, node
from .cluster import Cluster
from .common import CACHE, LABEL, ROOT, TestbedError, docker, replace_file, say, step
from .executions import executions
from .hello import Hello

NAME = "bench"
# Each host's systemd and engine hold seven of them (measured), and beyond the limit neither starts as a whole.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_EACH = 8
TASK_RUNS = 20
PROXY = "trigger-supervisor-docker-socket-proxy-1"
CONTROL = f"control.{NAME}"
FOLDER = CACHE / NAME
# In the order in which an operator would start them.
PROJECTS = {CONTROL: ("webapp", "registry"), "worker": ("supervisor",)}


@dataclass
class Measure:
    """What was measured each time: wall seconds, processor seconds of the controller, memory of its largest process."""

    name: str
    seconds: list[float] = field(default_factory=list)
    controller_seconds: list[float] = field(default_factory=list)
    controller_mib: list[float] = field(default_factory=list)


def worker(number: int) -> str:
    """Name of a worker host."""
    return f"worker{number}.{NAME}"


def _start(name: str, row: dict[str, Any]) -> None:
    published = [f"--publish={port}" for port in row["published_ports"] if name == CONTROL]
    node.start(name, row, NAME, f"--network=trigger-{NAME}", *published)


def _inventory(workers: int) -> Path:
    path = FOLDER / "hosts.json"
    connection = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
    variables = {
        **connection,
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": f"http://{CONTROL}:8030",
        "trigger_registry_host": f"{CONTROL}:5000",
        "trigger_object_store_origin": f"http://{CONTROL}:9000",
        "trigger_image_archives": json.loads(images.ARCHIVES.read_text()),
    }
    groups = {"trigger_control": [CONTROL], "trigger_workers": [worker(number + 1) for number in range(workers)]}
    children: dict[str, Any] = {name: {"hosts": {host: {} for host in hosts}} for name, hosts in groups.items()}
    replace_file(path, json.dumps({"all": {"vars": variables, "children": children}}))
    return path


def _command(measure: Measure, *words: str | Path, environment: Mapping[str, str]) -> str:
    """Run a program of Ansible, add what it has cost, and give what it printed."""
    program = Path(sys.executable).with_name(str(words[0]))
    log = FOLDER / f"{re.sub('[^a-z0-9]+', '-', measure.name.lower())}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("wb") as stream:
        process = os.posix_spawn(
            program,
            [str(program), *map(str, words[1:])],
            {**os.environ, **environment},
            file_actions=[(os.POSIX_SPAWN_DUP2, stream.fileno(), 1), (os.POSIX_SPAWN_DUP2, stream.fileno(), 2)],
        )
        _, status, used = os.wait4(process, 0)
    measure.seconds.append(time.monotonic() - began)
    measure.controller_seconds.append(used.ru_utime + used.ru_stime)
    measure.controller_mib.append(used.ru_maxrss / 1024)
    if status:
        raise TestbedError(f"{measure.name} failed; {log.relative_to(ROOT)} tells why")
    return log.read_text(errors="replace")


def _ansible(measure: Measure, workers: int, *words: str | Path) -> str:
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
    with step(measure.name):
        return _command(measure, words[0], "-i", _inventory(workers), *words[1:], environment=environment)


def _play(name: str, workers: int, *options: str, runs: int = 1) -> Measure:
    """Run site with that many workers in the inventory."""
    measure = Measure(name)
    for _ in range(runs):
        _ansible(measure, workers, "ansible-playbook", ROOT / "site.yml", *options)
    return measure


def _ping(workers: int, runs: int) -> Measure:
    """What a single round trip to every host costs."""
    measure = Measure(f"ping of {workers + 1} hosts")
    for _ in range(runs):
        _ansible(measure, workers, "ansible", "all", "-m", "ansible.builtin.ping")
    return measure


def _executed(workers: int) -> dict[str, int]:
    log = _ansible(Measure("what is executed on each host"), workers, "ansible-playbook", ROOT / "site.yml", "-vvv")
    found = executions(log)
    return {"control host": found.get(CONTROL, 0), "worker": found.get(worker(1), 0)}


def _by_hand(name: str, host: str, projects: Sequence[str]) -> Measure:
    """Time what an operator would type for the same projects, from prepared folders with images that are there."""
    folders = [f"/opt/trigger/{project}" for project in projects]
    for folder in reversed(folders):
        docker("exec", "--workdir", folder, host, "docker", "compose", "down", "--volumes")
    measure = Measure(name)
    began = time.monotonic()
    with step(name):
        for folder in folders:
            docker("exec", "--workdir", folder, host, "docker", "compose", "up", "--detach", "--wait")
    measure.seconds.append(time.monotonic() - began)
    return measure


def _runs(mode: str) -> Measure:
    """Execute runs on the workers, one after the other; the first one pulls the image and does not count."""
    hello = Hello(Cluster(CONTROL))
    key = hello.key()
    with step(f"{TASK_RUNS} runs behind the {mode} proxy"):
        seconds = [hello.trigger(key, {}).seconds for _ in range(TASK_RUNS + 1)]
    stats = docker("exec", worker(1), "docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", PROXY)
    return Measure(f"a run behind the {mode} proxy ({stats.split()[0]})", seconds[1:])


def _number(name: str, default: int, least: int) -> int:
    given = os.environ.get(name) or str(default)
    if not given.isdigit() or int(given) < least:
        raise TestbedError(f"{name} must be a number of {least} or more, is {given}")
    return int(given)


def _measures(count: int, runs: int) -> tuple[list[Measure], dict[str, int]]:
    """Take the measures, in an order in which each finds what it needs."""
    found: list[Measure] = [_play("the first deployment, control host and 2 workers", 2)]
    steps: list[Callable[[], Measure]] = [
        lambda: _ping(2, runs),
        lambda: _play("nothing to do, 2 workers", 2, runs=runs),
        lambda: _runs("strict"),
        lambda: _play("change to the classic proxy", 2, "-e", "supervisor_proxy_mode=classic"),
        lambda: _runs("classic"),
        lambda: _play("change back", 2),
        lambda: _play("add worker 3", 3, "--limit", worker(3)),
        lambda: _play(
            f"add workers 4 to {count - 1} at once",
            count - 1,
            "--limit",
            ",".join(worker(number) for number in range(4, count)),
        ),
        lambda: _play(f"add worker {count}", count, "--limit", worker(count)),
        lambda: _ping(count, runs),
        lambda: _play(f"nothing to do, {count} workers", count, runs=runs),
    ]
    found += [take() for take in steps]
    executed = _executed(count)
    found.append(_by_hand("a worker by hand", worker(count), PROJECTS["worker"]))
    # Last: it takes the data of the installation.
    found.append(_by_hand("the control host by hand", CONTROL, PROJECTS[CONTROL]))
    return found, executed


def measure() -> None:
    """Make hosts, measure, print a table, remove the hosts. Figures and plot are in .cache/bench."""
    count, runs = _number("WORKERS", 8, 5), _number("RUNS", 5, 1)
    if (limit := int(INOTIFY.read_text())) < (needed := INOTIFY_EACH * (count + 1)):
        raise TestbedError(
            f"{count + 1} hosts need more inotify instances than {limit}."
            f" Run: sudo sysctl -w fs.inotify.max_user_instances={needed}"
        )
    images.ensure()
    remove()
    try:
        docker("network", "create", "--label", f"{LABEL}={NAME}", f"trigger-{NAME}")
        platform = node.platform("scale")
        with step(f"Starting {count + 1} hosts"), ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: _start(name, platform), [CONTROL, *(worker(n + 1) for n in range(count))]))
        found, executed = _measures(count, runs)
    finally:
        remove()
    rows = [asdict(each) for each in found]
    figures = {"processors": os.cpu_count(), "workers": count, "measures": rows, "executions": executed}
    replace_file(FOLDER / "figures.json", json.dumps(figures, indent=2) + "\n")
    replace_file(FOLDER / "nothing-to-do.svg", bench_report.plot(noops(found)))
    print(
        "",
        *bench_report.table(rows),
        *bench_report.ratios({each.name: each.seconds for each in found}, count),
        sep="\n",
    )
    print("", *(f"  executed on the {host}: {number}" for host, number in executed.items()), "", sep="\n", flush=True)


def noops(found: Sequence[Measure]) -> dict[int, float]:
    """Pick what a run with nothing to do takes: number of workers -> median of its seconds."""
    pattern = re.compile(r"nothing to do, (\d+) workers")
    matches = [(pattern.fullmatch(each.name), each) for each in found]
    return {int(match[1]): statistics.median(each.seconds) for match, each in matches if match}


def remove() -> None:
    """Remove the hosts and their network."""
    label = ["--filter", f"label={LABEL}={NAME}"]
    if found := docker("ps", "--all", "--quiet", *label).split():
        with step(f"Removing {len(found)} hosts"):
            docker("rm", "--force", "--volumes", *found)
    if found := docker("network", "ls", "--quiet", *label).split():
        docker("network", "rm", *found)
    say("The hosts of the benchmark are gone")
