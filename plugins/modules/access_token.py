# SPDX-License-Identifier: MIT
"""Module access_token."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_token
version_added: 0.1.0
short_description: Have a personal access token of a user
description:
  - Runs on the control host. A token that is given and that the webapp knows is kept. Otherwise the module logs in as
    the user and takes the token that the webapp holds for the user's command line, or has one made.
  - A user that does not exist yet is created, as by a first login. The user is an administrator if C(ADMIN_EMAILS)
    matches the address at that moment.
  - No mail is sent. The login link is made in the webapp's container, whose secret it takes.
  - The module returns a secret, so the result is hidden as with C(no_log). An error is shown.
attributes:
  check_mode:
    support: full
    description: Asks whether O(token) is known, and does not log in. A token that would be made is V(null).
  diff_mode:
    support: full
    description: Shows whether the token is known, never the token.
options:
  token:
    description:
      - The token that the caller has. Empty if there is none.
      - One that the webapp does not know is replaced. One of another user is an error.
    type: str
    default: ""
  state:
    description: Only V(present), the token must be there.
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
  - module: selfhosted.trigger_dev.organization
  - module: selfhosted.trigger_dev.project
"""

EXAMPLES = r"""
- name: Have a token for continuous integration
  selfhosted.trigger_dev.access_token:
    webapp_container: trigger-webapp-webapp-1
    email: ci@example.com
    token: "{{ vault_trigger_access_token | default('') }}"
  register: __ci
"""

RETURN = r"""
access_token:
  description: The token.
  returned: success
  type: dict
  contains:
    token:
      description: The token itself. V(null) in check mode if one would be made.
      type: str
      returned: success
    email:
      description: Mail address of its user.
      type: str
      returned: success
    admin:
      description:
        - Whether the user is an administrator.
        - V(null) if the given token was kept and in check mode, because asking takes a login.
      type: bool
      returned: success
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._webapp import (
    LOGIN_ARGUMENT_SPEC,
    TokenRefused,
    Webapp,
    WebappError,
    address,
    log_in,
)


@dataclass(frozen=True)
class Parameters:
    webapp: Webapp
    container: str
    email: str
    token: str


@dataclass(frozen=True)
class Token:
    token: str
    admin: bool


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(
        Webapp(params["webapp_url"]), params["webapp_container"], address(params["email"]), params["token"].strip()
    )


def is_known(wanted: Parameters) -> bool:
    """Tell whether the given token can be kept."""
    if not wanted.token:
        return False
    try:
        owner = address(str(wanted.webapp.json("GET", "/api/v2/whoami", token=wanted.token)["email"]))
    except TokenRefused:
        return False
    if owner != wanted.email:
        raise WebappError(
            f"the token that is given belongs to {owner}, not to {wanted.email}; keep it, and name another place for "
            "the new one"
        )
    return True


def exchange(wanted: Parameters, code: str) -> str | None:
    """Give the token that the code stands for, if the user has confirmed the code."""
    found = wanted.webapp.json("POST", "/api/v1/token", payload={"authorizationCode": code})["token"]
    return str(found["token"]) if found else None


def make(wanted: Parameters, runner: Run, now: float) -> Token:
    """Get a token as the login of the command line does it: a code, confirmed in a browser, then exchanged."""
    cookies = log_in(wanted.webapp, wanted.container, wanted.email, runner, now)
    code = str(wanted.webapp.json("POST", "/api/v1/authorization-code", payload={})["authorizationCode"])
    page = f"/account/authorization-code/{code}"
    # 4.2 confirms the code when the page is opened; later releases show a button first, which posts to the same page.
    for method in ("GET", "POST"):
        answer = wanted.webapp.ask(method, page, cookies=cookies, form={} if method == "POST" else None)
        if answer.status != 200:
            break
        if token := exchange(wanted, code):
            # Everybody but an administrator is led away from this page.
            admin = wanted.webapp.ask("GET", "/admin", cookies=cookies)
            return Token(token, admin.status == 200 or admin.path.startswith("/admin"))
    raise WebappError(
        f"no personal access token for {wanted.email}: the webapp answers {answer.status} {answer.path} where the code "
        "is confirmed, and gives no token for it. Make one in the browser (Account, Personal access tokens)"
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **LOGIN_ARGUMENT_SPEC,
            "token": {"type": "str", "default": "", "no_log": True},
            "state": {"type": "str", "choices": ["present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        changed = not is_known(wanted)
        made = make(wanted, run, time.time()) if changed and not module.check_mode else None
    except WebappError as error:
        module.fail_json(msg=str(error))
    token = made.token if made else None if changed else wanted.token
    after = f"a token of {wanted.email}\n"

    # The value of a no_log option is masked wherever it appears in the result, and the caller needs it there.
    # So masking ends here, and the echo of the arguments goes out without it.
    module.no_log_values.clear()
    module.exit_json(
        changed=changed,
        access_token={"token": token, "email": wanted.email, "admin": made.admin if made else None},
        diff={"before": "" if changed else after, "after": after},
        invocation={"module_args": {**module.params, "token": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}},
    )


if __name__ == "__main__":
    main()
