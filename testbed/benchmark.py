# SPDX-License-Identifier: MIT
"""Times a run behind each kind of socket proxy, and the adding of a worker to few and to many: containers as hosts.

`make benchmark WORKERS=20`. It measures and asserts nothing; the machine's processors are what most of it waits for.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import images, node
from .cluster import Cluster
from .common import CACHE, LABEL, ROOT, TestbedError, docker, replace_file, run, say, step
from .hello import Hello

NAME = "benchmark"
# Each host's systemd and engine hold seven of them (measured), and beyond the limit neither starts as a whole.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_EACH = 8
RUNS = 20
PROXY = "trigger-supervisor-docker-socket-proxy-1"
CONTROL = f"control.{NAME}"
FOLDER = CACHE / NAME


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


def _play(what: str, workers: int, *options: str) -> tuple[str, float]:
    """Run site with that many workers in the inventory."""
    began = time.monotonic()
    with step(what):
        log = run(
            Path(sys.executable).with_name("ansible-playbook"),
            ROOT / "site.yml",
            "-i",
            _inventory(workers),
            *options,
            env={"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        )
    replace_file(FOLDER / f"{what.replace(' ', '-')}.log", log)
    return what, time.monotonic() - began


def _runs(mode: str) -> tuple[str, float]:
    """Execute runs on the only worker, one after the other; the first one pulls the image and does not count."""
    hello = Hello(Cluster(CONTROL))
    key = hello.key()
    with step(f"{RUNS} runs behind the {mode} proxy"):
        seconds = [hello.trigger(key, {}).seconds for _ in range(RUNS + 1)]
    stats = docker("exec", worker(1), "docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", PROXY)
    return f"a run behind the {mode} proxy ({stats.split()[0]})", statistics.median(seconds[1:])


def measure() -> None:
    """Make hosts, measure, print a table, remove the hosts."""
    count = int(os.environ.get("WORKERS", "20"))
    if count < 4:
        raise TestbedError("WORKERS must be 4 or more")
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
        rows = [
            _play("control host and first worker", 1),
            _runs("strict"),
            _play("change to the classic proxy", 1, "-e", "supervisor_proxy_mode=classic"),
            _runs("classic"),
            _play("change back", 1),
            _play("add worker 2", 2, "--limit", worker(2)),
            _play(
                f"add workers 3 to {count - 1} at once",
                count - 1,
                "--limit",
                f"trigger_workers:!{worker(1)}:!{worker(2)}",
            ),
            _play(f"add worker {count}", count, "--limit", worker(count)),
            _play(f"nothing to do on {count} workers", count),
        ]
        print("", *(f"  {what:<48} {seconds:7.2f} s" for what, seconds in rows), "", sep="\n", flush=True)
    finally:
        remove()


def remove() -> None:
    """Remove the hosts and their network."""
    label = ["--filter", f"label={LABEL}={NAME}"]
    if found := docker("ps", "--all", "--quiet", *label).split():
        with step(f"Removing {len(found)} hosts"):
            docker("rm", "--force", "--volumes", *found)
    if found := docker("network", "ls", "--quiet", *label).split():
        docker("network", "rm", *found)
    say("The hosts of the benchmark are gone")
