# SPDX-License-Identifier: MIT
"""Start-up rules as data: a table says what a variable must look like and what happens when it does not.

A rule names variables, a kind of condition, and the effect of breaking it: `exit` ends the program at the rule's
stage, `silent` lets it run with a quirk. Every program has one table (`rules.yml`); this module only interprets it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import yaml

Environment = Mapping[str, str]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Rule:
    variables: tuple[str, ...]
    kind: str
    effect: str
    stage: str = ""
    quirk: str = ""
    # Name -> the value, or the list of values, with which the rule holds or does not.
    when: Mapping[str, Any] = field(default_factory=dict)
    unless: Mapping[str, Any] = field(default_factory=dict)
    # First release series that has the rule, and first one that no longer has it; empty: all.
    since: str = ""
    before: str = ""
    argument: Any = None
    fact: str = ""


@dataclass(frozen=True)
class Finding:
    rule: Rule
    variable: str
    message: str


def is_url(text: str) -> bool:
    """What `new URL()` accepts, as far as our variables go: a scheme and a host whose port is a number."""
    if re.search(r"\s", text) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:
        return False


def parameter(text: str, name: str) -> str | None:
    found = parse_qs(urlsplit(text).query, keep_blank_values=True).get(name)
    return found[-1] if found else None


def is_number(text: str) -> bool:
    return not text.strip() or re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text) is not None


def is_integer(text: str) -> bool:
    return is_number(text) and float(text or 0).is_integer()


# What Python takes and JavaScript does not: its names of groups, flags, atomic groups, comments, conditions,
# possessive quantifiers.
NOT_OF_JAVASCRIPT = re.compile(r"\(\?(P|>|#|\(|[a-zA-Z]+\))|[*+?}]\+")


def compiles(text: str) -> bool:
    """Whether JavaScript takes the pattern: as Python, but for lookbehinds of any width and escapes of letters."""
    if NOT_OF_JAVASCRIPT.search(text):
        return False
    text = re.sub(r"\(\?<([=!])", r"(?\1", text)
    text = re.sub(r"\(\?<(\w+)>", r"(?P<\1>", text)
    text = re.sub(r"\\[AZpP]", "x", text)
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _secure_mismatch(text: str) -> str | None:
    """goose's driver takes its transport from `secure` (appended as true when missing) and insists on the scheme."""
    scheme = urlsplit(text).scheme
    secure = parameter(text, "secure") or "true"
    if scheme == "http" and secure == "true":
        return "parse dsn failed: clickhouse [dsn parse]: http with TLS specify"
    if scheme == "https" and secure != "true":
        return "parse dsn failed: clickhouse [dsn parse]: https without TLS"
    return None


# Kind -> what is wrong with a value that is set, or None. The second argument is the rule's `argument`.
CHECKS: dict[str, Callable[[str, Any], str | None]] = {
    "non_empty": lambda text, _: None if text else "must not be empty",
    "enum": lambda text, values: None if text in values else f"must be one of {', '.join(map(repr, values))}",
    "exactly": lambda text, value: None if text == value else f"is not exactly {value!r}",
    "bytes": lambda text, size: None if len(text.encode()) == size else f"must be exactly {size} bytes",
    "url": lambda text, _: None if is_url(text) else "must be a valid url",
    "regex": lambda text, _: None if compiles(text) else "must be a valid regular expression",
    "integer": lambda text, _: None if is_integer(text) else "must be an integer",
    "number": lambda text, _: None if is_number(text) else "must be a number",
    "positive": lambda text, _: None if is_integer(text) and float(text or 0) > 0 else "must be greater than 0",
    "range": lambda text, ends: (
        None if is_number(text) and ends[0] <= float(text or 0) <= ends[1] else f"must be within {ends}"
    ),
    "above": lambda text, low: None if is_number(text) and float(text or 0) > low else f"must be greater than {low}",
    "matches": lambda text, pattern: None if re.fullmatch(pattern, text) else f"must match {pattern}",
    "parameter_not_empty": lambda text, name: f"{name} must not be empty" if parameter(text, name) == "" else None,
    "none_of": lambda text, values: "is a published default" if text in values else None,
    "without_parameter": lambda text, name: (
        f"Unknown URL parameters: {name}" if parameter(text, name) is not None else None
    ),
    "secure": lambda text, _: _secure_mismatch(text),
    "absent": lambda text, _: "must not be set",
}
# A condition on the variable's presence; it is the only one that a missing variable can break.
PRESENCE = ("required", "required_non_empty")


