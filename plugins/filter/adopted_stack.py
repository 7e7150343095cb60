# SPDX-License-Identifier: MIT
"""Filter adopted_stack: what an installation that was started by other means is here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._compose_stack import (
    Stack,
    is_inner,
    refusals,
    registry_of,
    source,
    strangers,
    text,
    version_of,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import (
    distinct_secrets,
    is_anchored,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import load_rows, native, problems

# In MiB.
UNITS = {"b": 1 / 2**20, "k": 1 / 1024, "m": 1, "g": 1024, "": 1 / 2**20}
KEY = "trigger_secrets."
WORKER_SECRET = "managed_worker_secret"


@dataclass
class Adopted:
    """What is found, piece by piece."""

    problems: list[str] = field(default_factory=list)
    # Workers on other hosts, which have to stop before it is adopted.
    strangers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)
    meaningless: list[dict[str, Any]] = field(default_factory=list)
    # Lines for people, without any secret, and texts of the inventory files.
    report: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)


def _mib(value: str) -> int:
    found = re.fullmatch(r"([0-9.]+)\s*([bkmg]?)(?:i?b)?", value.strip().lower())
    if not found:
        raise ValueError(value)
    return int(float(found[1]) * UNITS[found[2]])


def _origin(value: str) -> str:
    parts = urlsplit(value)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else value.rstrip("/")


def _domain(value: str) -> str:
    """Put an @ before a domain that stands alone: example.com also fits me@evil-example.com."""
    return value if "@" in value or value.startswith("^") else f"@(?:{value.removesuffix('$')})$"


def _end(value: str) -> str:
    """Anchor a regular expression at its end. The old webapp found it anywhere."""
    value = _domain(value)
    return value if is_anchored(value) else f"(?:{value})$"


def _whole(value: str) -> str:
    """Anchor it at its beginning, too. A domain alone means each of its addresses."""
    value = _domain(value)
    names = "[^@]+" if value.startswith("@") else ""
    return value if is_anchored(value, start=True) else f"^{names}(?:{value.removeprefix('^')})$"


READ: dict[str, Callable[[str], Any]] = {
    "text": str,
    "int": int,
    "float": float,
    "bool": lambda value: value.lower() in ("1", "true"),
    "mib": _mib,
    "pairs": lambda value: dict(pair.split("=", 1) for pair in value.split(",") if pair),
    "mirror": lambda value: value.rstrip("/"),
    "origin": _origin,
    "address": _origin,
    "end": _end,
    "whole": _whole,
}


class Translation:
    """Turns names and values into settings."""

    def __init__(self, stack: Stack, names: Mapping[str, Mapping[str, Any]], published: Sequence[str]) -> None:
        self.stack = stack
        self.names = names
        self.published = published
        self.environment = stack.environment()
        self.rows = {name: row for role in load_rows().values() for name, row in role.items()}
        self.found = Adopted()

    def put(self, setting: str, value: Any) -> None:
        """Keep a value if it is right by its row. Of a secret nothing is said but that."""
        name, _, key = setting.partition(".")
        row = self.rows[name]
        wrong = next(problems(name, {key: value} if key else value, row), None)
        if wrong and name in LIMITS:
            self.found.problems.append(f"{wrong} {LIMITS[name]}")
        elif wrong:
            self.found.warnings.append(f"Not taken over: {wrong}")
        elif key:
            self.found.secrets.setdefault(name, {})[key] = value
        else:
            (self.found.secrets if row.get("secret") else self.found.settings)[name] = value

    def translate(self) -> None:
        for name, row in self.names.items():
            value = self.environment.get(name, "")
            unwanted = value == "" or value in map(str, row.get("unless", []))
            if unwanted or ("needs" in row and not self.environment.get(row["needs"])):
                continue
            if "same" in row and value == self.environment.get(row["same"]):
                continue
            if row.get("as") == "address" and is_inner(value, self.stack.names):
                continue
            self._read(name, row, value)

    def _read(self, name: str, row: Mapping[str, Any], value: str) -> None:
        try:
            read = READ[row.get("as", "text")](value)
        except ValueError:
            self.found.warnings.append(f"Not taken over: {name} has a value that cannot be read.")
            return
        if row["to"].startswith(KEY) and value in self.published:
            if name != "ENCRYPTION_KEY":
                self.found.warnings.append(
                    f"{name} has a published value, so a new one is generated.{LOGIN.get(name, '')}"
                )
                return
            self.found.warnings.append(
                "ENCRYPTION_KEY has a published value. It is kept, because nothing could be read with another one: who "
                "gets a copy of the database can read its secrets. Renew those that tasks use."
            )
        if row.get("as") in ("end", "whole") and read != value:
            self.found.warnings.append(
                f"{name} was looked for anywhere in an address, and gets anchors. Check that {row['to']} fits those"
                " that it is for."
            )
        self.put(row["to"], read)

    def version(self, oldest: Sequence[int]) -> None:
        release = version_of(self.stack)
        if not release:
            image = self.stack.all("webapp")[0]["image"]
            self.found.warnings.append(
                f"The image {image} does not tell its release. Set trigger_version to what runs, or a later one."
            )
        elif release < tuple(oldest):
            self.found.warnings.append(
                f"The webapp is of Trigger.dev {text(release)}. It becomes {text(oldest)}, the oldest deployed here."
            )
            self.found.settings["trigger_version"] = text(oldest)
        else:
            self.found.settings["trigger_version"] = text(release)

    def elsewhere(self) -> None:
        """Take over an object store and a registry that are no services of the old installation."""
        webapp = self.stack.webapp
        if not self.stack.one("minio") and webapp.get("OBJECT_STORE_BASE_URL"):
            self.put("webapp_object_store", "external")
            self.put("trigger_object_store_origin", _origin(webapp["OBJECT_STORE_BASE_URL"]))
            for name, key in (("ACCESS_KEY_ID", "access_key"), ("SECRET_ACCESS_KEY", "secret_key")):
                if webapp.get(f"OBJECT_STORE_{name}"):
                    self.put(f"{KEY}object_store_{key}", webapp[f"OBJECT_STORE_{name}"])
        if not self.stack.one("registry"):
            self.put("registry_enabled", False)
            self.put("trigger_registry_host", registry_of(webapp)[0])
            if self.environment.get("DOCKER_REGISTRY_PASSWORD"):
                self.put("trigger_registry_username", self.environment.get("DOCKER_REGISTRY_USERNAME", ""))
                self.put(f"{KEY}registry_password", self.environment["DOCKER_REGISTRY_PASSWORD"])

    def distinct(self) -> None:
        """Let the one secret that nothing depends on be generated anew where several have one value."""
        given = self.found.secrets.get("trigger_secrets", {})
        if WORKER_SECRET in given and distinct_secrets(given):
            del given[WORKER_SECRET]
            self.found.warnings.append(
                "MANAGED_WORKER_SECRET has the value of another secret, so a new one is generated."
            )

    def leftover(self, meaningless: Sequence[Mapping[str, Any]], others: Iterable[str]) -> None:
        """Name what has no meaning here, and hand on what is not known."""
        known = {*self.names, *others}
        for row in meaningless:
            known |= set(row["names"])
            here = [name for name in row["names"] if self.environment.get(name)]
            if here:
                self.found.meaningless.append({"names": here, "reason": row["reason"]})
        for service in ("webapp", "supervisor"):
            rows = self.stack.all(service)
            given = {name: rows[0]["environment"][name] for name in rows[0]["given"]} if rows else {}
            extra = {name: value for name, value in given.items() if value and name not in known}
            if extra:
                whole: dict[str, Any] = {"webapp": extra} if service == "webapp" else extra
                self.found.secrets[f"{service}_extra_env"] = whole
                self.found.warnings.append(f"{', '.join(sorted(extra))} of {service} are kept in {service}_extra_env.")


# Without these, more people could log in than before.
LIMITS = {
    "webapp_whitelisted_emails": "It limits who may log in, so it is not left out. Correct WHITELISTED_EMAILS"
    " of the old installation, and start its webapp with that."
}

LOGIN = {
    "SESSION_SECRET": " All users have to log in again.",
    "MAGIC_LINK_SECRET": " Login links that were sent are void.",
}


class Plain(yaml.SafeDumper):
    """Writes texts so that Ansible takes them as they are."""


def _plain(dumper: yaml.SafeDumper, text_of: str) -> yaml.ScalarNode:
    tag = "!unsafe" if re.search(r"\{[{%#]", text_of) else "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, text_of, style="'" if tag == "!unsafe" else None)


Plain.add_representer(str, _plain)


def inventory(values: Mapping[str, Any]) -> str:
    """Write variables as a file of an inventory."""
    return yaml.dump(dict(values), Dumper=Plain, sort_keys=True, width=1000, allow_unicode=True)


def report(found: Adopted) -> Iterator[str]:
    """Say what becomes of everything. Of secrets only the names are told."""
    for name, value in sorted(found.settings.items()):
        yield f"{name}: {json.dumps(value, ensure_ascii=False)}"
    for name, value in sorted(found.secrets.items()):
        inner = value if isinstance(value, Mapping) and name == "trigger_secrets" else {}
        yield from (f"{name}.{key}: (secret)" for key in sorted(inner))
        if not inner:
            yield f"{name}: (secret)"
    for row in found.meaningless:
        yield f"Without meaning here: {', '.join(row['names'])}. {row['reason']}"
    yield from (f"WARNING: {line}" for line in found.warnings)
    yield f"Data is moved from {', '.join(row['container'] for row in found.source['stores'].values())}."


def adopted_stack(
    found: Mapping[str, Any],
    path: str,
    names: Mapping[str, Mapping[str, Any]],
    meaningless: Sequence[Mapping[str, Any]],
    published: Sequence[str],
    majors: Sequence[int],
    others: Sequence[str] = (),
    oldest: str = "4.2.0",
) -> dict[str, Any]:
    """Give settings, secrets, what has no meaning here, and what the program that adopts has to know."""
    stack, path = Stack(native(found)), native(path)
    wrong = list(refusals(stack, path, majors))
    if wrong:
        return {**vars(Adopted(problems=wrong)), "installation": ""}
    translation = Translation(stack, native(names), native(published))
    translation.translate()
    translation.version([int(part) for part in oldest.split(".")])
    translation.elsewhere()
    translation.distinct()
    translation.leftover(native(meaningless), native(others))
    result = translation.found
    result.source = source(stack, path)
    result.strangers = list(strangers(stack))
    result.warnings += result.strangers
    salted = f"selfhosted.trigger_dev backup {stack.webapp['ENCRYPTION_KEY']}"
    installation = hashlib.sha256(salted.encode()).hexdigest()[:16]
    own = {"adopt_path": path, "adopt_installation": installation}
    result.files = {"settings": inventory({**own, **result.settings}), "secrets": inventory(result.secrets)}
    result.report = list(report(result))
    return {**vars(result), "installation": installation}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"adopted_stack": adopted_stack}
