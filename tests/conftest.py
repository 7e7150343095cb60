# SPDX-License-Identifier: MIT
"""Makes two packages of the checkout importable.

Ansible's own `ansible_collections` has no __init__.py, so one more entry on sys.path adds ours to the same namespace.
The doubles live beside their images, outside of every package path.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "molecule" / "shared" / "images")]
