# SPDX-License-Identifier: MIT
"""Module web_endpoint_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: web_endpoint_info
version_added: 0.1.0
short_description: Ask web addresses as a client on this host does
description:
  - Sends one GET to each address, all at once, and gives one row for each, as the playbook C(status) prints them.
    Names are resolved by the host. No proxy of the environment is used, and redirects are not followed.
  - Of an C(https) address the certificate is verified, and the days that it has left are told. A row is not ok when
    less than three weeks are left, or less than a fifth of the certificate's life where that is shorter. Programs that
    renew certificates by themselves have done so long before.
  - A name that has IPv6 addresses too, none of which takes a connection while an IPv4 address does, is not ok. Clients
    with IPv6 and ACME servers try these first. From a host without a way to IPv6 they cannot be tried.
  - Never fails because of what it finds.
attributes:
  platform:
    description: Linux. Needs nothing but Python on the host.
options:
  endpoints:
    description: What to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      what:
        description: Name of the row. Empty means scheme and host of the address, as in V(https trigger.example.com).
        type: str
        default: ""
      url:
        description: Address, C(http) or C(https).
        type: str
        required: true
      statuses:
        description: Statuses that are ok. Empty means every one below 500.
        type: list
        elements: int
        default: []
      refused:
        description: Statuses that are not ok in any case.
        type: list
        elements: int
        default: []
      advice:
        description: What to do when the status is none that is ok.
        type: str
        default: ""
      connect_to:
        description:
          - Name or IP address to connect to instead of the host in O(endpoints[].url), which is asked for all the same.
            It tells what answers there, whatever the DNS and routers on the way do. IPv6 addresses are not tried then.
          - Empty means that host.
        type: str
        default: ""
  ca_file:
    description: File on the host with certificates of CAs to trust beside those of the host. It may be missing.
    type: path
  timeout:
    description: Seconds that each of connection and answer may take.
    type: int
    default: 10
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.tls_endpoint_info
"""

EXAMPLES = r"""
- name: Ask what the gateway serves
  selfhosted.trigger_dev.web_endpoint_info:
    endpoints:
      - {url: "https://trigger.example.com/healthcheck", statuses: [200]}
    ca_file: /opt/trigger/ca.pem
"""

RETURN = r"""
checks:
  description: What was found, one for each of O(endpoints).
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was asked.
      type: str
      returned: success
    ok:
      description: Whether it is as it must be.
      type: bool
      returned: success
    detail:
      description: What was answered.
      type: str
      returned: success
"""

import errno
import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    TIMEOUTS,
    Endpoint,
    ServiceError,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._tls import Target, handshake, reason, trusted

DAY_SECONDS = 86400
WARNING_SECONDS = 21 * DAY_SECONDS
# A certificate with a short life is renewed when a third of it is left.
WARNING_SHARE = 5


@dataclass(frozen=True)
class Wanted:
    what: str
    url: str
    statuses: Sequence[int]
    refused: Sequence[int]
    advice: str
    connect_to: str = ""


@dataclass(frozen=True)
class Answer:
    status: int
    # Of the certificate, in seconds since the epoch; None without TLS.
    begins: float | None = None
    ends: float | None = None


def named(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme} {parts.netloc}"


def get(connection: http.client.HTTPConnection, path: str, host: str) -> int:
    with closing(connection):
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status


def ask(url: str, ca: str, timeout: float, place: str = "") -> Answer:
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    if parts.scheme == "http":
        plain = http.client.HTTPConnection(place or host, parts.port or 80, timeout=timeout)
        return Answer(get(plain, path, parts.netloc))
    wanted = Target(Endpoint(host, parts.port or 443, ca), place or host)
    with handshake(wanted, trusted(wanted.endpoint), timeout) as secured:
        shown: Mapping[str, Any] = secured.getpeercert() or {}
        connection = http.client.HTTPConnection(host, parts.port or 443, timeout=timeout)
        connection.sock = secured
        # The port belongs into the header only where it is not that of the scheme, which this class takes for http.
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", parts.netloc)
        connection.endheaders()
        status = connection.getresponse().status
    begins, ends = (ssl.cert_time_to_seconds(shown[key]) for key in ("notBefore", "notAfter"))
    return Answer(status, begins, ends)


