# SPDX-License-Identifier: MIT
"""Lookup different_hosts: hosts that stand for all that have the same settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: different_hosts
version_added: 0.1.0
short_description: Pick one host of those that have the same settings
description:
  - Gives the first host of each set of hosts for which the inventory has the same settings of some roles. What needs
    settings alone is checked for these, as most hosts of an installation do not differ.
  - Values are compared as they are written, expressions too.
options:
  _terms:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  roles:
    description: Roles of this collection whose settings are compared.
    type: list
    elements: str
    required: true
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Show workers that differ
  ansible.builtin.debug:
    msg: "{{ query('selfhosted.trigger_dev.different_hosts', *groups.trigger_workers, roles=['supervisor']) }}"
"""

RETURN = r"""
_list:
  description: Names of hosts, in the order of the terms.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import load_rows


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        rows = load_rows()
        names = [name for role in self.get_option("roles") for name in rows[role]]
        hostvars = (variables or {})["hostvars"]
        first: dict[str, str] = {}
        for host in terms:
            raw = hostvars.raw_get(host)
            first.setdefault(repr([(name, raw[name]) for name in names if name in raw]), host)
        return list(first.values())
