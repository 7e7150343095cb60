# SPDX-License-Identifier: MIT
"""Filter names_outside_ca."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.names_outside_ca import names_outside_ca
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.plugins.certificates import issue

NAMES = ["example.com", "www.EXAMPLE.com", "notexample.com", "10.0.0.10", "10.0.0.11", "2001:db8::1"]


def constrained(permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None) -> str:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    begins = datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=1))
    made = builder.add_extension(x509.NameConstraints(permitted, excluded), critical=True).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_ca_without_constraints_leaves_out_nothing() -> None:
    """As those that were made before there were any."""
    assert names_outside_ca(issue("Root", ca=True).pem, NAMES) == []


def test_a_ca_leaves_out_all_but_its_names_and_those_below() -> None:
    address = x509.IPAddress(ipaddress.ip_network("10.0.0.10/32"))
    ca = constrained([x509.DNSName("example.com"), address], None)
    assert names_outside_ca(ca, NAMES) == ["notexample.com", "10.0.0.11", "2001:db8::1"]


def test_what_is_excluded_is_left_out() -> None:
    nothing = [x509.IPAddress(ipaddress.ip_network(network)) for network in ("0.0.0.0/0", "::/0")]
    ca = constrained([x509.DNSName("example.com")], [x509.DNSName("www.example.com"), *nothing])
    assert names_outside_ca(ca, NAMES) == NAMES[1:]


def test_what_is_no_certificate_is_told() -> None:
    with pytest.raises(AnsibleFilterError, match="certificate of the CA cannot be read"):
        names_outside_ca("-----BEGIN", NAMES)
