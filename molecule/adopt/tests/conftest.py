# SPDX-License-Identifier: MIT
"""Loads what the tests of every scenario share."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "testbed" / "testinfra"))

pytest_plugins = ["verification.plugin"]
