# SPDX-License-Identifier: MIT
"""Loads what the tests of every scenario share, and finds what those of this one share."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "testbed" / "testinfra")]

pytest_plugins = ["verification.plugin"]
