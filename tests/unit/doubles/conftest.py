# SPDX-License-Identifier: MIT
"""The doubles live beside their images, outside of every package path."""

from __future__ import annotations

import sys
from pathlib import Path

IMAGES = Path(__file__).parents[3] / "molecule" / "shared" / "images"
sys.path.insert(0, str(IMAGES))