def remaining(seconds: float) -> str:
    return f"{seconds / DAY_SECONDS:.0f} days" if seconds >= 2 * DAY_SECONDS else f"{seconds / 3600:.0f} hours"


# How a host says that it has no way to IPv6 itself.
NO_WAY = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPERM)


def dead_addresses(host: str, port: int, timeout: float) -> list[str]:
    """Give the IPv6 addresses of a name that has IPv4 addresses, too, if none of them takes a connection."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    places = {family: [row[4] for row in rows if row[0] == family] for family in (socket.AF_INET, socket.AF_INET6)}
    if not places[socket.AF_INET]:
        return []
    for place in places[socket.AF_INET6]:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as stream:
            stream.settimeout(timeout)
            try:
                stream.connect(place)
            except OSError as error:
                if error.errno not in NO_WAY:
                    continue
            return []
    return [str(place[0]) for place in places[socket.AF_INET6]]


def check_answer(wanted: Wanted, answer: Answer, now: float) -> Check:
    good = answer.status in wanted.statuses if wanted.statuses else answer.status < 500
    ok, said = good and answer.status not in wanted.refused, [f"{wanted.url} answers {answer.status}"]
    if not ok and wanted.advice:
        said.append(wanted.advice)
    if answer.begins is not None and answer.ends is not None:
        left = answer.ends - now
        soon = left < min(WARNING_SECONDS, (answer.ends - answer.begins) / WARNING_SHARE)
        said.append(f"its certificate has {remaining(left)} left" + (", and was to be renewed before" if soon else ""))
        ok = ok and not soon
    return Check(wanted.what, ok, "; ".join(said))


def look(wanted: Wanted, ca: str, timeout: float, now: float) -> Check:
    parts = urlsplit(wanted.url)
    host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    target = Target(Endpoint(host, parts.port or 443, ca), wanted.connect_to or host)
    try:
        dead = [] if wanted.connect_to else dead_addresses(host, port, timeout)
        check = check_answer(wanted, ask(wanted.url, ca, timeout, wanted.connect_to), now)
        if dead:
            detail = f"its IPv6 address does not answer ({', '.join(dead)}): remove the AAAA record from the DNS"
            return Check(check.what, False, f"{check.detail}; {detail}, for the gateway listens on IPv4 only")
        return check
    except (http.client.HTTPException, ServiceError) as error:
        said = str(error) or type(error).__name__
    except TIMEOUTS:
        said = f"no answer within {timeout:.0f} s (a firewall?)"
    except OSError as error:
        said = reason(target, error, timeout)
    return Check(wanted.what, False, f"{wanted.url}: {said}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "what": {"type": "str", "default": ""},
                    "url": {"type": "str", "required": True},
                    "statuses": {"type": "list", "elements": "int", "default": []},
                    "refused": {"type": "list", "elements": "int", "default": []},
                    "advice": {"type": "str", "default": ""},
                    "connect_to": {"type": "str", "default": ""},
                },
            },
            "ca_file": {"type": "path"},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    wanted = [Wanted(**{**row, "what": row["what"] or named(row["url"])}) for row in module.params["endpoints"]]
    file = Path(module.params["ca_file"]) if module.params["ca_file"] else None
    ca = file.read_text(encoding="utf-8") if file is not None and file.exists() else ""
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        checks = list(pool.map(lambda row: look(row, ca, module.params["timeout"], time.time()), wanted))
    module.exit_json(changed=False, checks=[check.row for check in checks])


if __name__ == "__main__":
    main()
