# SPDX-License-Identifier: MIT
"""Filter environment_problems: what the programs of upstream would not take of their environment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._javascript import pattern_problem

INTEGER = re.compile(r"-?[0-9]+")
NUMBER = re.compile(r"-?([0-9]+([.][0-9]*)?|[.][0-9]+)")
# A variable of a role in an expression; one that begins with underscores is defined in terms of others.
VARIABLE = re.compile(r"(?<![\w.])((?:__)?(?:trigger|webapp|registry|supervisor)_\w+)(?:[.]([a-z_]+)|\['([^']+)'\])?")
SECRETS = "__trigger_secret_values"
INNER = "__"
# Type of a row that takes a variable away.
REMOVED = "removed"
# Types with bounds: `integer 1..100`, `number 0..`, `number >1`.
BOUNDED = re.compile(r"(integer|number) (?:([0-9]+)[.][.]([0-9]*)|>([0-9]+))")
# Type of a variable that has one safe value: `only production`.
FIXED = re.compile(r"only (\S+)")
# The rate limiter takes no other unit, and throws while the webapp loads.
TIME_SPAN = re.compile(r"[0-9]+ ?(ms|s|m|h|d)")
DURATION = re.compile(r"[0-9]+ *(s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|w|weeks?|y|years?)", re.IGNORECASE)
EXPRESSION = r"a regular expression of JavaScript without flags (its ends are ^ and $, not \A and \Z)"
MACHINE_PRESETS = ("micro", "small-1x", "small-2x", "medium-1x", "medium-2x", "large-1x", "large-2x")


def _split(text: str) -> Any:
    """Split an address; None when it is none."""
    if re.search(r"\s", text) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]", text):
        return None
    try:
        parts = urlsplit(text)
        return parts if parts.hostname and (parts.port is None or parts.port > 0) else None
    except ValueError:
        return None


def _parameter(parts: Any, name: str) -> str | None:
    found = parse_qs(parts.query, keep_blank_values=True).get(name)
    return found[-1] if found else None


def _is_origin(text: str) -> bool:
    parts = _split(text)
    return parts is not None and parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)


def _is_postgres(text: str) -> bool:
    parts = _split(text)
    return (
        parts is not None
        and parts.scheme in ("postgres", "postgresql")
        and parts.netloc.count("@") <= 1
        and bool(parts.path.strip("/"))
        and _parameter(parts, "schema") != ""
    )


def _is_migration(text: str) -> bool:
    """Without `secure` the migration tool appends secure=true, and it refuses what contradicts the scheme."""
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https"):
        return False
    secure = _parameter(parts, "secure")
    return secure == "false" if parts.scheme == "http" else secure in (None, "true")


def _is_client(text: str) -> bool:
    parts = _split(text)
    return parts is not None and parts.scheme in ("http", "https") and _parameter(parts, "secure") is None


def _is_expression(text: str, edition: int) -> bool:
    r"""Whether JavaScript takes it. There \A, \Z and \z are the letters, so that a pattern with them lets nobody in."""
    return not pattern_problem(text, edition) and not re.search(r"(?<!\\)(?:\\\\)*\\[AZz]", text)


def _is_date_time(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z", text):
        return False
    try:
        datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return False
    return True


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _are_presets(text: str) -> bool:
    names = [name.strip() for name in text.split(",") if name.strip()]
    return bool(names) and all(name in MACHINE_PRESETS for name in names)


def _within(text: str, low: float, high: float) -> bool:
    return bool(NUMBER.fullmatch(text)) and low <= float(text) <= high


# Type -> what a value has to be, in words, and whether a text is that.
TYPES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "any": ("anything", lambda _: True),
    "text": ("not empty", bool),
    "integer": ("a whole number", lambda text: bool(INTEGER.fullmatch(text))),
    "positive integer": ("a whole number above 0", lambda text: bool(INTEGER.fullmatch(text)) and int(text) > 0),
    "number": ("a number", lambda text: bool(NUMBER.fullmatch(text))),
    "share": ("a number from 0 to 1", lambda text: _within(text, 0, 1)),
    "port": (
        "a port, 1 to 65535",
        lambda text: bool(INTEGER.fullmatch(text)) and 1 <= int(text) <= 65535,
    ),
    "boolean": (
        "one of true, false, 1, 0 (anything else counts as false)",
        lambda text: text.lower() in ("true", "false", "1", "0"),
    ),
    "path": ("an absolute path", lambda text: text.startswith("/")),
    "url": ("a URL", lambda text: _split(text) is not None),
    "origin": ("scheme://host or scheme://host:port with http or https and nothing behind it", _is_origin),
    "postgres url": (
        "postgresql://user:password@host:port/database with a percent-encoded password and no empty parameter schema",
        _is_postgres,
    ),
    "migration url": ("an http URL with the parameter secure=false, or an https URL without that", _is_migration),
    "client url": ("an http or https URL without the parameter secure", _is_client),
    "registry": (
        "host or host:port without a scheme",
        lambda text: bool(re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]+)?", text)),
    ),
    "repository": (
        "lower-case letters, digits and . _ - /",
        lambda text: bool(re.fullmatch(r"[a-z0-9._/-]+", text)),
    ),
    "host:port": ("host:port", lambda text: bool(re.fullmatch(r"[^:\s]+:[0-9]+", text))),
    "regular expression": (EXPRESSION, lambda text: _is_expression(text, 2023)),
    "regular expression 2025": (EXPRESSION, lambda text: _is_expression(text, 2025)),
    "pairs": (
        "NAME=value pairs with commas between them; values can hold neither a comma nor an equals sign",
        lambda text: all(re.fullmatch(r"[^=,]+=[^=,]*", pair) for pair in text.split(",")),
    ),
    "initdb options": (
        "options of initdb without the method trust, with which the database asks for no password",
        lambda text: bool(text) and not re.search(r"(\b|-A)trust\b", text),
    ),
    "32 bytes": ("exactly 32 bytes", lambda text: len(text.encode()) == 32),
    "time span": ("a number with ms, s, m, h or d, such as 10s or 1 m", lambda text: bool(TIME_SPAN.fullmatch(text))),
    "duration": (
        "a number with a unit, such as 30d, 1h or 2 weeks",
        lambda text: bool(DURATION.fullmatch(text.strip())),
    ),
    "date and time": ("a date and time in UTC, such as 2032-01-01T00:00:00Z", _is_date_time),
    "json object": ("a JSON object", _is_json_object),
    "protocol": ("lowercase letters and digits", lambda text: bool(re.fullmatch(r"[a-z0-9]+", text))),
    "machine presets": (f"a list, with commas, of {', '.join(MACHINE_PRESETS)}", _are_presets),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; the value itself never stands in it, for it may be a secret."""

    service: str
    name: str
    kind: str
    message: str
    nearest: str
    variables: list[str]


