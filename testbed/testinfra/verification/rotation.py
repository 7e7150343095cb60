# SPDX-License-Identifier: MIT
"""A run of the playbook secrets_rotate, and which secrets it has replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .deployment import Deployment, Play
from .secrets import Secrets, leaks


@dataclass(frozen=True)
class Rotated:
    """The run, and the secrets of the installation before and after it."""

    play: Play
    old: Secrets = field(repr=False)
    new: Secrets = field(repr=False)

    @property
    def replaced(self) -> set[str]:
        """Names alone: a failing test would show values."""
        return {name for name in self.old if self.old[name] != self.new[name]}

    @property
    def shown(self) -> set[str]:
        """Name the secrets that the run has printed, old or new."""
        return leaks(self.play.output, self.old) | leaks(self.play.output, self.new)


def rotate(
    deployment: Deployment, *options: str, names: Iterable[str], values: Mapping[str, Any], scratch: Path
) -> Rotated:
    """Replace secrets as operators do."""
    old, wanted = deployment.secrets(), {**values, "secrets_rotate_names": sorted(names)}
    done = deployment.play(*options, playbook="selfhosted.trigger_dev.secrets_rotate", values=wanted, scratch=scratch)
    return Rotated(done, old, deployment.secrets())
