# SPDX-License-Identifier: MIT
"""Filter certificate_problems: what speaks against showing a certificate."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from ansible.errors import AnsibleFilterError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
except ImportError as missing:  # ansible-core itself needs it
    raise AnsibleFilterError("certificate_problems: the Python library cryptography is missing") from missing

CERTIFICATE = "gateway_certificate_file"
KEY = "gateway_certificate_key_file"
AUTHORITY = "gateway_ca_file"
Problem = dict[str, str]


class Unreadable(Exception):
    """Text that is not what it has to be."""


def _certificates(text: str, setting: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise Unreadable(f"{setting} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None


def _public(text: str) -> bytes:
    """Give the public part of a private key."""
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise Unreadable(f"{KEY} has a passphrase, which nobody could type; give the key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unreadable(f"{KEY} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)") from None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a subject"


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether one was signed by the other."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _covers(names: Sequence[str], wanted: str) -> bool:
    """Tell whether names of a certificate hold for a name; a star stands for one label."""
    parent = wanted.lower().partition(".")[2]
    return any(name.lower() in (wanted.lower(), f"*.{parent}") for name in names)


def _uncovered(certificate: x509.Certificate, wanted: Sequence[str]) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return list(wanted)
    names = found.get_values_for_type(x509.DNSName)
    addresses = {str(address) for address in found.get_values_for_type(x509.IPAddress)}

    def covered(name: str) -> bool:
        try:
            return str(ipaddress.ip_address(name)) in addresses
        except ValueError:
            return _covers(names, name)

    return [name for name in wanted if not covered(name)]


def _times(setting: str, certificates: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    for one in certificates:
        if one.not_valid_after_utc <= now:
            yield f"{setting}: {_name(one)} has expired ({one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC)"
        elif one.not_valid_before_utc > now:
            yield f"{setting}: {_name(one)} is valid only from {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _trust(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]) -> Iterator[str]:
    last = chain[-1]
    if not authorities:
        if _signed(last, last):
            yield (
                f"{CERTIFICATE}: {_name(last)} has signed itself, so it comes from a private authority, which hosts "
                f"and task containers do not know; set {AUTHORITY} to the authority's certificate"
            )
        return
    for one in authorities:
        if not _is_authority(one):
            yield f"{AUTHORITY}: {_name(one)} is not the certificate of an authority (CA:TRUE)"
    if not any(one in authorities or any(_signed(one, authority) for authority in authorities) for one in chain):
        yield (
            f"{CERTIFICATE}: {_name(last)} was not signed by the authority in {AUTHORITY}; add the certificates "
            f"between them to {CERTIFICATE}, or set {AUTHORITY} to the authority that it comes from"
        )


def _errors(chain_pem: str, key_pem: str, names: Sequence[str], now: datetime, authority_pem: str) -> Iterator[str]:
    chain = _certificates(chain_pem, CERTIFICATE)
    first = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if first != _public(key_pem):
        yield (
            f"{KEY} does not belong to the first certificate in {CERTIFICATE} ({_name(chain[0])}); the server's own "
            "certificate stands first there"
        )
    uncovered = _uncovered(chain[0], names)
    if uncovered:
        yield (
            f"{CERTIFICATE} is not valid for {', '.join(uncovered)}; have a certificate issued for "
            f"{', '.join(names)} (a star covers one label)"
        )
    for one, issuer in pairwise(chain):
        if not _signed(one, issuer):
            yield (
                f"{CERTIFICATE}: {_name(one)} was not signed by {_name(issuer)}, which stands behind it; the order is "
                "the server's own, then those between it and its authority, each signed by the next"
            )
            break
    yield from _times(CERTIFICATE, chain, now)
    authorities = _certificates(authority_pem, AUTHORITY) if authority_pem.strip() else []
    yield from _times(AUTHORITY, authorities, now)
    yield from _trust(chain, authorities)


def certificate_problems(
    chain_pem: str, key_pem: str, names: Sequence[str], now: float, authority_pem: str = "", warn_days: int = 21
) -> list[Problem]:
    """Give errors, with which it must not be shown, and warnings."""
    moment = datetime.fromtimestamp(now, UTC)
    found: list[Problem] = []
    try:
        for message in _errors(chain_pem, key_pem, names, moment, authority_pem):
            found.append({"kind": "error", "message": f"{message}."})
        end = _certificates(chain_pem, CERTIFICATE)[0].not_valid_after_utc
    except Unreadable as error:
        return [*found, {"kind": "error", "message": f"{error}."}]
    if moment < end <= moment + timedelta(days=warn_days):
        left = (end - moment).days
        message = f"{CERTIFICATE} expires in {left} days ({end:%Y-%m-%d}); put a new one there and deploy again."
        found.append({"kind": "warning", "message": message})
    return found


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"certificate_problems": certificate_problems}
