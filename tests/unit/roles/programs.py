# SPDX-License-Identifier: MIT
"""The programs that roles put on hosts, as modules."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROLES = Path(__file__).parents[3] / "roles"


@cache
def load(path: str) -> Any:
    """Load a program of a role, such as task_images/files/task_images.py."""
    file = ROLES / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module
