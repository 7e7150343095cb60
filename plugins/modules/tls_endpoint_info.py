# SPDX-License-Identifier: MIT
"""Module tls_endpoint_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_endpoint_info
version_added: 0.1.0
short_description: See whether a name has a certificate that can be trusted
description:
  - Connects from the host, verifies the certificate, and tells what is in it. Nothing is sent.
  - Tries again until the certificate can be trusted or O(timeout) is over, because an ACME server takes a while to
    issue one.
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: N/A
    description: Changes nothing.
  platform:
    support: full
    description: Linux. Needs nothing but Python on the host.
    platforms: linux
options:
  name:
    description: Name that the certificate has to be valid for.
    type: str
    required: true
  port:
    description: Port of the server.
    type: int
    default: 443
  connect_to:
    description: Name or IP address to connect to. Empty means O(name).
    type: str
    default: ""
  timeout:
    description: Seconds to try. Each try has at most ten of them.
    type: int
    default: 30
extends_documentation_fragment:
  - selfhosted.trigger_dev.service
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: The gateway of this host has a certificate for its name
  selfhosted.trigger_dev.tls_endpoint_info:
    name: trigger.example.com
    connect_to: 127.0.0.1
    timeout: 120
"""

RETURN = r"""
tls_endpoint:
  description: What was agreed on and shown.
  returned: success
  type: dict
  contains:
    version:
      description: Version of TLS.
      type: str
      returned: always
      sample: TLSv1.3
    names:
      description: Names and IP addresses that the certificate is for.
      type: list
      elements: str
      returned: always
    issuer:
      description: Common name of the authority that signed it. Empty where it has none.
      type: str
      returned: always
    not_after:
      description: End of its validity, in UTC.
      type: str
      returned: always
      sample: Nov 25 07:58:13 2026 GMT
    serial:
      description: Its serial number in hexadecimal digits.
      type: str
      returned: always
"""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    ARGUMENT_SPEC,
    TIMEOUT_SECONDS,
    Endpoint,
    ServiceError,
    reason,
    secure,
    told,
)

PAUSE_SECONDS = 1.0


def look(endpoint: Endpoint, target: str) -> dict[str, Any]:
    """Shake hands once."""
    with secure(socket.create_connection((target, endpoint.port), endpoint.timeout), endpoint) as stream:
        return {"version": stream.version(), **read(stream.getpeercert() or {})}


def read(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """Read what Python gives of a certificate that it has verified."""
    issuer = {key: value for parts in certificate["issuer"] for key, value in parts}
    return {
        "names": [value for _, value in certificate["subjectAltName"]],
        "issuer": issuer.get("commonName", ""),
        "not_after": certificate["notAfter"],
        "serial": certificate["serialNumber"],
    }


def await_trust(
    endpoint: Endpoint, target: str, seconds: float, pause: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Shake hands until it goes well, or give the last failure."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return look(endpoint, target)
        except OSError as error:
            failure = reason(error, endpoint.timeout)
        except ServiceError as error:
            failure = str(error)
        if time.monotonic() >= deadline:
            raise ServiceError(f"{endpoint.address} (asked for at {target}): {failure}")
        pause(PAUSE_SECONDS)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "name": {"type": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "connect_to": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    each = min(TIMEOUT_SECONDS, float(wanted["timeout"]))
    endpoint = Endpoint(wanted["name"], wanted["port"], wanted["ca_certificates"], timeout=each)
    try:
        found = await_trust(endpoint, wanted["connect_to"] or wanted["name"], wanted["timeout"])
    except ServiceError as error:
        module.fail_json(msg=told(error, wanted["advice"]))
    module.exit_json(changed=False, tls_endpoint=found)


if __name__ == "__main__":
    main()
