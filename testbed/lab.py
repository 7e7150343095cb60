# SPDX-License-Identifier: MIT
"""The lab: three hosts on this machine, deployed over ssh as production is, and one task run on a worker."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from pathlib import Path

import yaml

from . import engine, images, scenario
from .cluster import HEARTBEAT_SECONDS, Cluster, Run
from .common import (
    CACHE,
    IMAGES,
    LAB,
    LABEL,
    ROOT,
    TestbedError,
    docker,
    lock,
    replace_file,
    require,
    run,
    say,
    step,
    stream,
)
from .hello import Hello

SSH = LAB / "ssh"
KIND = LAB / "kind"
CONTROL = "control.lab"
# The first heartbeat comes 30 s after the start of a supervisor.
_CONNECT_SECONDS = 75


def platforms() -> dict[str, dict[str, list[str]]]:
    """Read from the scenario what Molecule makes: container name -> its settings."""
    described = yaml.safe_load((ROOT / "molecule" / "lab" / "molecule.yml").read_text())
    return {platform["name"]: platform for platform in described["platforms"]}


def ports(platform: dict[str, list[str]]) -> dict[int, int]:
    """Give the published ports of a platform: container port -> port of the loopback."""
    split = [published.split(":") for published in platform["published_ports"]]
    return {int(inner): int(outer) for _, outer, inner in split}


def up() -> None:
    """Bring the lab up, from whatever state; raise when an instance is missing or the hello run fails."""
    with lock(LAB / "lock"):
        _check_ports()
        _check_kind()
        images.ensure()
        _keys()
        _nodes()
        _forget_old_images()
        with step("Deploying with site.yml over ssh", silent=False):
            playbook = Path(sys.executable).with_name("ansible-playbook")
            if code := stream(playbook, "site.yml", "-i", "inventories/lab"):
                raise TestbedError(f"ansible-playbook ended with {code}; `make lab` goes on from there")
        cluster = Cluster(CONTROL)
        with step("Hello run"):
            done = Hello(cluster).run()
        _await_instances(cluster)
        say("The lab is up")
        table(done)


def table(done: Run | None = None) -> None:
    """Print where the webapp is, what is connected and how the hello run went; raise when something is wrong."""
    cluster = Cluster(CONTROL)
    done = done or Hello(cluster).run()
    instances = {instance.name: instance for instance in cluster.instances()}
    rows = [("webapp", f"http://localhost:{ports(platforms()[CONTROL])[8030]}", "")]
    for name in sorted(expected() | set(instances)):
        instance = instances.get(name)
        age = "no heartbeat" if instance is None or instance.age is None else f"heartbeat {instance.age:.0f} s ago"
        rows.append(("instance", name, age))
    rows.append(("hello run", done.id, f"{done.status} on {done.worker} in {done.seconds:.1f} s"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {kind:<{widths[0]}}  {name:<{widths[1]}}  {fact}".rstrip() for kind, name, fact in rows]
    print("", *lines, "", sep="\n", flush=True)
    if missing := sorted(expected() - alive(cluster)):
        raise TestbedError(f"without a heartbeat of the last {HEARTBEAT_SECONDS:.0f} s: {', '.join(missing)}")
    if done.status != "COMPLETED":
        raise TestbedError(f"the hello run {done.id} ended as {done.status}")


def expected() -> set[str]:
    """Name the instances that have to be connected: the inventory names of the workers."""
    return {name.partition(".")[0] for name, platform in platforms().items() if "trigger_workers" in platform["groups"]}


def alive(cluster: Cluster) -> set[str]:
    """Name the instances with a fresh heartbeat."""
    return {instance.name for instance in cluster.instances() if instance.alive}


def _await_instances(cluster: Cluster) -> None:
    deadline = time.monotonic() + _CONNECT_SECONDS
    if expected() <= alive(cluster):
        return
    with step("Waiting for the heartbeats of the workers"):
        while not expected() <= alive(cluster) and time.monotonic() < deadline:
            time.sleep(1)


def _check_ports() -> None:
    running = scenario.containers("lab", everything=False) if engine.answers() else {}
    absent = {name: platform for name, platform in platforms().items() if name not in running}
    wanted = {outer: name for name, platform in absent.items() for outer in ports(platform).values()}
    taken: list[str] = []
    for port, name in sorted(wanted.items()):
        with socket.socket() as probe:
            # As Docker's own proxy binds: a connection that is merely closing does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"{port} ({name})")
    if taken:
        raise TestbedError(
            f"something else uses ports of 127.0.0.1 that the lab needs: {', '.join(taken)}. Nothing was changed."
        )


def _check_kind() -> None:
    """Doubles and genuine images have the same names, so nodes that hold the one kind would never get the other."""
    kind = "upstream" if images.upstream() else "doubles"
    if KIND.exists() and KIND.read_text() != kind:
        raise TestbedError(f"the lab was made with IMAGES={KIND.read_text()}; `make lab-down` comes first")
    replace_file(KIND, kind)


def _keys() -> None:
    """Have one key pair for the operator, one host key per node, and the file that says which host has which."""
    if SSH.exists():
        return
    require({"ssh-keygen": "openssh-client"})
    if scenario.containers("lab"):
        say("The nodes carry ssh keys that are lost: they are made anew")
        scenario.molecule("destroy", "lab")
    scratch = SSH.with_name("ssh.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    _keygen(scratch / "operator", "operator")
    known: list[str] = []
    for name, platform in platforms().items():
        folder = scratch / name
        folder.mkdir()
        _keygen(folder / "host_key", name)
        shutil.copy(scratch / "operator.pub", folder / "operator.pub")
        kind, key = (folder / "host_key.pub").read_text().split()[:2]
        known.append(f"[127.0.0.1]:{ports(platform)[22]} {kind} {key}\n")
    (scratch / "known_hosts").write_text("".join(known))
    scratch.rename(SSH)


def _keygen(path: Path, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)


def _nodes() -> None:
    """Have all nodes running, made of the present node images."""
    wanted = platforms()
    present = scenario.containers("lab")
    if [name for name in present if present[name] != images.inspect(str(wanted[name]["image"]))[0]]:
        with step("Removing nodes of an older image"):
            scenario.molecule("destroy", "lab")
        present = {}
    if set(present) == set(wanted):
        if stopped := sorted(set(wanted) - set(scenario.containers("lab", everything=False))):
            with step(f"Starting {', '.join(stopped)}"):
                docker("start", *stopped)
    else:
        # Molecule trusts its own notes of what it has made: after a kill they may be wrong.
        with step("Creating the hosts", silent=False):
            shutil.rmtree(scenario.state("lab"), ignore_errors=True)
            scenario.molecule("create", "lab")
    for name in wanted:
        _await_services(name)


def _forget_old_images() -> None:
    """Take the names from images that were built anew since: the deployment loads what is missing by name."""
    archived = list(json.loads(images.ARCHIVES.read_text()))
    template = f'{{{{index .Config.Labels "{images.INPUTS}"}}}}'
    # One line per image, an empty one for a missing image, and for all where there is no engine yet.
    script = 'for image; do echo "$(docker image inspect --format "$TEMPLATE" "$image" 2>/dev/null)"; done'
    for name in platforms():
        inputs = docker("exec", "--env", f"TEMPLATE={template}", name, "sh", "-c", script, "sh", *archived).splitlines()
        old = [image for image, made_of in zip(archived, inputs, strict=True) if made_of not in ("", _inputs(image))]
        if old:
            with step(f"Forgetting older builds of {len(old)} images on {name}"):
                docker("exec", name, "docker", "image", "rm", "--force", *old)


def _inputs(image: str) -> str:
    return images.inspect(image)[1]


def _await_services(name: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            docker("exec", name, "systemctl", "is-system-running", "--wait")
        except TestbedError as error:
            if time.monotonic() > deadline:
                raise TestbedError(f"{name} does not come up:\n{error}") from error
            time.sleep(1)
        else:
            return


def down() -> None:
    """Remove everything that the testbed has made, but for the Python environment."""
    if not LAB.exists() and not engine.answers():
        say("There is no lab and no engine")
    else:
        # What is to be removed lies in the engine, also when that has been stopped since.
        engine.ensure()
        _remove_objects()
        engine.stop()
    for folder in (LAB, IMAGES, scenario.HOME, CACHE / "hello", *images.SERVICES.rglob(".wheels")):
        shutil.rmtree(folder, ignore_errors=True)
    say("Nothing is left but the Python environment (make clean)")


def _remove_objects() -> None:
    label = ["--filter", f"label={LABEL}"]
    for name in scenario.SCENARIOS:
        if scenario.containers(name):
            scenario.molecule("destroy", name)
    # By label too: nodes that Molecule has no notes of, and what a killed build has left.
    with step("Removing containers, networks and images of the testbed"):
        for kind, listing, removal in (
            ("container", ["ls", "--all", "--quiet"], ["rm", "--force", "--volumes"]),
            ("network", ["ls", "--quiet"], ["rm"]),
        ):
            if found := docker(kind, *listing, *label).split():
                docker(kind, *removal, *found)
        # Removing an image removes its unnamed ancestors, so the list has to be read again.
        while found := docker("image", "ls", "--quiet", *label).split():
            docker("image", "rm", "--force", found[0])
