# SPDX-License-Identifier: MIT
"""Sees to a Docker Engine: takes the running one, else starts the installed one, else installs the distribution's."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .common import LAB, TestbedError, docker, install, replace_file, run, say, step

STATE = LAB / "engine.json"
LOG = LAB / "dockerd.log"
_START_SECONDS = 60
# Where the nodes' own engines keep their data, among others.
VOLUMES = Path("/var/lib/docker/volumes")
_MOUNT = "trigger-testbed"
_MEMORY_BYTES = 16 * 1000**3


def answers() -> bool:
    """Tell whether an engine answers; a CLI without a daemon does not count."""
    try:
        # Not `docker info`: newer CLIs end it with 0 although no daemon answered.
        return docker("version", "--format", "{{.Server.Version}}").strip() != ""
    except TestbedError:
        return False


def ensure() -> None:
    """Have an engine that answers, or raise with what the user can do."""
    if answers():
        return
    if host := os.environ.get("DOCKER_HOST"):
        raise TestbedError(f"no Docker Engine answers at DOCKER_HOST={host}")
    if os.geteuid() != 0:
        raise TestbedError(_advice())
    if not shutil.which("dockerd") or not shutil.which("docker"):
        install(_packages())
        # The package starts the service itself where there is a service manager.
    if not answers():
        _start()


def _advice() -> str:
    if Path("/var/run/docker.sock").exists():
        return (
            "Docker's socket does not answer to you. Join its group (sudo usermod -aG docker $USER, log in anew),"
            " start the engine (sudo systemctl start docker), or run the command as root."
        )
    return (
        "no Docker Engine is running. Run: sudo apt-get install docker.io iptables, and join the group docker;"
        " or run the command as root."
    )


def _packages() -> list[str]:
    # From Debian 13 on the CLI is a package of its own.
    cli = "docker-cli"
    separate = not shutil.which("docker") and run("apt-cache", "search", "--names-only", f"^{cli}$").strip() != ""
    return ["docker.io", "iptables", *([cli] if separate else [])]


def _start() -> None:
    LAB.mkdir(parents=True, exist_ok=True)
    if Path("/proc/1/comm").read_text().strip() == "systemd":
        with step("Starting the Docker Engine with systemd"):
            run("systemctl", "start", "docker")
            replace_file(STATE, json.dumps({"systemd": True}))
            _wait(None)
        return
    _keep_volumes_in_memory()
    with step(f"Starting the Docker Engine without a service manager (log: {LOG})"):
        with LOG.open("ab") as log:
            daemon = subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        replace_file(STATE, json.dumps({"pid": daemon.pid, "began": _began(daemon.pid)}))
        _wait(daemon)


def _keep_volumes_in_memory() -> None:
    """Spare the nodes a disk that all of them share: whatever one of them writes durably makes the others wait.

    With four programs beside it that write, a supervisor is away for 17 to 21 s instead of one (measured), and runners
    wait for seven. A node needs 0.3 GB, and a control host 1.1 GB.
    """
    if os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") < _MEMORY_BYTES or VOLUMES.is_mount():
        return
    VOLUMES.mkdir(parents=True, exist_ok=True)
    # Volumes without a name belong to containers that are gone; those that somebody has named stay in sight.
    if all(re.fullmatch("[0-9a-f]{64}", path.name) for path in VOLUMES.iterdir() if path.is_dir()):
        run("mount", "-t", "tmpfs", "-o", "mode=0701,size=75%", _MOUNT, VOLUMES)


def _wait(daemon: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        if daemon and daemon.poll() is not None:
            tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-15:])
            raise TestbedError(f"dockerd ended with {daemon.returncode}:\n{tail}")
        if time.monotonic() > deadline:
            raise TestbedError(f"the Docker Engine did not answer within {_START_SECONDS} s")
        time.sleep(0.5)


def _began(pid: int) -> str:
    # Start time in ticks: tells our daemon from a later process that got the same number.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def started_by_us() -> bool:
    """Tell whether this checkout started the engine that runs now."""
    if not STATE.exists():
        return False
    state = json.loads(STATE.read_text())
    if "pid" not in state:
        return True
    try:
        return _began(state["pid"]) == str(state["began"])
    except FileNotFoundError:
        return False


def stop() -> None:
    """Stop the engine if this checkout started it and nobody else runs containers on it."""
    if not started_by_us():
        return
    if docker("ps", "--quiet").strip():
        say("The Docker Engine goes on: containers that are not of the testbed run on it")
        return
    state = json.loads(STATE.read_text())
    with step("Stopping the Docker Engine that this checkout started"):
        if "pid" not in state:
            run("systemctl", "stop", "docker.socket", "docker.service")
            return
        os.kill(state["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _START_SECONDS
        while started_by_us() and not _zombie(state["pid"]):
            if time.monotonic() > deadline:
                raise TestbedError(f"dockerd (pid {state['pid']}) did not end within {_START_SECONDS} s")
            time.sleep(0.2)
        # Not what somebody else has mounted there.
        if f"{_MOUNT} {VOLUMES} " in Path("/proc/mounts").read_text():
            run("umount", VOLUMES)


def _zombie(pid: int) -> bool:
    # Nobody may be there to reap it on a machine without a service manager.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
