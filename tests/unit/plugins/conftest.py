# SPDX-License-Identifier: MIT
"""Certificates for tests of what looks at certificates."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    private: Any

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def key(self, passphrase: str = "") -> str:
        """The key."""
        encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        return str(self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode())


KEYS: dict[str, Callable[[], Any]] = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def issue(
    name: str,
    names: list[str] | None = None,
    by: Issued | None = None,
    *,
    ca: bool = False,
    kind: str = "ec",
    now: datetime = NOW,
    days: tuple[int, int] = (-1, 90),
) -> Issued:
    """Issue a certificate; by nobody means by itself."""
    private = KEYS[kind]()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = by or Issued(None, private)  # type: ignore[arg-type]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        general: list[x509.GeneralName] = []
        for each in names:
            try:
                general.append(x509.IPAddress(ipaddress.ip_address(each)))
            except ValueError:
                general.append(x509.DNSName(each))
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    digest = None if isinstance(issuer.private, ed25519.Ed25519PrivateKey) else SHA256()
    return Issued(builder.sign(issuer.private, digest), private)


@pytest.fixture(scope="session", name="issue")
def issue_fixture() -> Callable[..., Issued]:
    """Give the function to the tests, which cannot import it."""
    return issue
