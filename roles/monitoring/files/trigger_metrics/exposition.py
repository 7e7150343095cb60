# SPDX-License-Identifier: MIT
"""What it tells: metrics in the text format of Prometheus, and warnings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .catalogue import METRICS


@dataclass(frozen=True)
class Sample:
    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.labels) != set(METRICS[self.name].labels):
            raise ValueError(f"{self.name} has the labels {METRICS[self.name].labels}, not {tuple(self.labels)}")


def warn(text: str) -> None:
    """Say what is wrong; systemd takes a number in front for its level, and keeps nothing below that of the unit."""
    print(f"{'<4>' if 'JOURNAL_STREAM' in os.environ else ''}{text}", file=sys.stderr)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{escaped(value)}"' for name, value in sample.labels.items())
    return (
        f"{sample.name}{{{labels}}} {float(sample.value)!r}\n" if labels else f"{sample.name} {float(sample.value)!r}\n"
    )


def text(samples: Iterable[Sample]) -> str:
    """Give the samples of each metric together, as the format demands. Of two with the same labels, the last counts."""
    rows: dict[str, dict[tuple[tuple[str, str], ...], Sample]] = {}
    for sample in samples:
        rows.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample
    result = []
    for name, metric in METRICS.items():
        if name in rows:
            result.append(f"# HELP {name} {metric.text}\n# TYPE {name} {'counter' if metric.counter else 'gauge'}\n")
            result += map(line, rows[name].values())
    return "".join(result)


def replace_file(path: Path, content: str) -> None:
    """Write a file in one step: node_exporter may read it at any moment."""
    # Not *.prom, which it would read too. One name, so that what an ended run leaves does not pile up.
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(content, encoding="utf-8")
    scratch.chmod(0o644)
    os.replace(scratch, path)
