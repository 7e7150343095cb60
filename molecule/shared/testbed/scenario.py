# SPDX-License-Identifier: MIT
"""Runs Molecule with the engine and images seen to, and with its traces kept inside the checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import images
from .common import CACHE, LABEL, TestbedError, docker, stream

SCENARIOS = ("default", "cluster", "lab")
HOME = CACHE / "molecule"


def molecule(*arguments: str) -> None:
    """Run one Molecule command."""
    tools = Path(sys.executable).parent
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        # Molecule and its Docker driver leave state and job files in the home folder, also after `destroy`.
        "HOME": str(HOME),
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
    }
    HOME.mkdir(parents=True, exist_ok=True)
    if code := stream(tools / "molecule", *arguments, env=environment):
        raise TestbedError(f"molecule {' '.join(arguments)} ended with {code}")


def test(name: str) -> None:
    """Run a scenario's whole sequence, which removes its nodes also when a step of it fails."""
    images.ensure()
    molecule("test", "--scenario-name", name, "--destroy", "always")


def containers(label_value: str | None = None, *, everything: bool = True) -> dict[str, str]:
    """List the testbed's containers: name -> id of the image that they were made of."""
    label = LABEL if label_value is None else f"{LABEL}={label_value}"
    states = ["--all"] if everything else []
    names = docker("ps", *states, "--filter", f"label={label}", "--format", "{{.Names}}").split()
    return {name: docker("inspect", "--format", "{{.Image}}", name).strip() for name in names}
