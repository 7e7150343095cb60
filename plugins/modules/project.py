# SPDX-License-Identifier: MIT
"""Module project."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project
version_added: 0.1.0
short_description: Have a project in an organisation
description:
  - Runs on the control host. A project is known by its name within its organisation. Several may share a name; then the
    oldest is taken. (The API of the webapp makes another project at every call.)
  - With the project come its environments, production and development.
attributes:
  check_mode:
    support: full
    description: Predicts truly.
  diff_mode:
    support: full
    description: Shows the name.
options:
  name:
    description: Name of the project.
    type: str
    required: true
  organization:
    description:
      - Id of the organisation. M(selfhosted.trigger_dev.organization) gives it.
      - In check mode it may be empty, for an organisation that would be made.
    type: str
    required: true
  token:
    description:
      - Personal access token of a member of the organisation. M(selfhosted.trigger_dev.access_token) gives one.
      - In check mode it may be empty, for a user that would be made.
    type: str
    required: true
  state:
    description: Only V(present), the project must be there.
    type: str
    choices: [present]
    default: present
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.webapp
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.access_token
  - module: selfhosted.trigger_dev.organization
"""

EXAMPLES = r"""
- name: Have the project
  selfhosted.trigger_dev.project:
    token: "{{ __ci.access_token.token }}"
    organization: "{{ __acme.organization.id }}"
    name: Invoices
  register: __invoices

- name: Say what goes into trigger.config.ts
  ansible.builtin.debug:
    msg: "{{ __invoices.project.ref }}"
"""

RETURN = r"""
project:
  description: The project.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: success
    ref:
      description:
        - Its reference as C(trigger.config.ts) names it, C(proj_) and more.
        - Empty in check mode if it would be made.
      type: str
      returned: success
    id:
      description: Its id. Empty in check mode if it would be made.
      type: str
      returned: success
    slug:
      description: Its name in addresses of the webapp. Empty in check mode if it would be made.
      type: str
      returned: success
"""

import urllib.parse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._webapp import (
    ARGUMENT_SPEC,
    Webapp,
    WebappError,
    oldest,
    require_token,
)


@dataclass(frozen=True)
class Parameters:
    webapp: Webapp
    token: str
    organization: str
    name: str


@dataclass(frozen=True)
class Project:
    name: str
    ref: str = ""
    id: str = ""
    slug: str = ""


def parameters(params: Mapping[str, Any], check_mode: bool) -> Parameters:
    name = params["name"].strip()
    if not name:
        raise WebappError("name is empty; a project needs one")
    if not params["organization"] and not check_mode:
        raise WebappError("organization is empty; give the id of the organisation")
    token = require_token(params["token"], check_mode)
    return Parameters(Webapp(params["webapp_url"]), token, params["organization"], name)


def project(row: Mapping[str, Any]) -> Project:
    return Project(row["name"], row["externalRef"], row["id"], row["slug"])


def find(wanted: Parameters) -> Project | None:
    """Give the oldest project of this name in the organisation."""
    if not wanted.token or not wanted.organization:
        return None
    rows = wanted.webapp.json("GET", "/api/v1/projects", token=wanted.token)
    row = oldest(rows, lambda row: row["organization"]["id"] == wanted.organization and row["name"] == wanted.name)
    return project(row) if row else None


def make(wanted: Parameters) -> Project:
    path = f"/api/v1/orgs/{urllib.parse.quote(wanted.organization, safe='')}/projects"
    try:
        return project(wanted.webapp.json("POST", path, token=wanted.token, payload={"name": wanted.name}))
    except WebappError as error:
        raise WebappError(
            f"the project {wanted.name!r} could not be made: {error}. An organisation may hold 10 projects "
            '("maximumProjectCount" of its row in the database)'
        ) from None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "name": {"type": "str", "required": True},
            "organization": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": True},
            "state": {"type": "str", "choices": ["present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        wanted = parameters(module.params, module.check_mode)
        found = find(wanted)
        result = found or (Project(wanted.name) if module.check_mode else make(wanted))
    except WebappError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=not found,
        project=asdict(result),
        diff={"before": f"{wanted.name}\n" if found else "", "after": f"{wanted.name}\n"},
    )


if __name__ == "__main__":
    main()