def check(rule: Rule, variable: str, environment: Environment) -> str | None:
    value = environment.get(variable)
    if rule.kind in PRESENCE:
        if value is None:
            return "is required"
        return "must not be empty" if rule.kind == "required_non_empty" and not value else None
    if value is None:
        return "is not set" if rule.kind == "exactly" else None
    return CHECKS[rule.kind](value, rule.argument)


def _has(environment: Environment, name: str, wanted: Any) -> bool:
    return environment.get(name) in (wanted if isinstance(wanted, list) else [wanted])


def applies(rule: Rule, environment: Environment) -> bool:
    wanted = all(_has(environment, *pair) for pair in rule.when.items())
    return wanted and not any(_has(environment, *pair) for pair in rule.unless.items())


def judge(rules: list[Rule], environment: Environment) -> list[Finding]:
    return [
        Finding(rule, variable, f"{variable} {problem}")
        for rule in rules
        if applies(rule, environment)
        for variable in rule.variables
        if (problem := check(rule, variable, environment)) is not None
    ]


def fatal(rules: list[Rule], environment: Environment, stage: str) -> list[str]:
    """Why the program ends at the stage; empty when it goes on."""
    return [
        finding.message
        for finding in judge(rules, environment)
        if finding.rule.effect == "exit" and finding.rule.stage == stage
    ]


def quirks(rules: list[Rule], environment: Environment) -> set[str]:
    """Names of what is silently wrong."""
    return {finding.rule.quirk for finding in judge(rules, environment) if finding.rule.effect == "silent"}


def parse(table: list[dict[str, Any]]) -> list[Rule]:
    rules = [Rule(**{**row, "variables": tuple(row["variables"])}) for row in table]
    for rule in rules:
        if rule.kind not in CHECKS and rule.kind not in PRESENCE:
            raise ValueError(f"unknown kind {rule.kind!r}")
        if (rule.effect, bool(rule.stage), bool(rule.quirk)) not in (("exit", True, False), ("silent", False, True)):
            raise ValueError(f"{rule.variables}: `exit` needs a stage, `silent` a quirk")
    return rules


def line() -> str:
    """The version line that this image is: what it was built as."""
    return ".".join(os.environ.get("DOUBLE_VERSION", "4.2.0").split(".")[:2])


def _number(series: str) -> tuple[int, ...]:
    return tuple(int(part) for part in series.split("."))


def holds(rule: Rule, series: str) -> bool:
    """Say whether a release series, such as 4.5, has the rule."""
    asked = _number(series)
    return (not rule.since or _number(rule.since) <= asked) and (not rule.before or asked < _number(rule.before))


def newest(table: Mapping[str, Value], series: str) -> Value:
    """Give the value of the newest series up to the one that is asked for; LookupError: there is none."""
    names = [name for name in table if _number(name) <= _number(series)]
    if not names:
        raise LookupError(f"no series up to {series}")
    return table[max(names, key=_number)]


def load(path: Path, of: str = "") -> list[Rule]:
    """Read the rules of a release series, by default the image's own."""
    rules = parse(yaml.safe_load(path.read_text())["rules"])
    return [rule for rule in rules if holds(rule, of or line())]


def number(environment: Environment, name: str, default: float) -> float:
    """Numbers as the schemas coerce them: unset is the default, empty is 0."""
    value = environment.get(name)
    return default if value is None else float(value or 0)


def boolean(environment: Environment, name: str, default: bool) -> bool:
    """`true` and `1` are true, anything else that is set, the empty string too, is false."""
    value = environment.get(name)
    return default if value is None else value.lower() in ("true", "1")
