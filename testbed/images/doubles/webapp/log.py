# SPDX-License-Identifier: MIT
"""Log lines as the webapp writes them: one JSON object per line on stdout."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any


def log(level: str, message: str, **fields: Any) -> None:
    stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"timestamp": stamp, "name": "webapp", "message": message, "level": level, **fields}
    print(json.dumps(line, separators=(",", ":"), default=str), flush=True)


def plain(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
