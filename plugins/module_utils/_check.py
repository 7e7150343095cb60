# SPDX-License-Identifier: MIT
"""What playbooks/status.yml tells: one row for everything that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    what: str
    ok: bool
    detail: str
    # Of what works and wants to be looked at all the same.
    warning: bool = False

    @property
    def row(self) -> dict[str, Any]:
        """Give it as modules return it."""
        row = {"what": self.what, "ok": self.ok, "detail": self.detail}
        return {**row, "warning": True} if self.warning else row
