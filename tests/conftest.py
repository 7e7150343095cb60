# SPDX-License-Identifier: MIT
"""Makes two packages of the checkout importable.

Ansible's own `ansible_collections` has no __init__.py, so one more entry on sys.path adds ours to the same namespace.
The doubles live beside their images, outside of every package path.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "testbed" / "images")]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what loads rules into the kernel: one Python does, and others are only to show that they can."""
    if os.environ.get("TESTS_WITHOUT_KERNEL"):
        firewall = [item for item in items if item.path.stem == "test_runner_firewall"]
        slow = [item for item in firewall if "host" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which Pythons were not found, where files for hosts are tried with each of them."""
    pythons = sys.modules.get("tests.unit.pythons")
    for version in pythons.missing() if pythons else ():
        terminalreporter.write_line(f"Python {version} was not found: files for hosts were only read for it, not run.")
