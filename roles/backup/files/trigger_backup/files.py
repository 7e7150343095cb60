# SPDX-License-Identifier: MIT
"""All files of the installation: secrets, worker tokens, CA, certificates, Compose projects."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from .plan import Plan
from .process import BackupError, Shell, remove_folder, said, used
from .stores import Facts, Store

FOLDER = "files"
PLAN = "plan.json"
# What others replace or remove while it is copied, such as the status page, is another file the next time.
ATTEMPTS = 3
VANISHED = "No such file or directory"


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
        found = 0
        for part in self.parts():
            with suppress(FileNotFoundError):
                found += part.lstat().st_size + used(part)
        return found

    def snapshot(self) -> None:
        """Copy them at once: they are few, and tokens have to fit the database."""
        for left in reversed(range(ATTEMPTS)):
            done = self._copy_files(self.plan.stage / FOLDER)
            if done.returncode == 0:
                break
            if not left or VANISHED not in said(done):
                raise BackupError(f"Copying the files of the installation failed: {said(done)}")
        shutil.copy2(self.plan.home / PLAN, self.plan.stage / PLAN)

    def _copy_files(self, target: Path) -> subprocess.CompletedProcess[bytes]:
        remove_folder(target)
        target.mkdir(parents=True, mode=0o700)
        outside = [str(self.plan.secrets_file)] if self.plan.secrets_are_outside else []
        words = ["cp", "--archive", *map(str, self.parts()), *outside, str(target)]
        return Shell().run(words, environment={"LC_ALL": "C"})

    def copy(self, stage: Path) -> Facts:
        found = sorted(str(path.relative_to(stage / FOLDER)) for path in (stage / FOLDER).rglob("*") if path.is_file())
        return {"files": len(found)}
