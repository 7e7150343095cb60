# SPDX-License-Identifier: MIT
"""Filter environment_problems: what the programs of upstream would not take of their environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.yaml import yaml_load

INTEGER = re.compile(r"-?[0-9]+")
NUMBER = re.compile(r"-?([0-9]+([.][0-9]*)?|[.][0-9]+)")
# A variable of a role in an expression; one that begins with underscores is defined in terms of others.
VARIABLE = re.compile(r"(?<![\w.])((?:__)?(?:trigger|webapp|registry|supervisor)_\w+)(?:[.]([a-z_]+)|\['([^']+)'\])?")
SECRETS = "__trigger_secret_values"
INNER = "__"


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


def _compiles(text: str) -> bool:
    # JavaScript names groups (?<name>...), Python (?P<name>...); otherwise what people write here is alike.
    try:
        re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", text))
    except re.error:
        return False
    return True


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
    "regular expression": ("a regular expression", _compiles),
    "pairs": (
        "NAME=value pairs with commas between them; values can hold neither a comma nor an equals sign",
        lambda text: all(re.fullmatch(r"[^=,]+=[^=,]*", pair) for pair in text.split(",")),
    ),
    "32 bytes": ("exactly 32 bytes", lambda text: len(text.encode()) == 32),
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


def parse_schema(text: str) -> dict[str, dict[str, str]]:
    """Read the rows of a schema: service -> name -> type."""
    schema: dict[str, dict[str, str]] = {}
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    for row in rows[1:]:
        if len(row) != 3 or (row[2] not in TYPES and "|" not in row[2]):
            raise AnsibleFilterError(f"environment_problems: the schema has a row that cannot be read: {row}")
        schema.setdefault(row[0], {})[row[1]] = row[2]
    return schema


def requirement(kind: str, value: object) -> str:
    """Say what a value should be and is not; empty when it is."""
    text = str(value)
    if kind in TYPES:
        words, holds = TYPES[kind]
        return "" if holds(text) else words
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
                        {name: variables_of(value, loaded) for name, value in row.items()}
                    )
    return result


def _advice(names: Iterable[str]) -> str:
    listed = list(names)
    return f" Set {' or '.join(listed)}." if listed else ""


def _judge(service: str, name: str, value: object, names: Mapping[str, str], variables: list[str]) -> Problem | None:
    kind = find_type(names, name)
    if kind is None:
        close = get_close_matches(name, [known for known in names if "*" not in known], n=1, cutoff=0.7)
        nearest = close[0] if close else ""
        hint = f"; did you mean {nearest}?" if nearest else "."
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
) -> list[dict[str, Any]]:
    """Hold every value against the schema, and what users add against what the role sets itself."""
    if not isinstance(environments, Mapping) or not isinstance(extra or {}, Mapping):
        raise AnsibleFilterError(
            "environment_problems: environments and extra must be dictionaries, service -> name -> value"
        )
    known, origin, problems = parse_schema(schema), sources(definitions), list[Problem]()
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
                problems += filter(None, [_judge(service, name, value, names, variables)])
        if names:
            problems += filter(
                None,
                (
                    _judge(service, name, value, names, [f"{variable}.{name}"])
                    for name, value in added.items()
                    if name not in environment and value is not None
                ),
            )
    return [asdict(problem) for problem in problems]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"environment_problems": environment_problems}
