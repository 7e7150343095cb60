# SPDX-License-Identifier: MIT
"""Module tls_endpoint_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_endpoint_info
version_added: 0.1.0
short_description: Shake hands with a TLS server and read the certificate that it shows
description:
  - Connects from the host and verifies the server's certificate as a client does. Nothing is sent but the handshake.
  - Tries again about every second until the certificate is accepted or the time is over, for a server that asks an
    ACME server for its certificate has none in the first minute.
  - Fails when it is not accepted in time; the message says what was wrong the last time.
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

import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    ARGUMENT_SPEC,
    Endpoint,
    ServiceError,
    context,
    told,
)

PAUSE_SECONDS = 1.0
# One handshake may take that long; a host that does not answer is asked again.
ATTEMPT_SECONDS = 10.0
SHORT = {"countryName": "C", "organizationName": "O", "organizationalUnitName": "OU", "commonName": "CN"}

# Numbers of OpenSSL (X509_V_ERR_...).
UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
NOT_YET_VALID = 9
EXPIRED = 10
OTHER_NAME = (62, 64)
# What OpenSSL calls an answer that is none of TLS; it depends on the first bytes and on the release.
NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE",
)
# How a connection shows that was closed in the handshake; which of them it is depends on what comes first.
CLOSED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)


@dataclass(frozen=True)
class Parameters:
    endpoint: Endpoint
    target: str
    timeout: int
    advice: str

    @property
    def place(self) -> str:
        """What is looked at, and where, for messages."""
        asked = self.endpoint.address
        return asked if self.target == self.endpoint.host else f"{asked} (asked for at {self.target})"


@dataclass(frozen=True)
class Found:
    version: str
    names: list[str]
    issuer: str
    not_after: str
    serial: str


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


def trusted(endpoint: Endpoint) -> ssl.SSLContext:
    found = context(endpoint)
    # Python 3.13 began to accept an intermediate certificate for an authority, which other clients do not.
    found.verify_flags &= ~getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    # A name outside the list of names does not count for Docker and browsers.
    found.hostname_checks_common_name = False
    return found


def handshake(wanted: Parameters, trust: ssl.SSLContext, seconds: float) -> Found:
    with closing(socket.create_connection((wanted.target, wanted.endpoint.port), seconds)) as stream:
        try:
            with trust.wrap_socket(stream, server_hostname=wanted.endpoint.host) as secured:
                return found(secured.version() or "", secured.getpeercert() or {})
        # Before Python 3.10 this is no TimeoutError.
        except socket.timeout:  # noqa: UP041
            raise ServiceError("it takes the connection but no TLS; does it speak TLS on this port?") from None


def found(version: str, certificate: Mapping[str, Any]) -> Found:
    issuer = ((SHORT.get(key, key), value) for part in certificate["issuer"] for key, value in part)
    return Found(
        version,
        [value for _, value in certificate.get("subjectAltName", ())],
        ", ".join(f"{key}={value}" for key, value in issuer),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ssl.cert_time_to_seconds(certificate["notAfter"]))),
        certificate["serialNumber"],
    )


def names_shown(wanted: Parameters, seconds: float) -> str:
    """Say which names the certificate is for: it is trusted, but for the name."""
    trust = trusted(wanted.endpoint)
    trust.check_hostname = False
    try:
        return ", ".join(handshake(wanted, trust, seconds).names) or "no name at all"
    except (OSError, ServiceError):
        return "others"


def refusal(wanted: Parameters, error: ssl.SSLCertVerificationError, seconds: float) -> str:
    """Say why the certificate is not accepted."""
    detail = error.verify_message.strip(".")
    if error.verify_code in OTHER_NAME:
        return f"its certificate does not cover {wanted.endpoint.host}; it is for {names_shown(wanted, seconds)}"
    if error.verify_code == EXPIRED:
        return "its certificate, or one that it was issued by, has expired"
    if error.verify_code == NOT_YET_VALID:
        return "its certificate, or one that it was issued by, is not valid yet; is the clock of this host right?"
    if error.verify_code in UNKNOWN_AUTHORITY:
        known = "was not given and is none that this host trusts" if wanted.endpoint.ca else "this host does not trust"
        return (
            f"its certificate comes from an unknown authority, which {known}, or the server does not send the "
            f"certificates between ({detail})"
        )
    return f"its certificate is not accepted ({detail})"


def reason(wanted: Parameters, error: OSError, seconds: float) -> str:
    """Say in the operator's words why there is no trusted connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return refusal(wanted, error, seconds)
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused (nothing listens there)"
    if isinstance(error, CLOSED):
        return "it closes the connection in the handshake; does it speak TLS on this port?"
    if isinstance(error, ssl.SSLError):
        code = error.reason or ""
        if code in NOT_TLS:
            return "what answers does not speak TLS on this port"
        said = (code or str(error)).lower().replace("_", " ")
        if "ALERT_INTERNAL_ERROR" in code or "UNRECOGNIZED_NAME" in code:
            return f"the server has no certificate for {wanted.endpoint.host}, or not yet (it says: {said})"
        return f"TLS failed ({said})"
    if isinstance(error, socket.gaierror):
        return f"{wanted.target} has no address here ({error.strerror})"
    if isinstance(error, socket.timeout):
        return f"no answer within {seconds:.0f} s (a firewall?)"
    return error.strerror or str(error)


def look(wanted: Parameters) -> Found:
    trust = trusted(wanted.endpoint)
    deadline = time.monotonic() + wanted.timeout
    while True:
        # Not less than a second: the last attempt must not hide what is wrong behind a hurry of its own.
        seconds = max(1.0, min(ATTEMPT_SECONDS, deadline - time.monotonic()))
        try:
            return handshake(wanted, trust, seconds)
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
        module.fail_json(msg=told(error, module.params["advice"]))
    module.exit_json(changed=False, tls_endpoint=asdict(endpoint))


if __name__ == "__main__":
    main()
