# SPDX-License-Identifier: MIT
"""What follows from a row whose value a program reads as it is: its variable, and how an adoption takes it over.

Rows of roles/<role>/meta/settings.yml -> lines of roles/<role>/vars/main/environment.yml and of
roles/adopt/vars/main/names.yml, between two comments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tools.tables import flow

Row = Mapping[str, Any]
Documents = Mapping[str, Mapping[str, Any]]
BEGIN = "  # Written by `make generate` from the rows of {}. Change these."
END = "  # End of what is written from the rows of {}."
SETTINGS = "settings"
# Type of a setting -> the value in an env file. A fraction is a text: the filter dotenv takes none.
VALUES = {
    "str": "{{{{ {} }}}}",
    "path": "{{{{ {} }}}}",
    "int": "{{{{ {} | int }}}}",
    "float": "{{{{ {} | float | string }}}}",
    "bool": "{{{{ {} | bool | string | lower }}}}",
}
# Type of a setting -> how its value is read from an old installation, unless its row says so.
READ = {"int": "int", "float": "float", "bool": "bool", "dict": "pairs"}


def fill(text: str, lines: Iterable[str], source: str) -> str:
    """Replace the lines of a dictionary between the two comments that name where they come from."""
    begin, end = BEGIN.format(source), END.format(source)
    if text.count(f"{begin}\n") != 1 or text.count(f"{end}\n") != 1:
        raise ValueError(f"not once in the file: {begin} ... {end}")
    head, _, rest = text.partition(f"{begin}\n")
    *_, tail = rest.partition(f"{end}\n")
    return "".join([head, f"{begin}\n", *(f"  {line}\n" for line in lines), f"{end}\n", tail])


def variables(settings: Mapping[str, Row]) -> Iterator[str]:
    """Give a line for each setting that stands in the environment as it is."""
    for name, row in settings.items():
        if variable := row.get("environment"):
            if row["type"] not in VALUES:
                raise ValueError(f"{name}: write the value of {variable} in environment.yml, as it is a {row['type']}")
            yield f'{variable}: "{VALUES[row["type"]].format(name)}"'


def adopted(documents: Documents, others: set[str]) -> Iterator[str]:
    """Give a line for each name of an old installation that is the value of a setting; others have no meaning here."""
    # As people read them in what an adoption writes: what all share comes first.
    for role in sorted(documents, key=lambda role: (role != "trigger", role != "webapp", role)):
        for name, row in documents[role]["settings"].items():
            variable = row.get("environment")
            usual: Row = {variable: {}} if variable and variable not in others else {}
            for old, how in {**usual, **row.get("adopt", {})}.items():
                read = {"as": READ[row["type"]]} if row["type"] in READ else {}
                yield f"{old}: {flow({'to': name, **read, **how})}"
