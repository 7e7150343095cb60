# SPDX-License-Identifier: MIT
"""Starts the supervisors of a worker host after its engine, and stops them before it. A unit of systemd runs this.

`stop` keeps an engine that is stopped (an upgrade of its packages, a shutdown of the host) from taking runs along:
no supervisor asks for runs any more, those that go on have some time to end, and what is left then is stopped while
its supervisor can still report that, so that the webapp queues it anew at once. Without the report it waits 300 s.

`start` starts what is stopped, first each socket proxy: it mounts the engine's socket, which may be another file now.
Where the file --proof is asked for and missing, the firewall of task containers is not in force, and nothing starts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # these need a newer Python than a host may have
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Run = Callable[..., str]

# Compose's labels, and that of this collection.
ROLE = "dev.trigger.ansible/role=supervisor"
PROJECT, SERVICE, FOLDER = (f"com.docker.compose.{name}" for name in ("project", "service", "project.working_dir"))
SUPERVISOR, PROXY = "supervisor", "docker-socket-proxy"
NETWORKS = "DOCKER_RUNNER_NETWORKS="
# A supervisor that serves task containers and asks for no runs.
STANDBY = "standby"
COMMAND_SECONDS = 60
HEALTHY_SECONDS = 60
# A task container that is stopped reports for about 7 s.
REPORT_SECONDS = 15
PAUSE_SECONDS = 0.5


class Problem(Exception):
    """What went wrong, in one line."""


@dataclass(frozen=True)
class Project:
    """The containers of a supervisor, by their service."""

    name: str
    folder: str
    containers: Mapping[str, Mapping[str, Any]]

    @property
    def standby(self) -> str:
        """Name of the supervisor that serves task containers and asks for no runs."""
        return f"{self.name}-{STANDBY}"

    def running(self, service: str) -> bool:
        """Tell whether a service has a container that runs."""
        return bool(self.containers.get(service, {}).get("State", {}).get("Running"))

    def id(self, service: str) -> str:
        """Give the container of a service."""
        return str(self.containers[service]["Id"])

    @property
    def network(self) -> str:
        """Give the network of the task containers, as the supervisor was told it."""
        environment = self.containers[SUPERVISOR]["Config"]["Env"]
        return next((line[len(NETWORKS) :] for line in environment if line.startswith(NETWORKS)), "")


def run(*command: str) -> str:
    """Run a command that has to succeed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"{' '.join(command[:3])}: {error}") from None
    if done.returncode != 0:
        raise Problem(f"{' '.join(command[:3])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def containers(runner: Run, *filters: str) -> list[str]:
    """List containers, running or not."""
    words = [word for each in filters for word in ("--filter", each)]
    return runner("docker", "ps", "--all", "--no-trunc", "--quiet", *words).split()


def projects(runner: Run) -> list[Project]:
    """Find the supervisors of this host by the labels of their containers."""
    found = containers(runner, f"label={ROLE}", "label=com.docker.compose.oneoff=False")
    by_name: dict[str, dict[str, Any]] = {}
    for container in json.loads(runner("docker", "inspect", *found)) if found else []:
        labels = container["Config"]["Labels"]
        by_name.setdefault(labels[PROJECT], {})[labels[SERVICE]] = container
    return [
        Project(name, next(iter(services.values()))["Config"]["Labels"][FOLDER], services)
        for name, services in sorted(by_name.items())
    ]


def runs(runner: Run, project: Project) -> list[str]:
    """List the task containers of a supervisor."""
    return containers(runner, "name=^runner-", f"network={project.network}", "status=running")


def remove_standby(runner: Run, found: Iterable[Project]) -> None:
    """Remove what stood in for supervisors."""
    for project in found:
        for container in containers(runner, f"name=^{project.standby}$"):
            runner("docker", "rm", "--force", container)


@dataclass(frozen=True)
class Clock:
    """The time, and a way to let it pass."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def until(self, question: Callable[[], bool], seconds: float) -> bool:
        """Ask until the answer is yes or the time is over."""
        end = self.now() + seconds
        while not (answer := question()) and self.now() < end:
            self.sleep(PAUSE_SECONDS)
        return answer


def stop(runner: Run, clock: Clock, seconds: float) -> None:
    """Stop all supervisors, their runs before them."""
    found = [project for project in projects(runner) if SUPERVISOR in project.containers]
    busy = [project for project in found if runs(runner, project)]
    # All of them at first: none may take a run while another one is waited for.
    for project in found:
        if project.running(SUPERVISOR):
            runner("docker", "stop", project.id(SUPERVISOR))
    for project in busy:
        compose = ("docker", "compose", "--file", f"{project.folder}/compose.yml", "run", "--detach", "--no-deps")
        runner(
            *compose, "--use-aliases", "--name", project.standby, "--env", "TRIGGER_DEQUEUE_ENABLED=false", SUPERVISOR
        )

    def over() -> bool:
        return not any(runs(runner, project) for project in busy)

    if not clock.until(over, seconds):
        left = [container for project in busy for container in runs(runner, project)]
        if left:
            print(f"{len(left)} runs are still in progress after {seconds:g} s, and are stopped", flush=True)
            runner("docker", "stop", *left)
        clock.until(over, REPORT_SECONDS)
    remove_standby(runner, busy)
    for project in found:
        if project.running(PROXY):
            runner("docker", "stop", project.id(PROXY))


def start(runner: Run, clock: Clock, proof: Path | None) -> None:
    """Start all supervisors that are not running."""
    if proof and not proof.exists():
        raise Problem(f"the firewall of task containers is not in force ({proof} is missing), so no supervisor starts")
    found = projects(runner)
    remove_standby(runner, found)
    for project in found:
        if SUPERVISOR not in project.containers or project.running(SUPERVISOR):
            continue
        if PROXY in project.containers:
            # With live-restore a proxy may have outlived the engine, and the socket that it has mounted is the old one.
            runner("docker", "restart" if project.running(PROXY) else "start", project.id(PROXY))

            def healthy(container: str = project.id(PROXY)) -> bool:
                return (
                    runner("docker", "inspect", "--format", "{{.State.Health.Status}}", container).strip() == "healthy"
                )

            if not clock.until(healthy, HEALTHY_SECONDS):
                raise Problem(f"the socket proxy of {project.name} is not healthy, so its supervisor does not start")
        runner("docker", "start", project.id(SUPERVISOR))


def main(arguments: Sequence[str], runner: Run = run, clock: Clock | None = None) -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("--wait-seconds", type=float, default=0)
    parser.add_argument("--proof", type=Path)
    wanted = parser.parse_args(arguments)
    try:
        if wanted.action == "stop":
            stop(runner, clock or Clock(), wanted.wait_seconds)
        else:
            start(runner, clock or Clock(), wanted.proof)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
