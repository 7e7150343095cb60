# SPDX-License-Identifier: MIT
"""Writes what follows from the rows of settings and services: `make generate`.

roles/<role>/meta/settings.yml -> roles/<role>/defaults/main.yml, roles/<role>/meta/argument_specs.yml, and the tables
of roles/<role>/README.md and docs/settings.md

and, of those that programs read as they are, lines of roles/<role>/vars/main/environment.yml and of
roles/adopt/vars/main/names.yml

roles/trigger/vars/main/secrets.yml -> the table of docs/secrets.md, further lines of these two files, and, with
roles/webapp/vars/main/services.yml, roles/webapp/vars/main/holders.yml

roles/webapp/vars/main/services.yml -> the table of memory in docs/requirements.md, and of services in docs/concepts.md

And the dashboards, from tools/dashboards.yml.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from tools import dashboards, plain, secrets
from tools.tables import by_name, fill, of_memory, of_role, of_services, without_name

ROOT = Path(__file__).resolve().parents[1]
SERVICES = "roles/webapp/vars/main/services.yml"
WIDTH = 150
HEADING_WIDTH = 100
# REUSE-IgnoreStart: no header of this file
HEADER = "# SPDX-License-Identifier: MIT\n# Written by `make generate` from meta/settings.yml. Change that.\n---\n"
HOLDERS = (
    "# SPDX-License-Identifier: MIT\n"
    "# Written by `make generate` from the environment and the files of services.yml. Change these.\n"
    "# Service -> the secrets that it holds: it starts anew when one is replaced (playbook secrets_rotate).\n---\n"
)
# REUSE-IgnoreEnd
# What Ansible's own specs know of a row.
SPEC_KEYS = ("type", "required", "default")

Row = Mapping[str, Any]


class Dumper(yaml.SafeDumper):
    """Indents lists as yamllint wants it, and calls the one anchor `options`."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def generate_anchor(self, node: yaml.Node) -> str:
        return "options"


