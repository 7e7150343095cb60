# SPDX-License-Identifier: MIT
"""Lookup inventory_problems: what is wrong with the settings of an inventory, by their rows."""

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory_problems
version_added: 0.1.0
short_description: Check the settings that an inventory gives to the roles of this collection
description:
  - Judges every public variable of every role that is set for one of the hosts, by its row in
    C(roles/<role>/meta/settings.yml).
  - A value must have the type of its row as it stands. Only numbers may be written as text, as C(-e name=5) does.
  - Values that are not set are not looked at, because defaults are right.
options:
  _terms:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  installation:
    description:
      - Those of the hosts between which a setting must not differ whose row says C(same).
    type: list
    elements: str
    default: []
  names:
    description: Settings to look at. Without it these are all of them.
    type: list
    elements: str
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Check every setting
  ansible.builtin.assert:
    that: query('selfhosted.trigger_dev.inventory_problems', *groups.all) | length == 0
"""

RETURN = r"""
_list:
  description: One sentence for each thing that is wrong, with the variable, hosts if not all have it, and what to set.
  type: list
  elements: str
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import (
    ROLES,
    Row,
    all_problems,
    differences,
    for_hosts,
    load_rows,
    native,
)


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        chosen, installation = self.get_option("names"), self.get_option("installation")
        rows = {name: row for role in load_rows().values() for name, row in role.items()}
        rows = {name: row for name, row in rows.items() if chosen is None or name in chosen}
        hostvars = (variables or {})["hostvars"]
        values: dict[str, dict[str, object]] = {}
        found: dict[str, list[str]] = {}
        unreadable: set[str] = set()
        for host in terms:
            values[host] = {}
            raw = {**hostvars.raw_get(host), "hostvars": hostvars}
            for name in (each for each in rows if each in raw):
                try:
                    values[host][name] = self._value(raw[name], raw)
                except (AnsibleError, UnicodeError) as error:
                    where, error = self._place(name, raw[name], raw, error)
                    found.setdefault(_unreadable(where, rows[name], error), []).append(host)
                    unreadable.add(name)

        def default(host: str, name: str) -> object:
            known = {**self._role_variables(), **hostvars.raw_get(host), "hostvars": hostvars}
            try:
                return native(self._templar.copy_with_new_env(available_variables=known).template(known[name]))
            except (AnsibleError, UnicodeError):
                return None

        readable = {name: row for name, row in rows.items() if name not in unreadable}
        compared = {host: given for host, given in values.items() if host in installation}
        return [
            *for_hosts({**found, **all_problems(values, rows)}, terms),
            *differences(compared, readable, default),
        ]

    def _value(self, value: object, raw: Mapping[str, Any]) -> object:
        """Give the value as the host itself would have it. Variables of roles are read only for those that use them."""
        try:
            return native(self._templar.copy_with_new_env(available_variables=raw).template(value))
        except AnsibleError:
            known = {**self._role_variables(), **raw}
            return native(self._templar.copy_with_new_env(available_variables=known).template(value))

    def _place(self, name: str, value: object, raw: Mapping[str, Any], error: Exception) -> tuple[str, Exception]:
        """Give the part of a mapping that cannot be read, with its error."""
        for key, inner in value.items() if isinstance(value, Mapping) else ():
            try:
                self._value(inner, raw)
            except (AnsibleError, UnicodeError) as found:
                return f"{name}.{key}", found
        return name, error

    def _role_variables(self) -> dict[str, Any]:
        if not hasattr(self, "_known"):
            self._known: dict[str, Any] = {}
            for path in [*sorted(ROLES.glob("*/defaults/main.yml")), *sorted(ROLES.glob("*/vars/**/*.yml"))]:
                self._known |= self._loader.load_from_file(str(path), trusted_as_template=True) or {}
        return self._known


def _unreadable(name: str, row: Row, error: Exception) -> str:
    told = " ".join(str(error).split())
    words = _cause(told) if row.get("secret") else f": {told}"
    hint = ""
    if "Syntax error in template" in told:
        hint = " Ansible reads {{ and {% itself: write !unsafe before the value if they are for another program."
    return f"{name} has a value that cannot be read{words}. Correct it, or remove the line.{hint}"


def _cause(told: str) -> str:
    """Give what may be said of a secret: the variable that is missing, or the password of the vault."""
    if missing := re.search(r"'(\w+)' is undefined", told):
        return f": it names the variable {missing[1]}, which is not set"
    if "no vault secrets" in told:
        return ": it is in a vault, and there is no vault password (--vault-password-file, or --ask-vault-pass)"
    return ": no given vault password opens it" if "Decryption failed" in told else ""
