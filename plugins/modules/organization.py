# SPDX-License-Identifier: MIT
"""Module organization."""

from __future__ import annotations

DOCUMENTATION = r"""
module: organization
version_added: 0.1.0
short_description: Have an organisation that a user belongs to
description:
  - Runs on the control host. An organisation is known by its name among those that the user of the token belongs to.
    Several may share a name; then the oldest is taken.
  - The webapp's API does not make organisations, so the module logs in as the user for that. No mail is sent.
attributes:
  check_mode:
    support: full
    description: Predicts truly.
  diff_mode:
    support: full
    description: Shows the name.
options:
  name:
    description: Name of the organisation, 3 to 50 characters.
    type: str
    required: true
  token:
    description:
      - Personal access token of the user. M(selfhosted.trigger_dev.access_token) gives one.
      - In check mode it may be empty, for a user that would be made.
    type: str
    required: true
  state:
    description: Only V(present), the organisation must be there.
    type: str
    choices: [present]
    default: present
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.webapp
  - selfhosted.trigger_dev.webapp.login
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.access_token
  - module: selfhosted.trigger_dev.project
"""

EXAMPLES = r"""
- name: Have the organisation
  selfhosted.trigger_dev.organization:
    webapp_container: trigger-webapp-webapp-1
    email: me@example.com
    token: "{{ __ci.access_token.token }}"
    name: Acme
  register: __acme
"""

RETURN = r"""
organization:
  description: The organisation.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
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

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._webapp import (
    LOGIN_ARGUMENT_SPEC,
    Webapp,
    WebappError,
    address,
    log_in,
    oldest,
    require_token,
)

SHORTEST = 3
LONGEST = 50


@dataclass(frozen=True)
class Parameters:
    webapp: Webapp
    container: str
    email: str
    token: str
    name: str


@dataclass(frozen=True)
class Organization:
    name: str
    id: str = ""
    slug: str = ""


def parameters(params: Mapping[str, Any], check_mode: bool) -> Parameters:
    name = params["name"].strip()
    if not SHORTEST <= len(name) <= LONGEST:
        raise WebappError(f"name is {name!r}, it must have {SHORTEST} to {LONGEST} characters")
    return Parameters(
        Webapp(params["webapp_url"]),
        params["webapp_container"],
        address(params["email"]),
        require_token(params["token"], check_mode),
        name,
    )


def find(wanted: Parameters, matches: Callable[[Mapping[str, Any]], bool]) -> Organization | None:
    """Give the oldest organisation of the user that matches."""
    rows = wanted.webapp.json("GET", "/api/v1/orgs", token=wanted.token) if wanted.token else []
    row = oldest(rows, matches)
    return Organization(row["title"], row["id"], row["slug"]) if row else None


def make(wanted: Parameters, runner: Run, now: float) -> Organization:
    cookies = log_in(wanted.webapp, wanted.container, wanted.email, runner, now)
    answer = wanted.webapp.ask("POST", "/orgs/new", form={"orgName": wanted.name}, cookies=cookies)
    slug = answer.path.removeprefix("/orgs/").partition("/")[0]
    # The form is shown anew where something is wrong with it; the answer to success is a redirect.
    made = find(wanted, lambda row: row["slug"] == slug) if answer.path.startswith("/orgs/") else None
    if made is None:
        raise WebappError(
            f"the organisation {wanted.name!r} could not be made: the webapp answers {answer.status} {answer.path} to "
            "the form. Its log may say why"
        )
    return made


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **LOGIN_ARGUMENT_SPEC,
            "name": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": True},
            "state": {"type": "str", "choices": ["present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        wanted = parameters(module.params, module.check_mode)
        found = find(wanted, lambda row: row["title"] == wanted.name)
        result = found or Organization(wanted.name)
        if not found and not module.check_mode:
            result = make(wanted, run, time.time())
    except WebappError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=not found,
        organization=asdict(result),
        diff={"before": f"{wanted.name}\n" if found else "", "after": f"{wanted.name}\n"},
    )


if __name__ == "__main__":
    main()
