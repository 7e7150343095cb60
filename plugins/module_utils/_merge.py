# SPDX-License-Identifier: MIT
"""Merges settings of ours into a configuration that somebody else owns as well."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Stands for a key that is not there; null is a value in JSON.
MISSING: Any = object()


@dataclass(frozen=True)
class Merged:
    """What a value becomes, the part of it that is ours, and the settings that the operator overrules."""

    value: Any
    ours: Any
    kept: list[str]


def same(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    if one is MISSING or other is MISSING:
        return one is other
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def merge(current: Mapping[str, Any], wanted: Mapping[str, Any], applied: Sequence[Mapping[str, Any]]) -> Merged:
    """Merge three ways.

    What `current` has and none of `applied` (what we put there before; more than one when a run was interrupted) is the
    operator's and stays. What is ours follows `wanted`, or goes when it is not wanted any more.
    """
    return _dictionaries(current, _pruned(wanted), applied, "")


def _pruned(value: Any) -> Any:
    """Drop empty lists and dictionaries: they ask for nothing, and it could not be told later whose they are."""
    if not isinstance(value, Mapping):
        return value
    parts = {name: _pruned(part) for name, part in value.items()}
    return {name: part for name, part in parts.items() if part != [] and part != {}}


def _value(current: Any, wanted: Any, applied: Sequence[Any], name: str) -> Merged:
    there = [value for value in (current, wanted) if value is not MISSING]
    if all(isinstance(value, Mapping) for value in there):
        before = [value for value in applied if isinstance(value, Mapping)]
        merged = _dictionaries(_or(current, {}), _or(wanted, {}), before, f"{name}.")
        return _without_shell(current, merged)
    if all(isinstance(value, list) for value in there):
        lists = [value for value in applied if isinstance(value, list)]
        return _without_shell(current, _lists(_or(current, []), _or(wanted, []), lists))
    if current is MISSING or any(same(current, value) for value in applied):
        return Merged(wanted, wanted, [])
    overruled = wanted is not MISSING and not same(current, wanted)
    return Merged(current, MISSING, [name] if overruled else [])


def _or(value: Any, default: Any) -> Any:
    return default if value is MISSING else value


def _without_shell(current: Any, merged: Merged) -> Merged:
    """Leave no dictionary or list behind that has become empty."""
    value = merged.value if merged.value or same(current, merged.value) else MISSING
    return Merged(value, merged.ours or MISSING, merged.kept)


def _dictionaries(
    current: Mapping[str, Any], wanted: Mapping[str, Any], applied: Sequence[Mapping[str, Any]], prefix: str
) -> Merged:
    names = list(dict.fromkeys([*current, *wanted, *(name for before in applied for name in before)]))
    parts = {
        name: _value(
            current.get(name, MISSING),
            wanted.get(name, MISSING),
            [before[name] for before in applied if name in before],
            f"{prefix}{name}",
        )
        for name in names
    }
    return Merged(
        {name: part.value for name, part in parts.items() if part.value is not MISSING},
        {name: part.ours for name, part in parts.items() if part.ours is not MISSING},
        [name for part in parts.values() for name in part.kept],
    )


def _lists(current: list[Any], wanted: list[Any], applied: Sequence[list[Any]]) -> Merged:
    def among(item: Any, items: list[Any]) -> bool:
        return any(same(item, other) for other in items)

    ours_before = [item for before in applied for item in before]
    operators = [item for item in current if not among(item, ours_before)]
    stay = [item for item in current if among(item, operators) or among(item, wanted)]
    new = [item for item in wanted if not among(item, current)]
    return Merged(stay + new, [item for item in wanted if not among(item, operators)], [])
