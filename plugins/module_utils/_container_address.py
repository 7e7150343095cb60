# SPDX-License-Identifier: MIT
"""Finds the address at which this host reaches a container that publishes no port."""

from __future__ import annotations

import ipaddress
import json

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed, Run

# As JSON: from version 29 on the command line has addresses as netip.Addr, which a template without `json` prints as
# "invalid IP" where there is none, as of a stopped container. In JSON that is an empty text, as it always was.
TEMPLATE = "[{{json .State.Paused}}, {{json .NetworkSettings.Networks}}]"


def usable(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def container_address(container: str, runner: Run) -> tuple[str, Completed]:
    """Give the address of a container that can answer, else nothing; and what the engine said."""
    done = runner(["docker", "container", "inspect", "--format", TEMPLATE, container])
    if done.code != 0:
        return "", done
    paused, networks = json.loads(done.stdout)
    # The kernel takes connections for a paused one, which answers none.
    found = [] if paused else [str(row.get("IPAddress") or "") for row in (networks or {}).values()]
    return next(filter(usable, found), ""), done
