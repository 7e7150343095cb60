# SPDX-License-Identifier: MIT
"""Lookup secret_values: the values of every setting that is marked secret."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret_values
version_added: 0.1.0
short_description: List the values of every setting that is marked secret
description:
  - Which settings are secret is in C(roles/<role>/meta/settings.yml), so that masking cannot miss one.
  - Texts inside of mappings and lists are listed one by one, except for numbers and switches.
  - Values that cannot be read are passed over, because no program can have got them.
  - Settings of the role C(compose_project) are not among them, because other roles fill those.
options: {}
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Show a log without secrets
  ansible.builtin.debug:
    msg: "{{ log.stdout | selfhosted.trigger_dev.redact(query('selfhosted.trigger_dev.secret_values')) }}"
"""

RETURN = r"""
_list:
  description: The values.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import (
    load_rows,
    native,
    secret_texts,
)


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[str]:
        found: dict[str, None] = {}
        for role, rows in load_rows().items():
            for name, row in rows.items():
                if role != "compose_project" and row.get("secret") and name in (variables or {}):
                    try:
                        value = native(self._templar.template(variables[name]))  # type: ignore[index]
                    except (AnsibleError, UnicodeError):
                        continue
                    found |= dict.fromkeys(secret_texts(value))
        return list(found)
