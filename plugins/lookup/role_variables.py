# SPDX-License-Identifier: MIT
"""Lookup role_variables: the variables that the roles of this collection know."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_variables
version_added: 0.1.0
short_description: List the variables that the roles of this collection know
description:
  - Reads the names from the roles' own files C(defaults/main.yml), so that no second list can go stale.
options: {}
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Show the variables of the role webapp
  ansible.builtin.debug:
    msg: "{{ lookup('selfhosted.trigger_dev.role_variables').webapp }}"
"""

RETURN = r"""
_list:
  description: One dictionary, role -> names of its variables.
  type: list
  elements: dict
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

ROLES = Path(__file__).resolve().parents[2] / "roles"


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(
        self, terms: Sequence[object], variables: Mapping[str, Any] | None = None, **kwargs: object
    ) -> list[dict[str, list[str]]]:
        files = sorted(ROLES.glob("*/defaults/main.yml"))
        return [{path.parents[1].name: list(self._loader.load_from_file(str(path)) or {}) for path in files}]