@dataclass(frozen=True)
class Need:
    """Variables that a program needs as soon as another one has one of some values."""

    values: tuple[str, ...]
    # Name -> what it has to be; nothing: whatever, but not empty.
    others: Mapping[str, tuple[str, ...]]


def _rows(text: str) -> list[list[str]]:
    """Read the rows of a schema, without those that a later row of the same variable replaces or removes."""
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    latest: dict[tuple[str, ...], list[str]] = {}
    for row in lines:
        if row == lines[0]:
            continue  # the titles of another file
        key = tuple(row[:2])
        if row[2:] != [REMOVED]:
            latest[key] = row
        elif latest.pop(key, None) is None:
            raise AnsibleFilterError(f"environment_problems: the schema removes a row that is not there: {row}")
    rows = list(latest.values())
    for row in rows:
        known = len(row) > 2 and (
            row[2] in TYPES or "|" in row[2] or FIXED.fullmatch(row[2]) or BOUNDED.fullmatch(row[2])
        )
        if not known or len(row) > 4 or (len(row) == 4 and ": " not in row[3]):
            raise AnsibleFilterError(f"environment_problems: the schema has a row that cannot be read: {row}")
    return rows


def parse_schema(text: str) -> dict[str, dict[str, str]]:
    """Read the rows of a schema: service -> name -> type."""
    schema: dict[str, dict[str, str]] = {}
    for service, name, kind, *_ in _rows(text):
        schema.setdefault(service, {})[name] = kind
    return schema


def parse_needs(text: str) -> dict[str, dict[str, Need]]:
    """Read what variables of a schema need beside them: service -> name -> need."""
    needs: dict[str, dict[str, Need]] = {}
    for service, name, _, *more in _rows(text):
        for cell in more:
            values, _, others = cell.partition(": ")
            pairs = (other.partition("=") for other in others.split())
            needs.setdefault(service, {})[name] = Need(
                tuple(values.split("|")), {key: tuple(filter(None, wanted.split("|"))) for key, _, wanted in pairs}
            )
    return needs


def _bounds(kind: str, text: str) -> str:
    match = BOUNDED.fullmatch(kind)
    if match is None:
        return ""
    noun, low, high, above = match.groups()
    words = f"a {'whole number' if noun == 'integer' else 'number'} "
    words += f"above {above}" if above else f"from {low} to {high}" if high else f"of at least {low}"
    if not (INTEGER if noun == "integer" else NUMBER).fullmatch(text):
        return words
    value = float(text)
    holds = value > float(above) if above else float(low) <= value <= float(high or "inf")
    return "" if holds else words


def requirement(kind: str, value: object) -> str:
    """Say what a value should be and is not; empty when it is."""
    text = str(value)
    if BOUNDED.fullmatch(kind):
        return _bounds(kind, text)
    if kind in TYPES:
        words, holds = TYPES[kind]
        return "" if holds(text) else words
    if fixed := FIXED.fullmatch(kind):
        return "" if text == fixed[1] else f"{fixed[1]}, because every other value makes the program less safe"
    choices = kind.split("|")
    return "" if text in choices else f"one of {', '.join(choices)}, in exactly this spelling"


def find_type(names: Mapping[str, str], name: str) -> str | None:
    """Look a name up, by itself or as one that a row with a star stands for."""
    if name in names:
        return names[name]
    return next((kind for pattern, kind in names.items() if "*" in pattern and fnmatchcase(name, pattern)), None)


