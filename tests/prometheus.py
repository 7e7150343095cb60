# SPDX-License-Identifier: MIT
"""The rules of the role monitoring, the promtool that judges them, and the names of metrics in an expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.common import ROOT
from tests.debian import unpacked

RULES = ROOT / "roles/monitoring/files/rules"
RECORDING = RULES / "recording.yml"

TOKENS = re.compile(
    r"""
    (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    | (?P<comment>\#[^\n]*)
    | (?P<number>0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+|(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)?)
    | (?P<name>[a-zA-Z_:$][a-zA-Z0-9_:]*)
    | (?P<sign>[^\s])
    | (?P<space>\s+)
    """,
    re.VERBOSE,
)
# What is no metric although no parenthesis follows it; followed by one, the first of them name labels.
LISTS = ("by", "without", "on", "ignoring", "group_left", "group_right")
WORDS = (*LISTS, "and", "or", "unless", "atan2", "bool", "offset", "inf", "nan")
# sum(a), and sum by (b) (a).
AFTER_FUNCTIONS = ("(", "by", "without")
CLOSING = {"{": "}", "[": "]", "(": ")"}


def metric_names(expression: str) -> set[str]:
    """Give the metrics that an expression of PromQL reads. Only names that stand before their labels are found."""
    tokens = [match for match in TOKENS.finditer(expression) if match.lastgroup not in ("space", "comment")]
    found, skipped, at = set(), "", 0
    for at, token in enumerate(tokens):
        text, follows = token[0], tokens[at + 1][0] if at + 1 < len(tokens) else ""
        if skipped:
            if "__name__" in text:
                raise ValueError(f"a metric is named by a label: {expression}")
            skipped = "" if text == skipped else skipped
        elif text in ("{", "["):
            before = tokens[at - 1] if at else None
            if text == "{" and (before is None or before.lastgroup != "name"):
                raise ValueError(f"labels without a metric: {expression}")
            skipped = CLOSING[text]
        elif token.lastgroup == "name" and text.lower() in LISTS and follows == "(":
            skipped = ")"
        elif token.lastgroup == "name" and text.lower() not in WORDS and follows.lower() not in AFTER_FUNCTIONS:
            found.add(text)
    return found


def promtool() -> Path:
    return unpacked("usr/bin/promtool", "prometheus")


def amtool() -> Path:
    return unpacked("usr/bin/amtool", "prometheus-alertmanager")


@dataclass(frozen=True)
class Alert:
    rule: dict[str, Any]
    file: Path


def rule_files() -> list[Path]:
    """Give the files of rules, in the order in which the documents have them."""
    files = [RULES / f"{name}.yml" for name in ("recording", "runs", "workers", "stores", "hosts", "monitoring")]
    assert sorted(files) == sorted(RULES.glob("*.yml"))
    return files


def groups(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Give the rules of a file by the name of their group."""
    return {group["name"]: group["rules"] for group in yaml.safe_load(file.read_text())["groups"]}


def rules(file: Path) -> list[dict[str, Any]]:
    return [rule for each in groups(file).values() for rule in each]


def alerts() -> dict[str, Alert]:
    return {rule["alert"]: Alert(rule, file) for file in rule_files() for rule in rules(file) if "alert" in rule}
