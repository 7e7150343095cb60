# SPDX-License-Identifier: MIT
"""Rows of settings (roles/<role>/meta/settings.yml), and what is wrong with a value by its row."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
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
# What a row can say. `reason` is for texts and values of which any is right: it says why. `same` is for settings that
# more than one host reads for itself, and that have to be one for control host, workers and the registry's host.
KEYS: Final = frozenset(
    {
        *("section", "description", "type", "default", "required", "secret", "hidden", "also_for", "only_for", "since"),
        # For docs/settings.md: names of upstream and of the community stack that this setting stands for.
        "also_known_as",
        # Its variable in the environment of the role's program: it has the value as it is (tools/plain.py).
        "environment",
        # Names of an old installation that it takes over, and how (roles/adopt/vars/main/names.yml).
        "adopt",
        *(
            "choices",
            "format",
            "reason",
            "oldest",
            "range",
            "zero",
            "check",
            "length",
            "empty",
            "accepts",
            "elements",
            "keys",
            "values",
            "options",
            "counts",
            "same",
        ),
    }
)
TYPES: Final = ("bool", "int", "float", "str", "path", "list", "dict", "variable", "raw")
# So many hosts are named, the others are counted.
NAMED_HOSTS: Final = 3
SHOWN_CHARACTERS: Final = 200
# A login in an address, such as https://name:password@host.
LOGIN: Final = re.compile(r"(?<=:)[^:/@\s]+(?=@)")
# Formats of times, and names of what is inside of a setting.
TIMES: Final = ("schedule", "rare_schedule", "restore_time")
IMAGES: Final = ("image", "image_of_any_tag")
INSIDE: Final = re.compile(r"[.\[]")
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


# What an inventory may hold under these names is mostly for other programs.
COMMON_NAMES: Final = frozenset(
    {
        *("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "DEBUG", "NODE_EXTRA_CA_CERTS", "SSL_CERT_DIR"),
        *("OTEL_EXPORTER_OTLP_ENDPOINT", "TZ"),
    }
)


def upstream_names() -> dict[str, str]:
    """Give the variables of upstream and of the community stack, each with the setting that it is here."""
    found: dict[str, str] = {}
    for name, row in (each for rows in load_rows().values() for each in rows.items()):
        # What is free there has no setting of its own.
        if name.endswith("_extra_env"):
            continue
        entries = [row["environment"]] if "environment" in row else []
        for entry in [*entries, *row.get("also_known_as", [])]:
            known = {"names": [entry]} if isinstance(entry, str) else entry
            for each in known["names"]:
                found.setdefault(each, f"{name}.{known['key']}" if "key" in known else name)
    return {each: name for each, name in found.items() if each not in COMMON_NAMES}


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


def _masked(text: str) -> str:
    return LOGIN.sub("***", text)


def _kind(value: object) -> str:
    """Name the type of a value in words of YAML."""
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {_masked(value)!r}"
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


def _example(name: str, value: str = "false") -> str:
    """Give the name as it is set on the command line; what is inside of a setting has no such name."""
    return "" if INSIDE.search(name) else f", on the command line -e '{{\"{name}\": {value}}}'"


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
        meant = "true" if str(value).lower() in ("true", "yes", "on", "1") else "false"
        hint = f"write {key}: true or {key}: false without quotes{_example(name, meant)}"
        return f"{name} must be true or false, and is {_shown(value, row)}: {hint}."
    if wanted in ("int", "float"):
        number = WHOLE if wanted == "int" else DECIMAL
        words = "a whole number" if wanted == "int" else "a number"
        right = isinstance(value, int) or (wanted == "float" and isinstance(value, float) and math.isfinite(value))
        text = isinstance(value, str) and number.fullmatch(value)
        # The command line makes a text of `-e name=5`. What is inside of a setting is handed on as it stands.
        if text and INSIDE.search(name):
            return f"{name} must be {words}, and is {_shown(value, row)}. Write it without quotes."
        if isinstance(value, bool) or not (right or text):
            return f"{name} must be {words}, and is {_shown(value, row)}."
    elif wanted in ("str", "path"):
        if not isinstance(value, str):
            if isinstance(value, date):
                shown = "a date" if _is_hidden(row) else f"the date {value}"
                return f"{name} must be a text, and is {shown}: YAML reads it so without quotes. Write it in quotes."
            if not isinstance(value, (int, float)):
                return f"{name} must be a text, and is {_shown(value, row)}."
            if isinstance(value, bool) or any(_text_problems(name, str(value), row)):
                # 12:30 is 750, minutes of an hour of sixty.
                hint = " YAML reads a time so without quotes: write it in quotes." if row.get("format") in TIMES else ""
                return f"{name} must be {_wanted_text(row)}, and is {_shown(value, row)}.{hint}"
            return f"{name} must be a text, and is {_shown(value, row)}. Write it in quotes."
    elif wanted == "list":
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
            parts = _entries(value, row) if _takes_texts(row) else []
            example = _example(name, json.dumps(parts))
            hint = f" Write it as [{', '.join(parts)}], or a line with a dash for each{example}." if parts else ""
            return f"{name} must be a list, and is {_shown(value, row)}.{hint}"
    elif wanted == "dict" and not isinstance(value, Mapping):
        return f"{name} must be a mapping (dict, of the form key: value), and is {_shown(value, row)}."
    return None


def _wanted_text(row: Row) -> str:
    if "choices" in row:
        return f"one of {', '.join(str(each) or 'empty' for each in row['choices'])}"
    return FORMATS[row["format"]].words if "format" in row else "a text"


def _wrong_variable(name: str, value: object, row: Row) -> str | None:
    """Say why it is no value of an environment variable; null is how one part of an inventory takes away another's."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return None
    if not isinstance(value, str):
        hint = "write the very text that the program expects, for example '1' or 'true'"
        return f"{name} must be a text, and is {_shown(value, row)}: {hint}."
    return f"{name} must be set, and is empty: remove the line, or make it null." if value == "" else None