def variables_of(
    expression: object, definitions: Mapping[str, Any], seen: frozenset[tuple[str, str]] = frozenset()
) -> list[str]:
    """Name the variables that an expression is made of, through what is defined beside it, in order."""
    found: dict[str, None] = {}
    for word, attribute, item in VARIABLE.findall(str(expression)):
        key = attribute or item
        if word == SECRETS and key:
            found[f"trigger_secrets.{key}"] = None
        elif word in definitions and (word, key) not in seen:
            inner = definitions[word]
            inner = inner[key] if isinstance(inner, Mapping) and key in inner else inner
            found |= dict.fromkeys(variables_of(inner, definitions, seen | {(word, key)}))
        elif not word.startswith(INNER):
            found[word] = None
    return list(found)


def _environment_of(row: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the environment that a row of services holds or names, or that the row is by itself."""
    found = row.get("environment", row)
    if isinstance(found, str):
        found = next((definitions.get(word) for word, _, _ in VARIABLE.findall(found)), None)
    return found if isinstance(found, Mapping) else {}


def sources(definitions: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Tell for each service and name which variables its value is made of, from the texts of the roles' variables."""
    loaded: dict[str, Any] = {}
    for text in definitions:
        loaded |= yaml_load(text) or {}
    result: dict[str, dict[str, list[str]]] = {}
    for rows in loaded.values():
        if isinstance(rows, Mapping):
            for service, row in rows.items():
                if isinstance(row, Mapping):
                    result.setdefault(service, {}).update(
                        {name: variables_of(value, loaded) for name, value in _environment_of(row, loaded).items()}
                    )
    return result


def _given(value: object) -> bool:
    return value is not None and value != ""


def _unmet(
    service: str, needs: Mapping[str, Need], environment: Mapping[str, object], added: Mapping[str, object], where: str
) -> list[Problem]:
    """Find what is switched on without what it needs; the values that are told are those of the schema."""
    merged, problems = {**environment, **added}, list[Problem]()
    for name, need in needs.items():
        value = str(merged.get(name)).lower()
        if not _given(merged.get(name)) or value not in need.values:
            continue
        missing = [
            f"{other}={' or '.join(wanted)}" if wanted else other
            for other, wanted in need.others.items()
            if not _given(merged.get(other)) or (wanted and str(merged[other]) not in wanted)
        ]
        if missing:
            source = f"{where}.{name}" if name in added else name
            message = f"{source}: with {name}={value} the {service} needs {', '.join(missing)} as well."
            problems.append(Problem(service, name, "error", message, "", [source]))
    return problems


def _advice(names: Iterable[str]) -> str:
    listed = list(names)
    return f" Set {' or '.join(listed)}." if listed else ""


def _problem(service: str, name: str, value: object, names: Mapping[str, str], variables: list[str]) -> Problem | None:
    kind = find_type(names, name)
    if kind is None:
        close = get_close_matches(name, [known for known in names if "*" not in known], n=1, cutoff=0.7)
        nearest = close[0] if close else ""
        hint = f"; did you mean {nearest}?" if nearest else "."
        hint += f" To set it all the same, add {name} to trigger_extra_names."
        message = f"{' or '.join(variables) or name}: the {service} of this version is not known to read {name}{hint}"
        return Problem(service, name, "unknown", message, nearest, variables)
    wanted = requirement(kind, value)
    if not wanted:
        return None
    return Problem(service, name, "error", f"{name} of {service} must be {wanted}.{_advice(variables)}", "", variables)


def environment_problems(
    environments: Mapping[str, Mapping[str, object]],
    schema: str,
    extra: Mapping[str, Mapping[str, object]] | None = None,
    extra_variable: str = "",
    definitions: Iterable[str] = (),
    other_names: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Hold every value against the schema, and what users add against what the role sets itself."""
    if not isinstance(environments, Mapping) or not isinstance(extra or {}, Mapping):
        raise AnsibleFilterError(
            "environment_problems: environments and extra must be dictionaries, service -> name -> value"
        )
    known, needs, origin, free = parse_schema(schema), parse_needs(schema), sources(definitions), set(other_names)
    problems = list[Problem]()
    for service, environment in environments.items():
        names, added = known.get(service, {}), dict((extra or {}).get(service) or {})
        variable = extra_variable.format(service=service)
        for name, value in environment.items():
            variables = origin.get(service, {}).get(name, [])
            if name in added:
                advice = _advice(variables) or " It is decided by this role."
                message = f"{variable}.{name}: {name} is not for extra environment.{advice}"
                problems.append(Problem(service, name, "error", message, "", variables))
            elif value is not None and value != "" and find_type(names, name):
                problems += filter(None, [_problem(service, name, value, names, variables)])
        if names:
            problems += filter(
                None,
                (
                    _problem(service, name, value, names, [f"{variable}.{name}"])
                    for name, value in added.items()
                    if name not in environment and value is not None and (name not in free or find_type(names, name))
                ),
            )
        problems += _unmet(service, needs.get(service, {}), environment, added, variable)
    return [asdict(problem) for problem in problems]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"environment_problems": environment_problems}
