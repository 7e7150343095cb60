# SPDX-License-Identifier: MIT
"""Module magic_link."""

from __future__ import annotations

DOCUMENTATION = r"""
module: magic_link
version_added: 0.1.0
short_description: Ask the webapp for a login link and read it from its log
description:
  - Runs on the control host. Asks the webapp for a login link as the login page does. Then finds the link of this
    mail address, printed after this request, in the log of the webapp's container.
  - A webapp without a mail transport prints its mails there. With one the link is mailed, and the module says so.
  - A user that does not exist yet is made by asking.
  - Anyone with the link can log in for 30 minutes, so the result is hidden as with C(no_log). An
    error is shown.
attributes:
  check_mode:
    support: full
    description: Asks for nothing, so there is no link.
  diff_mode:
    support: none
    description: A link has no state to compare with.
options:
  origin:
    description:
      - Address of the webapp as the operator's browser reaches it, C(scheme://host) or C(scheme://host:port).
        The link begins with it.
      - Without being told, the webapp makes links of the address that it was asked at, and of V(https) wherever the
        host is not the loopback.
    type: str
    required: true
  timeout:
    description: Seconds to wait for the link to be printed.
    type: int
    default: 20
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.webapp
  - selfhosted.trigger_dev.webapp.login
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Ask for a login link
  selfhosted.trigger_dev.magic_link:
    webapp_container: trigger-webapp-webapp-1
    email: me@example.com
    origin: https://trigger.example.com
  register: __login

- name: Show it
  ansible.builtin.debug:
    msg: "{{ __login.magic_link.url }}"
"""

RETURN = r"""
magic_link:
  description: The link.
  returned: success
  type: dict
  contains:
    email:
      description: The mail address as the webapp stores it.
      type: str
      returned: success
    url:
      description: What to open in a browser. V(null) in check mode.
      type: str
      returned: success
"""

import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._webapp import (
    LOGIN_ARGUMENT_SPEC,
    Webapp,
    WebappError,
    address,
    refusal,
)

PAUSE_SECONDS = 0.5
# With Redis up the answer takes milliseconds; without, it comes after 5 s and looks the same (measured).
SLOW_SECONDS = 4.5

ORIGIN = re.compile(r"https?://[A-Za-z0-9._-]+(:[0-9]+)?")
MAIL = re.compile(r"^##### sendEmail to (.+?), subject: ", re.MULTILINE)
# Only with scheme and host before it: an access log may name the path of a link that somebody opens meanwhile.
LINK = re.compile(r"https?://[^\s/]+/magic\?token=([A-Za-z0-9%._~+/=-]+)")


@dataclass(frozen=True)
class Parameters:
    webapp: Webapp
    container: str
    email: str
    origin: str
    timeout: int


def parameters(params: Mapping[str, Any]) -> Parameters:
    origin = params["origin"].rstrip("/")
    if not ORIGIN.fullmatch(origin):
        raise WebappError(f"origin is {origin!r}, it must be scheme://host or scheme://host:port")
    return Parameters(
        Webapp(params["webapp_url"]), params["webapp_container"], address(params["email"]), origin, params["timeout"]
    )


def find(log: str, email: str) -> str | None:
    """Find the token of the last login link that was mailed to the address; still URL-encoded."""
    mails = list(MAIL.finditer(log))
    ends = [*(mail.start() for mail in mails), len(log)][1:]
    links = [LINK.search(log, mail.end(), end) for mail, end in zip(mails, ends) if mail[1].strip().lower() == email]
    return next((link[1] for link in reversed(links) if link), None)


def ask(wanted: Parameters) -> None:
    """Ask for a link as the browser does that the origin is the address of."""
    origin = urllib.parse.urlsplit(wanted.origin)
    answer = wanted.webapp.ask(
        "POST",
        "/login/magic",
        form={"action": "send", "email": wanted.email},
        headers={"X-Forwarded-Host": origin.netloc, "X-Forwarded-Proto": origin.scheme},
    )
    if answer.status != 302:
        raise WebappError(f"no link for {wanted.email}: the webapp answers {answer.status} to the login form")
    if reason := refusal(wanted.webapp.follow(answer)):
        raise WebappError(f"no link for {wanted.email}: {reason}")


def transport(wanted: Parameters, runner: Run) -> str:
    """Name the mail transport that the running webapp has; empty if it has none."""
    done = runner(["docker", "exec", wanted.container, "printenv", "EMAIL_TRANSPORT"], timeout=30)
    # 1 without a word is printenv's own way to say that there is no such variable.
    if done.code not in (0, 1) or (done.code == 1 and done.stderr.strip()):
        raise WebappError(f"cannot ask the container {wanted.container} for its mail transport: {done.error}")
    return done.stdout.strip()


def read_log(wanted: Parameters, since: float, runner: Run) -> str:
    done = runner(["docker", "logs", "--since", f"{since:.6f}", wanted.container], timeout=60)
    if done.code != 0:
        raise WebappError(f"cannot read the log of the container {wanted.container}: {done.error}")
    return done.stdout


def give_up(wanted: Parameters, took: float) -> str:
    """Say what is known about a link that does not come."""
    if took >= SLOW_SECONDS:
        return (
            f"no link for {wanted.email}: the webapp took {took:.0f} s for the form, as it does when it cannot reach "
            "Redis, and printed no link. See whether Redis is up and takes the webapp's password"
        )
    return (
        f"no link for {wanted.email}: nothing was printed within {wanted.timeout} s, although the webapp has no mail "
        f"transport. Look for errors with: docker logs --since 5m {wanted.container}"
    )


def obtain(
    wanted: Parameters,
    runner: Run,
    now: Callable[[], float],
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> str:
    """Ask for a link, wait for it, and give it with the origin of the operator's browser."""
    # The container's log is stamped by the engine of this host, so by the same clock.
    since, began = now(), clock()
    ask(wanted)
    took = clock() - began
    if mailer := transport(wanted, runner):
        raise WebappError(
            f"the link was not printed but mailed to {wanted.email}, because the webapp has a mail transport "
            f"({mailer}; webapp_email_transport). If no mail comes, look for errors with: "
            f"docker logs --since 5m {wanted.container}"
        )
    deadline = clock() + wanted.timeout
    while not (token := find(read_log(wanted, since, runner), wanted.email)):
        if clock() >= deadline:
            raise WebappError(give_up(wanted, took))
        pause(PAUSE_SECONDS)
    return f"{wanted.origin}/magic?token={token}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **LOGIN_ARGUMENT_SPEC,
            "origin": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    try:
        wanted = parameters(module.params)
        url = None if module.check_mode else obtain(wanted, run, time.time, time.monotonic, time.sleep)
    except WebappError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, magic_link={"email": wanted.email, "url": url})


if __name__ == "__main__":
    main()
