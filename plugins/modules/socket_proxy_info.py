# SPDX-License-Identifier: MIT
"""Module socket_proxy_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: socket_proxy_info
version_added: 0.1.0
short_description: See whether a Docker socket proxy lets pass what it may and nothing else
description:
  - Runs on a worker host. Makes calls to the Docker proxy of the supervisor and compares the status of each answer.
  - Reports what it finds and does not fail because of it, so that one fault does not hide the others.
  - A call that the proxy lets pass reaches the engine, so B(each must be harmless if it does).
attributes:
  check_mode:
    support: full
    description: The calls are made, because they are to change nothing.
  diff_mode:
    support: N/A
    description: Changes nothing.
options:
  calls:
    description: Calls to make, and how each must be answered.
    type: list
    elements: dict
    required: true
    suboptions:
      method:
        description: Method of HTTP.
        type: str
        default: GET
      path:
        description: Path, with what follows it.
        type: str
        required: true
      status:
        description: Status of the answer.
        type: int
        default: 403
  refusals_minutes:
    description:
      - Report as well what the proxy has refused in the last minutes, by its log. 0 means not to look.
      - A supervisor asks for nothing that is refused. One that is newer than the proxy's rules may, and then no run
        starts. What this module asks for is not counted.
    type: int
    default: 0
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.socket_proxy
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Ask the proxy for what it must refuse
  selfhosted.trigger_dev.socket_proxy_info:
    proxy_container: trigger-supervisor-docker-socket-proxy-1
    calls:
      - {path: /_ping}
      - {path: /images/none/json, status: 404}
"""

RETURN = r"""
checks:
  description: One entry for the proxy, and one for its refusals if they are asked for.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was looked at.
      type: str
      returned: always
      sample: socket proxy
    ok:
      description: Whether each call was answered as it must be.
      type: bool
      returned: always
    detail:
      description: The answers that were not as they must be.
      type: str
      returned: always
      sample: "GET /info: 200 instead of 403"
"""

import http.client
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run

TIMEOUT_SECONDS = 10.0
# By which the strict proxy's log tells our calls from a supervisor's; of a create without a body it says this instead.
AGENT = "trigger-verify"
OURS = ("asked by verify", "POST /containers/create (403) not in the form of JSON")
REFUSED = "refused: "
SHOWN = 5


class ProxyError(Exception):
    """A proxy that cannot be asked."""


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Parameters:
    container: str
    network: str
    port: int
    calls: Sequence[Call]
    minutes: int = 0


# Method and path -> status of the answer.
Ask = Callable[[str, str], int]


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(
        params["proxy_container"],
        params["proxy_network"],
        params["proxy_port"],
        [Call(**call) for call in params["calls"]],
        params["refusals_minutes"],
    )


def address(runner: Run, wanted: Parameters) -> str:
    done = runner(["docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", wanted.container])
    if done.code != 0:
        raise ProxyError(f"{wanted.container} is not there: {done.error}")
    network = (json.loads(done.stdout) or {}).get(wanted.network) or {}
    found: str = network.get("IPAddress") or ""
    if not found:
        raise ProxyError(f"{wanted.container} has no address on the network {wanted.network}; is it running?")
    return found


def speak(host: str, port: int) -> Ask:
    def ask(method: str, path: str) -> int:
        with closing(http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request(method, path, headers={"User-Agent": AGENT})
            return connection.getresponse().status

    return ask


def check_calls(ask: Ask, calls: Sequence[Call]) -> Check:
    wrong = []
    for call in calls:
        name = f"{call.method} {call.path.split('?')[0]}"
        try:
            status = ask(call.method, call.path)
        except (OSError, http.client.HTTPException) as error:
            # The other calls would only wait for nothing, too.
            wrong.append(f"{name}: no answer ({type(error).__name__}: {error})")
            break
        if status != call.status:
            wrong.append(f"{name}: {status} instead of {call.status}")
    return Check("socket proxy", not wrong, "; ".join(wrong) or f"answers {len(calls)} calls as it must")


def look(wanted: Parameters, runner: Run, speaker: Callable[[str, int], Ask]) -> Check:
    try:
        return check_calls(speaker(address(runner, wanted), wanted.port), wanted.calls)
    except ProxyError as error:
        return Check("socket proxy", False, str(error))


def refusals(runner: Run, wanted: Parameters) -> Check:
    """Say what the proxy has refused of late. Its log holds keys of a create and never values."""
    what = "refusals of the socket proxy"
    done = runner(["docker", "logs", "--since", f"{wanted.minutes}m", wanted.container])
    if done.code != 0:
        return Check(what, False, f"the log of {wanted.container} cannot be read: {done.error}")
    lines = [line[len(REFUSED) :] for line in (done.stdout + done.stderr).splitlines() if line.startswith(REFUSED)]
    counted = Counter(line for line in lines if not line.endswith(OURS))
    span = f"in the last {wanted.minutes} minutes"
    if not counted:
        return Check(what, True, f"none {span}")
    shown = "; ".join(f"{line} ({count} times)" for line, count in counted.most_common(SHOWN))
    return Check(what, False, f"{sum(counted.values())} {span}: {shown}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "proxy_container": {"type": "str", "required": True},
            "proxy_network": {"type": "str", "default": "trigger-proxy"},
            "proxy_port": {"type": "int", "default": 2375},
            "calls": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "method": {"type": "str", "default": "GET"},
                    "path": {"type": "str", "required": True},
                    "status": {"type": "int", "default": 403},
                },
            },
            "refusals_minutes": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    checks = [look(wanted, run, speak)] + ([refusals(run, wanted)] if wanted.minutes else [])
    module.exit_json(changed=False, checks=[check.row for check in checks])


if __name__ == "__main__":
    main()
