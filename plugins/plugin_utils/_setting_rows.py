# SPDX-License-Identifier: MIT
"""Rows of settings (roles/<role>/meta/settings.yml), and what is wrong with a value by its row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import (
    FORMATS,
    MAPPING_CHECKS,
    TEXT_CHECKS,
)

Row = Mapping[str, Any]
ROLES: Final = Path(__file__).resolve().parents[2] / "roles"
# What a row can say. `reason` is for texts and values of which any is right: it says why.
KEYS: Final = frozenset(
    {
        *("section", "description", "type", "default", "required", "secret", "hidden", "also_for", "only_for", "since"),
        # For docs/settings.md: names of upstream and of the community stack that this setting stands for.
        "also_known_as",
        *(
            "choices",
            "format",
            "reason",
            "range",
            "zero",
            "check",
            "length",
            "empty",
            "accepts",
            "elements",
            "values",
            "options",
            "counts",
        ),
    }
)
TYPES: Final = ("bool", "int", "float", "str", "path", "list", "dict", "variable", "raw")
# So many hosts are named, the others are counted.
NAMED_HOSTS: Final = 3
SHOWN_CHARACTERS: Final = 200
VARIABLE: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
WHOLE: Final = re.compile("-?(0|[1-9][0-9]*)")
DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)([.][0-9]+)?")


def load_rows(roles: Path = ROLES) -> dict[str, dict[str, Row]]:
    """Read the rows of every role.

    They are no variables of the roles: Ansible would read them at each import of a role, which takes 0.13 s for all
    of them; here it is 0.012 s, once in a run (measured).
    """
    found = {}
    for path in sorted(roles.glob("*/meta/settings.yml")):
        # The loader in C: it is ten times as fast, and PyYAML has it on every platform that Ansible supports.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        found[path.parents[1].name] = dict(yaml.load(path.read_text(encoding="utf-8"), Loader=loader)["settings"])
    return found


def native(value: object) -> Any:
    """Give a value of Ansible's as plain data: its containers are lazy, and a vault is opened only now."""
    if getattr(value, "__ENCRYPTED__", False):
        return str(value)
    if isinstance(value, Mapping):
        return {native(key): native(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [native(inner) for inner in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _is_hidden(row: Row) -> bool:
    return bool(row.get("secret") or row.get("hidden"))


def _kind(value: object) -> str:
    """Name the type of a value in words of YAML."""
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, Mapping):
        return f"the mapping {dict(value)!r}"
    if isinstance(value, Sequence):
        return f"the list {list(value)!r}"
    return f"of the type {type(value).__name__}"


def _shown(value: object, row: Row) -> str:
    """Show a value unless it is secret; then its type alone."""
    words = _kind(value)
    if _is_hidden(row) and value is not None:
        words = re.match(r"the \w+|of the type \w+", words)[0]  # type: ignore[index]
        return words.replace("the ", "a ", 1)
    return words if len(words) <= SHOWN_CHARACTERS else f"{words[:SHOWN_CHARACTERS]}..."


def _example(name: str) -> str:
    """Give the name as it is set on the command line; what is inside of a setting has no such name."""
    return "" if re.search(r"[.\[]", name) else f", on the command line -e '{{\"{name}\": false}}'"


def _wrong_type(name: str, value: object, row: Row) -> str | None:
    """Say which type is wanted, and how it is written."""
    wanted = row["type"]
    if wanted == "variable":
        return _wrong_variable(name, value, row)
    if value is None and wanted != "raw":
        return f"{name} has no value (null). Give it one, or remove the line: then the default holds."
    if wanted == "bool":
        if isinstance(value, bool):
            return None
        key = name.rpartition(".")[2]
        hint = f"write {key}: true or {key}: false without quotes{_example(name)}"
        return f"{name} must be true or false, and is {_shown(value, row)}: {hint}."
    if wanted in ("int", "float"):
        number = WHOLE if wanted == "int" else DECIMAL
        words = "a whole number" if wanted == "int" else "a number"
        right = isinstance(value, int) or (wanted == "float" and isinstance(value, float) and math.isfinite(value))
        text = isinstance(value, str) and number.fullmatch(value)
        if isinstance(value, bool) or not (right or text):
            return f"{name} must be {words}, and is {_shown(value, row)}."
    elif wanted in ("str", "path"):
        if not isinstance(value, str):
            hint = " Write it in quotes." if isinstance(value, (int, float)) else ""
            return f"{name} must be a text, and is {_shown(value, row)}.{hint}"
    elif wanted == "list":
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
            hint = (
                f" Write it as [{value}], or a line with a dash for each."
                if _is_plain(value, row) and _takes_texts(row)
                else ""
            )
            return f"{name} must be a list, and is {_shown(value, row)}.{hint}"
    elif wanted == "dict" and not isinstance(value, Mapping):
        return f"{name} must be a mapping (dict, of the form key: value), and is {_shown(value, row)}."
    return None


def _wrong_variable(name: str, value: object, row: Row) -> str | None:
    """Say why it is no value of an environment variable; null is how one part of an inventory takes away another's."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return None
    if not isinstance(value, str):
        hint = "write the very text that the program expects, for example '1' or 'true'"
        return f"{name} must be a text, and is {_shown(value, row)}: {hint}."
    return f"{name} must be set, and is empty: remove the line, or make it null." if value == "" else None


def _is_plain(value: object, row: Row) -> bool:
    return isinstance(value, str) and not _is_hidden(row) and re.fullmatch(r"[\w./:@-]+", value) is not None


def _takes_texts(row: Row) -> bool:
    return bool(row.get("elements", {}).get("type") == "str")


def _unprintable(name: str, value: object) -> Iterator[str]:
    """No program takes NUL in a text, and a lone surrogate cannot be written at all."""
    if isinstance(value, str):
        if "\0" in value:
            yield f"{name} has a NUL character in it, which no program takes. Remove it."
        elif any("\ud800" <= character <= "\udfff" for character in value):
            yield f"{name} has bytes in it that are no UTF-8. Write it anew."
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unprintable(name, key)
            yield from _unprintable(f"{name}.{key}", inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, inner in enumerate(value):
            yield from _unprintable(f"{name}[{index}]", inner)


def _text_problems(name: str, value: str, row: Row) -> Iterator[str]:
    shown = "" if _is_hidden(row) else f", and is {value!r}"
    if value == "":
        if not row.get("empty"):
            words = f": it must be {FORMATS[row['format']].words}" if "format" in row else ""
            yield f"{name} must be set, and is empty{words}."
        return
    if "choices" in row:
        if value not in row["choices"]:
            words = ", ".join(str(each) or "empty" for each in row["choices"])
            yield f"{name} must be one of {words}{shown}."
        return
    if "length" in row and not row["length"][0] <= len(value) <= row["length"][1]:
        yield f"{name} must have {row['length'][0]} to {row['length'][1]} characters, and has {len(value)}."
    if "format" in row and not FORMATS[row["format"]].check(value):
        yield f"{name} must be {FORMATS[row['format']].words}{shown}."
    elif "check" in row and (wrong := TEXT_CHECKS[row["check"]](value)):
        yield f"{name}: {wrong}."


def problems(name: str, value: object, row: Row) -> Iterator[str]:
    """Say what is wrong with a value; each sentence names it, and what to set."""
    if isinstance(value, bool) and "bool" in row.get("accepts", ()):
        value = "on" if value else "off"
    elif isinstance(value, int) and not isinstance(value, bool) and "int" in row.get("accepts", ()):
        value = str(value)
    elif isinstance(value, str) and row["type"] == "list" and "str" in row.get("accepts", ()):
        value = [part for part in value.split(",") if part]
    if wrong := next(_unprintable(name, value), None) or _wrong_type(name, value, row):
        yield wrong
    elif row["type"] in ("int", "float"):
        low, high = row["range"]
        if not (low <= float(value) <= high or (row.get("zero") and float(value) == 0)):  # type: ignore[arg-type]
            yield f"{name} must be {'0 or ' if row.get('zero') else ''}from {low} to {high}, and is {value}."
    elif isinstance(value, str):
        yield from _text_problems(name, value, row)
    elif isinstance(value, Mapping):
        wrong_parts = list(_mapping_problems(name, value, row))
        yield from wrong_parts
        if "check" in row and not wrong_parts and (wrong := MAPPING_CHECKS[row["check"]](value)):
            yield f"{name}: {wrong}."
    elif isinstance(value, Sequence):
        if "counts" in row and not row["counts"][0] <= len(value) <= row["counts"][1]:
            yield f"{name} must have {row['counts'][0]} to {row['counts'][1]} entries, and has {len(value)}."
        for index, inner in enumerate(value):
            if "elements" in row:
                yield from problems(f"{name}[{index}]", inner, _inner(row, row["elements"]))


def _inner(row: Row, inner: Row) -> Row:
    """What is inside of a secret is secret."""
    return {**inner, "secret": True} if row.get("secret") else inner


def _mapping_problems(name: str, value: Mapping[Any, object], row: Row) -> Iterator[str]:
    options: Mapping[str, Row] = row.get("options", {})
    for key, inner in value.items():
        if not isinstance(key, str) or not key:
            yield f"{name} has the key {key!r}, which must be a text. Write it in quotes."
        elif row.get("values", {}).get("type") == "variable" and not VARIABLE.fullmatch(key):
            words = "letters, digits and underscores"
            yield f"{name} has the key {key!r}, which is no name of an environment variable ({words})."
        elif key in options:
            yield from problems(f"{name}.{key}", inner, _inner(row, options[key]))
        elif "values" in row:
            yield from problems(f"{name}.{key}", inner, _inner(row, row["values"]))
        elif options:
            yield f"{name} has the key {key!r}, which means nothing here. It can have {', '.join(options)}."
    for key, inner_row in options.items():
        if inner_row.get("required") and key not in value:
            yield f"{name} needs a {key}."


def _hosts(names: Sequence[str]) -> str:
    more = len(names) - NAMED_HOSTS
    return ", ".join(names[:NAMED_HOSTS]) + (f" and {more} more" if more > 0 else "")


def for_hosts(found: Mapping[str, Sequence[str]], hosts: Iterable[str]) -> list[str]:
    """Give each sentence (-> hosts that it is about) once. Hosts are named where they differ."""
    number = len(set(hosts))
    return [text if len(named) == number else f"{_hosts(named)}: {text}" for text, named in found.items()]


def all_problems(values: Mapping[str, Mapping[str, object]], rows: Mapping[str, Row]) -> dict[str, list[str]]:
    """Judge the settings of all hosts (host -> name -> value): sentence -> hosts."""
    found: dict[str, list[str]] = {}
    for host, given in values.items():
        for name, value in given.items():
            for text in problems(name, value, rows[name]):
                found.setdefault(text, []).append(host)
    return found


def secret_texts(value: object) -> Iterator[str]:
    """Give every text and number in a secret value, however deep it stands.

    Inside of a mapping or a list numbers and switches are no secrets: masking them would shred the text.
    """
    if isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        inner = list(value)
    else:
        if value is not None and not isinstance(value, bool) and value != "":
            yield str(value)
        return
    for each in inner:
        yield from (text for text in secret_texts(each) if not re.fullmatch("true|false|[0-9.]+", text, re.IGNORECASE))