def _text(dumper: Dumper, value: str) -> yaml.Node:
    """Quotes as people write them: double ones around templates."""
    style = '"' if value == "" or ("{{" in value and '"' not in value and "\\" not in value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Dumper.add_representer(str, _text)


def dump(value: object, flow: bool = False) -> str:
    """Give a value as YAML."""
    text: str = yaml.dump(
        value,
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=10**6 if flow else WIDTH,
        default_flow_style=flow,
    )
    return text.removesuffix("...\n")


def comment(text: str) -> str:
    """Give a text as lines of comment."""
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _assignment(name: str, value: object) -> str:
    if isinstance(value, (dict, list)) and value:
        return dump({name: value})
    return dump({name: value}, flow=True).strip()[1:-1] + "\n"


def defaults(document: Mapping[str, Any]) -> str:
    """Give defaults/main.yml of a role: headings, and each variable under its description."""
    parts = [HEADER.rstrip("\n")]
    if note := document.get("note"):
        parts += [comment(note)]
    for name, row in document["settings"].items():
        if section := row.get("section"):
            title, words = (section["title"], section["note"]) if isinstance(section, dict) else (section, "")
            parts.append(f"# --- {title} ".ljust(HEADING_WIDTH, "-") + "\n" + (comment(words) if words else ""))
        if "default" in row:
            parts.append(comment(row["description"]) + _assignment(name, row["default"]))
    head, *others = parts
    return head + "\n" + "\n".join(others)


def _option(row: Row) -> dict[str, Any]:
    """Give the option of a spec. It ends the run where the check of the rows did not run before; that says more."""
    option: dict[str, Any] = {"description": row["description"]}
    option |= {key: deepcopy(row[key]) for key in SPEC_KEYS if key in row}
    if "choices" in row and not row.get("secret"):
        option["choices"] = list(row["choices"])
    if "elements" in row:
        option["elements"] = row["elements"]["type"]
    inner = row.get("elements", row)
    if "options" in inner and "values" not in inner and not isinstance(row.get("default"), str):
        option["options"] = {name: _option(each) for name, each in inner["options"].items()}
    if row.get("secret"):
        option["no_log"] = True
    return option


def _options(settings: Mapping[str, Row], entry_point: str, takes_some: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, row in settings.items():
        named = entry_point in (*row.get("also_for", ()), *row.get("only_for", ()))
        if named if takes_some else "only_for" not in row:
            yield name, _option(row)


def specs(document: Mapping[str, Any]) -> str:
    """Give meta/argument_specs.yml of a role."""
    every = dict(_options(document["settings"], "main", False))
    entries = {}
    for name, entry in document["entry_points"].items():
        some = entry.get("takes") == "some"
        options = dict(_options(document["settings"], name, True)) if some else every
        entries[name] = {"short_description": entry["short_description"], "options": options}
    return HEADER + dump({"argument_specs": entries})


def generated(root: Path) -> dict[Path, str]:
    """Path -> content of each file that follows from the rows."""
    found = {}
    documents = {
        path.parents[1].name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(root.glob("roles/*/meta/settings.yml"))
    }
    generated_secrets = yaml.safe_load((root / secrets.FILE).read_text(encoding="utf-8"))["__trigger_secrets"]
    setting = documents["trigger"]["settings"]["trigger_secrets"]
    setting["also_known_as"] = secrets.known_as(generated_secrets, setting)
    for name, document in documents.items():
        role = root / "roles" / name
        found[role / "defaults/main.yml"] = defaults(document)
        found[role / "meta/argument_specs.yml"] = specs(document)
        readme = role / "README.md"
        found[readme] = fill(readme.read_text(encoding="utf-8"), {"settings": of_role(document)})
        if lines := list(plain.variables(document["settings"])):
            environment = role / "vars/main/environment.yml"
            found[environment] = plain.fill(environment.read_text(encoding="utf-8"), lines, plain.SETTINGS)
    names = root / "roles/adopt/vars/main/names.yml"
    text = names.read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    others = {name for row in table["__adopt_meaningless"] for name in row["names"]}
    text = plain.fill(text, secrets.adopted(generated_secrets), secrets.SECRETS)
    found[names] = plain.fill(text, plain.adopted(documents, others), plain.SETTINGS)
    environment = root / "roles/webapp/vars/main/environment.yml"
    found[environment] = plain.fill(found[environment], secrets.variables(generated_secrets), secrets.SECRETS)
    page = root / "docs/secrets.md"
    rotations = {"secrets": secrets.of_secrets(generated_secrets)}
    found[page] = fill(page.read_text(encoding="utf-8"), rotations, secrets.FILE)
    index = root / "docs/settings.md"
    tables = {
        "names": by_name(documents, supervisor=False),
        "names of the supervisor": by_name(documents, supervisor=True),
        "other settings": without_name(documents),
    }
    found[index] = fill(index.read_text(encoding="utf-8"), tables)
    rows = root / SERVICES
    services = yaml.safe_load(rows.read_text(encoding="utf-8"))["__webapp_services"]
    folder = root / "roles/webapp/vars/main"
    variables: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yml")):
        variables |= yaml.safe_load(found.get(path) or path.read_text(encoding="utf-8"))
    holders = folder / "holders.yml"
    found[holders] = HOLDERS + dump({"__webapp_secret_holders": secrets.holders(services, variables)})
    beside = ("registry", "gateway")
    beside_mib = sum(documents[name]["settings"][f"{name}_memory_mib"]["default"] for name in beside)
    needs = root / "docs/requirements.md"
    memory = {"memory": of_memory(services, beside_mib)}
    found[needs] = fill(needs.read_text(encoding="utf-8"), memory, SERVICES)
    concepts = root / "docs/concepts.md"
    found[concepts] = fill(concepts.read_text(encoding="utf-8"), {"services": of_services(services)}, SERVICES)
    return found


def main() -> int:
    """Write what differs, and name it."""
    for path, text in {**generated(ROOT), **dashboards.generated(ROOT)}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
