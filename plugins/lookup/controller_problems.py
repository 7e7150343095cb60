# SPDX-License-Identifier: MIT
"""Lookup controller_problems."""

from __future__ import annotations

DOCUMENTATION = """
name: controller_problems
version_added: 0.1.0
short_description: Find what the controller lacks to run this collection
description:
  - Looks at the version of ansible-core, at Python packages and at other collections.
  - Tries whether passlib and bcrypt work together, where both are named.
options:
  _terms:
    description: Nothing; the lookup takes no terms.
  ansible_core:
    description: Oldest version of ansible-core.
    type: str
    required: true
  collections:
    description: Versions of each collection by its name, as C(galaxy.yml) states them, with C(>=) and C(!=).
    type: dict
    default: {}
  packages:
    description: Python packages that must be importable, each with what C(pip) calls it.
    type: dict
    default: {}
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = """
- name: Show what is missing
  ansible.builtin.debug:
    msg: "{{ query('selfhosted.trigger_dev.controller_problems', ansible_core='2.19.0', packages={'yaml': 'PyYAML'}) }}"
"""

RETURN = """
_list:
  description: One text for each problem.
  type: list
  elements: str
"""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ansible import __version__ as ansible_version
from ansible.errors import AnsibleFilterError
from ansible.module_utils.compat.version import LooseVersion
from ansible.plugins.lookup import LookupBase
from ansible_collections.selfhosted.trigger_dev.plugins.filter.htpasswd import bcrypt

INSTALL = "install requirements.txt of this collection (pip install -r requirements.txt)"
COLLECTIONS = "install it (ansible-galaxy collection install -r requirements.yml)"


def is_older(version: str, oldest: str) -> bool:
    return bool(LooseVersion(version) < LooseVersion(oldest))


def fits(version: str, wanted: str) -> bool:
    """Hold a version against conditions as galaxy.yml has them: >= and != with commas between them."""
    conditions = [(each[:2], each[2:]) for each in wanted.split(",")]
    return all(not is_older(version, other) if operator == ">=" else version != other for operator, other in conditions)


def core_problem(version: str, oldest: str) -> str:
    if not is_older(version, oldest):
        return ""
    return f"ansible-core is {version}, at least {oldest} is needed: {INSTALL}."


def collection_version(name: str) -> str | None:
    """Read the version of an installed collection; None where there is none."""
    try:
        module = import_module(f"ansible_collections.{name}")
    except ImportError:
        return None
    for folder in module.__path__:
        manifest = Path(folder, "MANIFEST.json")
        if manifest.is_file():
            return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    # A checkout has no manifest; its developer knows what it is.
    return ""


def collection_problem(name: str, version: str | None, wanted: str) -> str:
    if version is None:
        return f"The collection {name} is missing on the controller: {COLLECTIONS}."
    if version and not fits(version, wanted):
        return f"The collection {name} is {version}, it must be {wanted}: {COLLECTIONS}."
    return ""


def package_problem(package: str, distribution: str) -> str:
    if find_spec(package):
        return ""
    return f"The Python package {distribution} is missing on the controller: {INSTALL}."


def password_problem() -> str:
    """Hash something, with the least effort: some releases of passlib and bcrypt import well together and fail then."""
    try:
        bcrypt(4)
    except AnsibleFilterError as error:
        return str(error).removeprefix("htpasswd: ")
    return ""


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: Sequence[object], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        packages: Mapping[str, str] = self.get_option("packages")
        collections: Mapping[str, str] = self.get_option("collections")
        found = [package_problem(*pair) for pair in packages.items()]
        if not any(found) and {"passlib", "bcrypt"} <= set(packages):
            found.append(password_problem())
        return [
            problem
            for problem in (
                core_problem(ansible_version, str(self.get_option("ansible_core"))),
                *(collection_problem(name, collection_version(name), wanted) for name, wanted in collections.items()),
                *found,
            )
            if problem
        ]
