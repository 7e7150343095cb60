# SPDX-License-Identifier: MIT
"""Runs Molecule with the engine and images seen to, and with its traces kept inside the checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import images
from .common import CACHE, LABEL, ROOT, TestbedError, docker, stream

# Those of the tests, and `lab`, whose hosts are those of `make lab`.
SCENARIOS = tuple(sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")))
# Those with tests that take too long for every change.
SOAK = "pytest.mark.soak"
SOAKS = tuple(sorted({path.parts[-3] for path in ROOT.glob("molecule/*/tests/*.py") if SOAK in path.read_text()}))
HOME = CACHE / "molecule"


def state(name: str) -> Path:
    """Where Molecule keeps its notes and the inventory of a scenario."""
    return HOME / name


def molecule(command: str, name: str, *options: str) -> None:
    """Run one Molecule command on one scenario."""
    tools = Path(sys.executable).parent
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        # Molecule and its Docker driver leave job files in the home folder, also after `destroy`.
        "HOME": str(HOME),
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(state(name)),
        "MOLECULE_REPORT": "false",
        "MOLECULE_COMMAND_BORDERS": "false",
    }
    HOME.mkdir(parents=True, exist_ok=True)
    if code := stream(tools / "molecule", command, "--scenario-name", name, *options, env=environment):
        raise TestbedError(f"molecule {command} of {name} ended with {code}")


def test(name: str) -> None:
    """Run a scenario's whole sequence, which removes its nodes also when a step of it fails."""
    images.ensure()
    molecule("test", name, "--destroy", "always")


def step(command: str, name: str) -> None:
    """Run one step of a scenario; its hosts stay."""
    if command == "converge":
        images.ensure()
    molecule(command, name)


def soak(*names: str) -> None:
    """Run the tests that are marked `soak` on fresh hosts of these scenarios, which are removed after them."""
    images.ensure(soak=True)
    for name in names or SOAKS:
        environment = {
            "HOME": str(HOME),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(state(name)),
        }
        molecule("destroy", name)
        molecule("converge", name)
        hosts = ("--ansible-inventory", state(name) / "inventory", "--connection", "ansible")
        options = ("-v", "-s", "-m", "soak", "-p", "no:cacheprovider", *hosts)
        tests = ROOT / "molecule" / name / "tests"
        if code := stream(Path(sys.executable).parent / "pytest", *options, tests, env=environment):
            raise TestbedError(f"the soak of {name} ended with {code}; its hosts stay (make destroy-{name})")
        molecule("destroy", name)


def containers(label_value: str | None = None, *, everything: bool = True) -> dict[str, str]:
    """List the testbed's containers: name -> id of the image that they were made of."""
    label = LABEL if label_value is None else f"{LABEL}={label_value}"
    states = ["--all"] if everything else []
    names = docker("ps", *states, "--filter", f"label={label}", "--format", "{{.Names}}").split()
    return {name: docker("inspect", "--format", "{{.Image}}", name).strip() for name in names}
