# SPDX-License-Identifier: MIT
"""Makes `ansible_collections.selfhosted.trigger_dev` importable from the checkout.

Ansible's own `ansible_collections` has no __init__.py, so one more entry on sys.path adds ours to the same namespace.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "collections"))
