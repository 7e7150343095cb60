# SPDX-License-Identifier: MIT
"""Module tls_endpoint_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_endpoint_info
version_added: 0.1.0
short_description: Shake hands with a TLS server and read the certificate that it shows
description:
  - Connects from the host and verifies the server's certificate as a client does. Nothing is sent but the handshake.
  - Tries again about every second until the certificate is accepted or the time is over. A server that requests its
    certificate from an ACME server has none in the first minute.
  - Fails when it is not accepted in time; the message says what was wrong the last time.
attributes:
  platform:
    description: Linux. Needs nothing but Python on the host.
options:
  name:
    description: Name (or IP address) that the certificate has to be valid for.
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
    description: Seconds to try in all, at least 1. Each try has at most ten of them.
    type: int
    default: 30
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
  - selfhosted.trigger_dev.service
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: The gateway on this host has a certificate for its name
  selfhosted.trigger_dev.tls_endpoint_info:
    name: trigger.example.com
    connect_to: 127.0.0.1
    ca_certificates: "{{ lookup('ansible.builtin.file', 'ca.pem') }}"
    timeout: 180
"""

RETURN = r"""
tls_endpoint:
  description: The connection, and the certificate that the server showed.
  returned: success
  type: dict
  contains:
    version:
      description: Version of the protocol.
      type: str
      returned: success
      sample: TLSv1.3
    names:
      description: Names and IP addresses that the certificate is for (subject alternative names).
      type: list
      elements: str
      returned: success
      sample: [trigger.example.com]
    issuer:
      description: Who issued it.
      type: str
      returned: success
      sample: "C=US, O=Let's Encrypt, CN=E7"
    not_after:
      description: When it expires, in UTC.
      type: str
      returned: success
      sample: "2030-01-31T12:00:00Z"
    serial:
      description: Its serial number, in hexadecimal digits.
      type: str
      returned: success
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    ARGUMENT_SPEC,
    Endpoint,
    ServiceError,
    with_advice,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._tls import (
    Found,
    Target,
    found,
    handshake,
    reason,
    trusted,
)

PAUSE_SECONDS = 1.0
# One handshake may take that long; a host that does not answer is asked again.
ATTEMPT_SECONDS = 10.0


@dataclass(frozen=True)
class Parameters(Target):
    timeout: int
    advice: str

    @property
    def place(self) -> str:
        """What is looked at, and where, for messages."""
        asked = self.endpoint.address
        return asked if self.target == self.endpoint.host else f"{asked} (asked for at {self.target})"


def parameters(params: Mapping[str, Any]) -> Parameters:
    if params["timeout"] < 1:
        raise ServiceError("timeout must be at least 1 second")
    for name in ("name", "connect_to"):
        try:
            params[name].encode("idna")
        except UnicodeError:
            raise ServiceError(f"{name} must be the name of a host, not {params[name]!r}") from None
    endpoint = Endpoint(params["name"], params["port"], params["ca_certificates"])
    return Parameters(endpoint, params["connect_to"] or params["name"], params["timeout"], params["advice"])


def look(wanted: Parameters) -> Found:
    trust = trusted(wanted.endpoint)
    deadline = time.monotonic() + wanted.timeout
    while True:
        # Not less than a second: the last attempt must not hide what is wrong behind a hurry of its own.
        seconds = max(1.0, min(ATTEMPT_SECONDS, deadline - time.monotonic()))
        try:
            with handshake(wanted, trust, seconds) as secured:
                return found(secured)
        except (OSError, ServiceError) as error:
            if time.monotonic() + PAUSE_SECONDS >= deadline:
                text = reason(wanted, error, seconds) if isinstance(error, OSError) else str(error)
                raise ServiceError(f"{wanted.place}: {text}") from None
        time.sleep(PAUSE_SECONDS)


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
    try:
        endpoint = look(parameters(module.params))
    except ServiceError as error:
        module.fail_json(msg=with_advice(error, module.params["advice"]))
    module.exit_json(changed=False, tls_endpoint=asdict(endpoint))


if __name__ == "__main__":
    main()
