# SPDX-License-Identifier: MIT
"""Filter names_outside_ca: which names a CA may not certify."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from ansible.errors import AnsibleFilterError
from cryptography import x509

Constraint = str | ipaddress.IPv4Network | ipaddress.IPv6Network


def _matches(name: str, constraint: Constraint) -> bool:
    if isinstance(constraint, str):
        # As RFC 5280 has it, and with the leading dot that some programs write.
        domain = constraint.lower().lstrip(".")
        return f".{name.lower()}".endswith(f".{domain}")
    return ipaddress.ip_address(name) in constraint


def _is_outside(name: str, permitted: list[Constraint], excluded: list[Constraint]) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        is_address = False
    else:
        is_address = True
    relevant = [one for one in permitted if isinstance(one, str) is not is_address]
    refused = [one for one in excluded if isinstance(one, str) is not is_address]
    return (bool(relevant) and not any(_matches(name, one) for one in relevant)) or any(
        _matches(name, one) for one in refused
    )


def _of_tls(subtrees: Iterable[x509.GeneralName] | None) -> list[Constraint]:
    kinds = (str, ipaddress.IPv4Network, ipaddress.IPv6Network)
    values = [one.value for one in subtrees or [] if isinstance(one, (x509.DNSName, x509.IPAddress))]
    return [value for value in values if isinstance(value, kinds)]


def names_outside_ca(ca_pem: str, names: Iterable[str]) -> list[str]:
    """Give the names and addresses that the name constraints of a CA leave out."""
    try:
        extensions = x509.load_pem_x509_certificate(ca_pem.encode()).extensions
        constraints = extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    except ValueError as error:
        raise AnsibleFilterError(f"names_outside_ca: the certificate of the CA cannot be read ({error})") from None
    permitted = _of_tls(constraints.permitted_subtrees)
    excluded = _of_tls(constraints.excluded_subtrees)
    return [name for name in names if _is_outside(name, permitted, excluded)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"names_outside_ca": names_outside_ca}
