# SPDX-License-Identifier: MIT
"""Loads what the tests of every scenario share (also of those that lie beside a scenario)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["verification.plugin"]
