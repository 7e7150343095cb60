# SPDX-License-Identifier: MIT
"""Filter setting_problems: what is wrong with the settings of a role, by a table of rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

Rule = Mapping[str, Any]
KNOWN = frozenset(
    {
        "settings",
        "is",
        "unless",
        "needs",
        "needs_any",
        "with",
        "at_most",
        "feature",
        "since",
        "matches",
        "form",
        "range",
        "secret",
    }
)


def _given(values: Mapping[str, Any], name: str) -> bool:
    """Say whether a setting has a value at all; zero is one."""
    value = values.get(name)
    return value is not None and value is not False and value != "" and value != {} and value != []


def _applies(rule: Rule, values: Mapping[str, Any], name: str) -> bool:
    if "is" in rule:
        return bool(values.get(name) == rule["is"])
    return _given(values, name) and ("unless" not in rule or values[name] != rule["unless"])


def _words(rule: Rule) -> str:
    return f"is {str(rule['is']).lower() if isinstance(rule['is'], bool) else rule['is']}" if "is" in rule else "is set"


def _found(rule: Rule, values: Mapping[str, Any], name: str) -> Iterator[str]:
    value = values.get(name)
    shown = "" if rule.get("secret") else f", is {value!r}" if isinstance(value, str) else f", is {value}"
    missing = [other for other in rule.get("needs", ()) if not _given(values, other)]
    if missing:
        yield f"{name} {_words(rule)}, so {' and '.join(missing)} must be set too."
    for other, wanted in rule.get("with", {}).items():
        if values.get(other) != wanted:
            yield f"{name} {_words(rule)}, so {other} must be {wanted}, is {values.get(other)}."
    if "needs_any" in rule and not any(_given(values, other) for other in rule["needs_any"]):
        yield f"{name} {_words(rule)}, but has no effect without {' or '.join(rule['needs_any'])}."
    if "at_most" in rule and 0 < float(values[rule["at_most"]]) < float(value):  # type: ignore[arg-type]
        yield f"{name}{shown.replace(', is', ' is')}; it must not exceed {rule['at_most']} ({values[rule['at_most']]})."
    if "matches" in rule and not re.fullmatch(rule["matches"], str(value)):
        yield f"{name} must be {rule['form']}{shown}."
    if "range" in rule and not rule["range"][0] <= float(values[name]) <= rule["range"][1]:
        yield f"{name} must be from {rule['range'][0]} to {rule['range'][1]}{shown}."


def setting_problems(
    values: Mapping[str, Any], rules: Sequence[Rule], features: Collection[str] = (), version: str = ""
) -> list[str]:
    """Give a sentence for each rule that a setting breaks."""
    problems: list[str] = []
    for rule in rules:
        if unknown := sorted(set(rule) - KNOWN):
            raise AnsibleFilterError(f"setting_problems: a rule has the unknown keys {', '.join(unknown)}")
        names = rule["settings"]
        for name in [names] if isinstance(names, str) else names:
            if not _applies(rule, values, name):
                continue
            if "feature" in rule and rule["feature"] not in features:
                since = f"{name} exists from Trigger.dev {rule['since']} on"
                problems.append(f"{since}, and trigger_version is {version}: leave it out.")
            problems += _found(rule, values, name)
    return problems


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"setting_problems": setting_problems}
