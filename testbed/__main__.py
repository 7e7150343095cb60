# SPDX-License-Identifier: MIT
"""The testbed's commands, called by the Makefile."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

from . import bench, engine, images, lab, scenario
from .common import TestbedError

COMMANDS: dict[str, tuple[str, Callable[[], None]]] = {
    "engine": ("see to a Docker Engine", engine.ensure),
    "images": ("build what nodes and services run", images.ensure),
    "lab-up": ("bring the lab up and run a task on it", lab.up),
    "lab-table": ("run a task on the lab and print what is connected", lab.table),
    "lab-down": ("remove everything that the testbed has made", lab.down),
    "soak": ("run the tests that take too long for every change", scenario.soak),
    "bench": ("measure what deployments cost", bench.measure),
    **{
        f"test-{name}": (f"run the scenario {name}", partial(scenario.test, name))
        for name in scenario.SCENARIOS
        if name != "lab"
    },
    **{f"soak-{name}": (f"run those of the scenario {name}", partial(scenario.soak, name)) for name in scenario.SOAKS},
    **{
        f"{step}-{name}": (f"run this step of the scenario {name}", partial(scenario.step, step, name))
        for step in ("converge", "verify", "destroy")
        for name in scenario.SCENARIOS
        if name != "lab"
    },
}


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="testbed", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "\n".join(f"  {name:<22} {meaning}" for name, (meaning, _) in COMMANDS.items())
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    _, function = COMMANDS[parser.parse_args().command]
    try:
        function()
    except TestbedError as error:
        print(f"\ntestbed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ntestbed: interrupted; the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
