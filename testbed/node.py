# SPDX-License-Identifier: MIT
"""Hosts that are started one by one, with what those of a scenario are started with."""

from __future__ import annotations

from typing import Any

import yaml

from .common import LABEL, ROOT, TESTBED, docker, run

BOOT_SECONDS = 120


def platform(scenario: str) -> dict[str, Any]:
    """Give what the first host of a scenario is started with."""
    described = yaml.safe_load((ROOT / f"molecule/{scenario}/molecule.yml").read_text())
    options = yaml.safe_load((TESTBED / "nodes/node.yml").read_text())["node_options"]
    first = described["platforms"][0]
    return {**options, **first, "volumes": [*options["volumes"], *first.get("volumes", [])]}


def start(name: str, row: dict[str, Any], label: str, *flags: str) -> None:
    """Start a host, and wait for its service manager."""
    given = [f"--cap-add={capability}" for capability in row["capabilities"]]
    given += [f"--security-opt={option}" for option in row["security_opts"]]
    given += [f"--volume={volume}" for volume in row["volumes"]]
    given += [f"--tmpfs={path}" for path in row["tmpfs"]]
    given += [f"--cgroupns={row['cgroupns_mode']}", f"--label={LABEL}={label}", "--env=SHORTCUTS", *flags]
    docker("run", "--detach", "--name", name, "--hostname", name, *given, row["image"])
    booted = f"timeout {BOOT_SECONDS} sh -c 'until systemctl is-system-running --wait; do sleep 1; done'"
    run("docker", "exec", name, "sh", "-c", booted)
