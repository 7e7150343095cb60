# SPDX-License-Identifier: MIT
"""What the programs of each release series of Trigger.dev read from their environment."""

from __future__ import annotations

from itertools import accumulate

from testbed.common import ROOT

FILES = {path.stem: path.read_text() for path in (ROOT / "roles/webapp/files/schema").glob("*.tsv")}
SERIES = sorted(FILES, key=lambda name: [int(part) for part in name.split(".")])
# Series -> its file after those of the older ones, as the roles join them.
JOINED = accumulate((FILES[name] for name in SERIES), lambda older, own: f"{older}\n{own}")
SCHEMAS = dict(zip(SERIES, JOINED, strict=True))
