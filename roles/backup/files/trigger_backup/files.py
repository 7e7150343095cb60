# SPDX-License-Identifier: MIT
"""All files of the installation: secrets, worker tokens, CA, certificates, Compose projects."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .plan import Plan
from .process import Shell
from .stores import Facts, Files, Service

FOLDER = "files"
PLAN = "plan.json"


class Installation:
    """The files; there is no service to them."""

    name = "files"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def parts(self) -> list[Path]:
        """Give what lies in the folder, without what belongs to backups."""
        return sorted(path for path in self.plan.directory.iterdir() if path != self.plan.home)

    def size(self) -> int:
        return sum(file.lstat().st_size for part in self.parts() for file in [part, *part.rglob("*")])

    def prepare(self) -> None:
        """Nothing has to be waited for."""

    def snapshot(self) -> None:
        """Copy them at once: they are few, and tokens have to fit the database."""
        target = self.plan.stage / FOLDER
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True, mode=0o700)
        outside = [] if self.plan.directory in self.plan.secrets_file.parents else [str(self.plan.secrets_file)]
        Shell().output(["cp", "--archive", *map(str, self.parts()), *outside, str(target)])
        shutil.copy2(self.plan.home / PLAN, self.plan.stage / PLAN)

    def copy(self, stage: Path) -> Facts:
        found = sorted(str(path.relative_to(stage / FOLDER)) for path in (stage / FOLDER).rglob("*") if path.is_file())
        return {"files": len(found)}

    def release(self) -> None:
        """Nothing is held."""

    def restore(self, service: Service, files: Files, facts: Mapping[str, Any]) -> None:
        """They are put in place before any service starts."""

    def compare(self, service: Service, facts: Mapping[str, Any]) -> list[str]:
        return []