def _entries(value: object, row: Row) -> list[str]:
    """Give the texts that somebody meant who has written a list as one text, as `-e name=[a,b]` does."""
    if not isinstance(value, str) or _is_hidden(row):
        return []
    parts = re.split(r"\s*,\s*", value.strip().removeprefix("[").removesuffix("]").strip())
    return parts if all(re.fullmatch(r"[\w./:@-]+", part) for part in parts) else []


def _takes_texts(row: Row) -> bool:
    return bool(row.get("elements", {}).get("type") == "str")


def _unprintable(name: str, value: object) -> Iterator[str]:
    """No program takes NUL in a text, and a lone surrogate cannot be written at all."""
    if isinstance(value, str):
        if "\0" in value:
            yield f"{name} has a NUL character in it, which no program takes. Remove it."
        elif any("\ud800" <= character <= "\udfff" for character in value):
            yield f"{name} has bytes in it that are no UTF-8. Write it again."
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unprintable(name, key)
            yield from _unprintable(f"{name}.{key}", inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, inner in enumerate(value):
            yield from _unprintable(f"{name}[{index}]", inner)


def _is_older(image: str, row: Row) -> bool:
    """Whether the tag of an image tells an older version than the role needs, as far as it tells one.

    Only of the program that the default names: others, and those with a digest, may count as they like.
    """
    repository, _colon, tag = image.rpartition(":")
    program = re.search(r"[^/]+(?=:[^/]*$)", row["default"])
    told = re.match(r"v?([0-9]+(?:[.][0-9]+)*)(?![^-+_])", tag)
    if "@" in image or not told or not program or repository.rpartition("/")[2] != program[0]:
        return False
    ours, least = ([int(part) for part in version.split(".")] for version in (told[1], row["oldest"]))
    # A tag of one number is the newest of its series.
    return ours[: len(least)] < least[: len(ours)]


def _text_problems(name: str, value: str, row: Row) -> Iterator[str]:
    shown = "" if _is_hidden(row) else f", and is {_masked(value)!r}"
    if value == "":
        if not row.get("empty"):
            words = f": it must be {_wanted_text(row)}" if "format" in row else ""
            yield f"{name} must be set, and is empty{words}."
        return
    if "choices" in row:
        if value not in row["choices"]:
            yield f"{name} must be {_wanted_text(row)}{shown}."
        return
    if "length" in row and not row["length"][0] <= len(value) <= row["length"][1]:
        yield f"{name} must have {row['length'][0]} to {row['length'][1]} characters, and has {len(value)}."
    wanted = FORMATS.get(row.get("format", ""))
    if wanted and (mistake := wanted.mistake(value)):
        told = "" if _is_hidden(row) else f" is {_masked(value)!r}, which"
        yield f"{name}{told} {mistake}."
    elif wanted and not wanted.form(value):
        yield f"{name} must be {_wanted_text(row)}{shown}."
    elif "oldest" in row and _is_older(value, row):
        yield (
            f"{name} must be {row['oldest']} or later{shown}. Where the tag of your own image counts otherwise, name"
            " the image by its digest, too."
        )
    elif "check" in row and (wrong := TEXT_CHECKS[row["check"]](value)):
        yield f"{name}: {wrong}."


def problems(name: str, value: object, row: Row) -> Iterator[str]:
    """Say what is wrong with a value; each sentence names it, and what to set."""
    if isinstance(value, bool) and "bool" in row.get("accepts", ()):
        value = "on" if value else "off"
    elif isinstance(value, int) and not isinstance(value, bool) and "int" in row.get("accepts", ()):
        value = str(value)
    elif isinstance(value, str) and row["type"] == "list" and "str" in row.get("accepts", ()):
        value = [part.strip() for part in value.split(",") if part.strip()]
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
        elif "keys" in row and not FORMATS[row["keys"]].check(key):
            yield f"{name} has the key {key!r}. A key must be {FORMATS[row['keys']].words}."
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


def some_hosts(names: Sequence[str]) -> str:
    """Name a few hosts, and count the others."""
    more = len(names) - NAMED_HOSTS
    return ", ".join(names[:NAMED_HOSTS]) + (f" and {more} more" if more > 0 else "")


def for_hosts(found: Mapping[str, Sequence[str]], hosts: Iterable[str]) -> list[str]:
    """Give each sentence (-> hosts that it is about) once. Hosts are named where they differ."""
    number = len(set(hosts))
    return [text if len(named) == number else f"{some_hosts(named)}: {text}" for text, named in found.items()]


def all_problems(values: Mapping[str, Mapping[str, object]], rows: Mapping[str, Row]) -> dict[str, list[str]]:
    """Judge the settings of all hosts (host -> name -> value): sentence -> hosts."""
    found: dict[str, list[str]] = {}
    programs = {name: _program(row["default"]) for name, row in rows.items() if row.get("format") in IMAGES}
    for host, given in values.items():
        for name, value in given.items():
            for text in [*problems(name, value, rows[name]), *_swapped(name, value, programs)]:
                found.setdefault(text, []).append(host)
    return found


def _program(image: str) -> str:
    """Give the last part of the name of an image."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _swapped(name: str, value: object, programs: Mapping[str, str]) -> Iterator[str]:
    """Say that an image is the one of another setting. One under any other name, or with a digest, may be anything."""
    if name in programs and isinstance(value, str) and "@" not in value and _program(value) != programs[name]:
        for other in [each for each, program in programs.items() if program == _program(value)][:1]:
            yield f"{name} is {value!r}, which is what {other} is for: it must be an image of {programs[name]}."


def _comparable(value: object, row: Row) -> str:
    """Give what a value means as a text: 5 and '5' are one number, and false is one of the words that off can be."""
    if isinstance(value, bool):
        return ("on" if value else "off") if "bool" in row.get("accepts", ()) else str(value).lower()
    # Of lists that are the same for all hosts, the order means nothing.
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ", ".join(sorted({str(each) for each in value}))
    return "empty" if value == "" else _masked(str(value))


def differences(
    values: Mapping[str, Mapping[str, object]], rows: Mapping[str, Row], default: Callable[[str, str], object]
) -> Iterator[str]:
    """Say which settings that are one for an installation differ (host -> name -> value).

    Where one is not set, its default counts: of the first of these hosts, as it takes time.
    """
    for name in (name for name, row in rows.items() if row.get("same")):
        found: dict[str, list[str]] = {}
        for host in (host for host, given in values.items() if name in given):
            found.setdefault(_comparable(values[host][name], rows[name]), []).append(host)
        without = [host for host, given in values.items() if name not in given]
        if not found or (len(found) == 1 and not without):
            continue
        if len(found) == 1 and _comparable(default(without[0], name), rows[name]) in found:
            continue
        parts = [*found.items(), *([("not set", without)] if without else [])]
        shown = ", ".join(f"{value} ({some_hosts(hosts)})" for value, hosts in parts)
        yield f"{name} differs: {shown}. The installation has one: set it for the group all."


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
