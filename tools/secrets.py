# SPDX-License-Identifier: MIT
"""What follows from the rows of secrets (roles/trigger/vars/main/secrets.yml), and which services hold one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tools.tables import entries, table

Row = Mapping[str, Any]
SECRETS = "secrets"
FILE = "roles/trigger/vars/main/secrets.yml"
VALUES = "__trigger_secret_values"


def variables(secrets: Mapping[str, Row]) -> Iterator[str]:
    """Give a line for each secret that stands in the environment of the webapp as it is."""
    for name, row in secrets.items():
        if variable := row.get("environment"):
            yield f'{variable}: "{{{{ {VALUES}.{name} }}}}"'


def adopted(secrets: Mapping[str, Row]) -> Iterator[str]:
    """Give a line for each of these variables of an old installation."""
    for name, row in secrets.items():
        if variable := row.get("environment"):
            yield f"{variable}: {{to: trigger_secrets.{name}}}"


def known_as(secrets: Mapping[str, Row], setting: Row) -> list[Any]:
    """Give the names of upstream that entries of trigger_secrets stand for."""
    listed = list(setting.get("also_known_as", []))
    told = {(name, key) for name, key, _ in entries(listed)}
    found = [(row["environment"], name) for name, row in secrets.items() if "environment" in row]
    return [*listed, *({"names": [variable], "key": name} for variable, name in found if (variable, name) not in told)]


def of_secrets(secrets: Mapping[str, Row]) -> str:
    """Give the table of the document; secrets with the same answers share a row."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, row in secrets.items():
        rotation = row["rotation"]
        grouped.setdefault((rotation["how"], rotation.get("effect", "Nothing.")), []).append(name)
    return table(
        ("secret", "how it is replaced", "what you and your users notice"),
        [(", ".join(f"`{name}`" for name in names), how, effect) for (how, effect), names in grouped.items()],
    )


def holders(services: Mapping[str, Row], variables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Give the secrets that the environment and the files of each service hold, through variables of the role too."""

    def held(value: object, seen: frozenset[str]) -> Iterator[str]:
        text = yaml.safe_dump(value, width=10**6)
        yield from re.findall(rf"\b{VALUES}\.(\w+)", text)
        for name, key in sorted(set(re.findall(r"\b(__webapp_\w+)(?:\.(\w+))?", text))):
            found = None if name in seen else variables.get(name)
            if key and isinstance(found, Mapping) and key in found:
                name, found = f"{name}.{key}", found[key]
            if found is not None and name not in seen:
                yield from held(found, seen | {name})

    found = {}
    for name, row in services.items():
        parts = [row[key] for key in ("environment", "files") if key in row]
        found[name] = sorted(set(held(parts, frozenset({"__webapp_services"}))))
    return found
