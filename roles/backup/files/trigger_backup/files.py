# SPDX-License-Identifier: MIT
"""All files of the installation: secrets, worker tokens, CA, certificates, Compose projects."""

from __future__ import annotations

import shutil
from pathlib import Path

from .plan import Plan
from .process import Shell, remove_folder
from .stores import Facts, Store

FOLDER = "files"
PLAN = "plan.json"


class Installation(Store):
    """The files. A restore puts them in place before any service starts."""

    name = "files"
    staged = (FOLDER, PLAN)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def parts(self) -> list[Path]:
        """Give what lies in the folder, without what belongs to backups."""
        return sorted(path for path in self.plan.directory.iterdir() if path != self.plan.home)

    def size(self) -> int:
        return sum(file.lstat().st_size for part in self.parts() for file in [part, *part.rglob("*")])

    def snapshot(self) -> None:
        """Copy them at once: they are few, and tokens have to fit the database."""
        target = self.plan.stage / FOLDER
        remove_folder(target)
        target.mkdir(parents=True, mode=0o700)
        outside = [str(self.plan.secrets_file)] if self.plan.secrets_are_outside else []
        Shell().output(["cp", "--archive", *map(str, self.parts()), *outside, str(target)])
        shutil.copy2(self.plan.home / PLAN, self.plan.stage / PLAN)

    def copy(self, stage: Path) -> Facts:
        found = sorted(str(path.relative_to(stage / FOLDER)) for path in (stage / FOLDER).rglob("*") if path.is_file())
        return {"files": len(found)}
