# SPDX-License-Identifier: MIT
"""Lets the tests read a run of the playbook as the scenarios do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "testbed/testinfra"))
