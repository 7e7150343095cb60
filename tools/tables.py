# SPDX-License-Identifier: MIT
"""Tables for people: settings in the README of each role, and by upstream's names in docs/settings.md.

And of services: what they are for, in docs/concepts.md, and how they share the memory of their host, in
docs/requirements.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Row = Mapping[str, Any]
Documents = Mapping[str, Mapping[str, Any]]
BEGIN = "<!-- begin {}: written by `make generate` from {} -->"
END = "<!-- end {} -->"
# A longer default stands in defaults/main.yml alone.
LONGEST_DEFAULT = 60
# Its names are those of another program than the webapp, and some are the same.
SUPERVISOR = "supervisor"


def fill(text: str, tables: Mapping[str, str], source: str = "meta/settings.yml") -> str:
    """Replace what stands between the markers of each table."""
    for name, table in tables.items():
        begin, end = BEGIN.format(name, source), END.format(name)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"not once in the document: {begin} ... {end}")
        head, rest = text.split(begin)
        text = head + begin + "\n\n" + table + "\n" + end + rest.split(end)[1]
    return text


def cell(text: str) -> str:
    """Give a text as a cell: a bar would end it, and outside of code `<name>` would be a tag."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Give a table of Markdown."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def flow(value: object) -> str:
    """Give a value on one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _default(row: Row) -> str:
    if "default" not in row:
        return "required"
    value = row["default"]
    text = f"`{value}`" if isinstance(value, str) and value else '`""`' if value == "" else f"`{flow(value)}`"
    return "computed" if "{{ __" in text or len(text) > LONGEST_DEFAULT else cell(text)


def _type(row: Row) -> str:
    words: str = row["type"]
    if "elements" in row:
        words += f" of {row['elements']['type']}"
    if "choices" in row:
        words += ": " + ", ".join(f"`{each}`" if each else "empty" for each in row["choices"])
    elif "range" in row:
        low, high = row["range"]
        words += f", {'0 or ' if row.get('zero') else ''}{low} to {high}"
    return words


def _description(row: Row) -> str:
    points = f" Entry point: {', '.join(f'`{name}`' for name in row['only_for'])}." if "only_for" in row else ""
    return cell(row["description"] + points)


def of_role(document: Mapping[str, Any]) -> str:
    """Give the settings of a role, a table for each of its sections."""
    parts: list[str] = []
    rows: list[tuple[str, ...]] = []
    heads = ("setting", "type", "default", "meaning")
    for name, row in document["settings"].items():
        if section := row.get("section"):
            parts += [table(heads, rows)] if rows else []
            rows = []
            title, note = (section["title"], section["note"]) if isinstance(section, dict) else (section, "")
            parts.append(f"### {title}\n" + (f"\n{cell(note)}\n" if note else ""))
        rows.append((f"`{name}`", cell(_type(row)), _default(row), _description(row)))
    return "\n".join([*parts, table(heads, rows)])


def entries(items: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Give name, key and note of what `also_known_as` or `without_setting` lists; a name alone stands for itself."""
    for item in items:
        entry: Mapping[str, Any] = {"names": [item]} if isinstance(item, str) else item
        for name in entry["names"]:
            yield name, entry.get("key", ""), entry.get("note", "")


def known_as(row: Row) -> list[Any]:
    """Give the names of upstream that a setting stands for: its variable, and what its row lists besides."""
    listed = row.get("also_known_as", [])
    variable = row.get("environment")
    return listed if not variable or variable in {name for name, _, _ in entries(listed)} else [variable, *listed]


def names(documents: Documents) -> dict[str, tuple[list[str], str, set[str]]]:
    """Give what an upstream name is set by: name -> settings, note, roles."""
    found: dict[str, tuple[list[str], str, set[str]]] = {}
    for role, document in documents.items():
        lists = [(name, known_as(row)) for name, row in document["settings"].items()]
        for setting, items in [("", document.get("without_setting", [])), *lists]:
            for name, key, note in entries(items):
                settings, old, roles = found.get(name, ([], "", set()))
                here = [f"{setting}.{key}" if key else setting] if setting else []
                found[name] = ([*settings, *here], " ".join(filter(None, (old, note))), roles | {role})
    return found


def by_name(documents: Documents, supervisor: bool) -> str:
    """Give upstream's names in the order of the alphabet; those with the same answer share a row."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, (settings, note, roles) in sorted(names(documents).items(), key=lambda pair: pair[0].upper()):
        if (roles == {SUPERVISOR}) is supervisor:
            here = ", ".join(f"`{each}`" for each in sorted(settings))
            # Without a note they have nothing in common but the setting: each is easier to find in a row of its own.
            grouped.setdefault((here, note or name), []).append(name)
    return table(
        ("upstream or community stack", "here", "note"),
        [
            (", ".join(f"`{name}`" for name in same), here, "" if note in same else cell(note))
            for (here, note), same in grouped.items()
        ],
    )


def without_name(documents: Documents) -> str:
    """Give the settings that have no name upstream."""
    return table(
        ("setting", "meaning"),
        [
            (f"`{name}`", cell(row["description"]))
            for role, document in documents.items()
            if not document.get("internal")
            for name, row in document["settings"].items()
            if not known_as(row)
        ],
    )


def of_services(services: Mapping[str, Row]) -> str:
    """Give what each service is for."""
    heads = ("service", "what it does", "without it")
    return table(heads, [(f"`{name}`", cell(row["does"]), cell(row["without"])) for name, row in services.items()])


def of_memory(services: Mapping[str, Row], beside_mib: int) -> str:
    """Give what each service gets at each step, their sums, and the memory of a host that has these left to them.

    One tenth of a host is left to the system, and beside_mib to other services of the collection.
    """
    shares = {name: row["memory"]["steps_mib"] for name, row in services.items()}
    # One of two object stores is there; the other one takes its share from the row of the first.
    steps: dict[str, list[int]] = {name: mib for name, mib in shares.items() if isinstance(mib, list)}
    sums = [sum(column) for column in zip(*steps.values(), strict=True)]
    hosts = [f"{math.ceil((mib + beside_mib) / 0.9 / 1024 * 10) / 10} GiB" for mib in sums]
    return table(
        ("MiB left to the services", *map(str, sums)),
        [
            ("a control host with registry and gateway", *hosts),
            *((f"`{name}`", *map(str, mib)) for name, mib in steps.items()),
        ],
    )
