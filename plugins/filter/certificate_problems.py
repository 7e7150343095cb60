# SPDX-License-Identifier: MIT
"""Filter certificate_problems: what is wrong with a certificate, before it is given to a server."""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

Problem = dict[str, str]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CHAIN = "gateway_certificate_file"
KEY = "gateway_certificate_key_file"
CA = "gateway_ca_file"
ORDER = "The order in the file is: the server's own certificate first, then those between it and its CA"

BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
CERTIFICATE = re.compile(rf"{BEGIN_CERTIFICATE}[^-]*-----END CERTIFICATE-----")
PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
# Those that the gateway can read.
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
# Everything that the library raises for what is malformed, or made in a way that it does not know.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True)
class Certificate:
    # The setting and, where its file holds several, the number.
    place: str
    subject: str
    issuer: str
    names: Sequence[str | Address]
    begins: datetime
    ends: datetime
    is_ca: bool
    is_for_servers: bool
    public_key: bytes
    whole: x509.Certificate

    @property
    def is_its_own_issuer(self) -> bool:
        return issued(self, self)

    def __str__(self) -> str:
        return f"{self.place} ({self.subject})"


def error(text: str) -> Problem:
    return {"kind": "error", "message": f"{text}."}


def warning(text: str) -> Problem:
    return {"kind": "warning", "message": f"{text}."}


def issued(one: Certificate, issuer: Certificate) -> bool:
    """Tell whether a certificate names its issuer so, and carries its signature."""
    try:
        one.whole.verify_directly_issued_by(issuer.whole)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _text(name: x509.Name) -> str:
    text = name.rfc4514_string() or "without a subject"
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _is_ca(extensions: x509.Extensions) -> bool:
    try:
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _is_for_servers(extensions: x509.Extensions) -> bool:
    try:
        uses = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return True
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return any(use in allowed for use in uses)


def _names(extensions: x509.Extensions) -> list[str | Address]:
    try:
        listed = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [one for one in listed.get_values_for_type(x509.IPAddress) if isinstance(one, Address)]
    return [*listed.get_values_for_type(x509.DNSName), *addresses]


def _certificate(place: str, pem: str) -> Certificate:
    if not hasattr(x509.Certificate, "not_valid_after_utc"):
        raise AnsibleFilterError(
            "certificate_problems: the Python package cryptography on the controller is older than 42; "
            "install the versions of requirements.txt"
        )
    with warnings.catch_warnings():
        # What a later release of the library will refuse to read (a serial number of 0) is no matter of the operator's.
        warnings.simplefilter("ignore")
        whole = x509.load_pem_x509_certificate(pem.encode())
    return Certificate(
        place,
        _text(whole.subject),
        _text(whole.issuer),
        _names(whole.extensions),
        whole.not_valid_before_utc,
        whole.not_valid_after_utc,
        _is_ca(whole.extensions),
        _is_for_servers(whole.extensions),
        whole.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        whole,
    )


def _certificates(setting: str, text: str) -> tuple[list[Certificate], list[Problem]]:
    """Read all certificates of a file; with a problem there are none."""
    problems = []
    if "PRIVATE KEY-----" in text:
        problems.append(
            error(f"{setting} holds a private key too, and its content is no secret. Put the key into {KEY} alone")
        )
    blocks = CERTIFICATE.findall(text)
    if len(blocks) < text.count(BEGIN_CERTIFICATE):
        problems.append(error(f"{setting} holds a certificate that is cut off. Copy the file again"))
    elif not blocks:
        problems.append(
            error(
                f"{setting} holds no certificate in PEM ({BEGIN_CERTIFICATE}). openssl x509 -inform DER "
                "and openssl pkcs12 -nokeys turn other forms into it"
            )
        )
    found = []
    for number, pem in enumerate(blocks, 1):
        place = f"{setting}, certificate {number}" if len(blocks) > 1 else setting
        try:
            found.append(_certificate(place, pem))
        except UNREADABLE:
            problems.append(error(f"{place}: it cannot be read. Copy the file again, or get a new one"))
    return ([], problems) if problems else (found, [])


def _public_key(text: str) -> tuple[bytes, list[Problem]]:
    """Give the public half of a private key; nothing of the key may get into a message."""
    block = PRIVATE_KEY.search(text)
    if not block:
        hint = f"it holds certificates; are {CHAIN} and {KEY} swapped?" if BEGIN_CERTIFICATE in text else ""
        wanted = "It must hold -----BEGIN PRIVATE KEY-----, as openssl pkey writes it"
        return b"", [error(f"{KEY} holds no private key in PEM{'; ' if hint else '. '}{hint or wanted}")]
    if block[1] == "ENCRYPTED PRIVATE KEY" or "Proc-Type: 4,ENCRYPTED" in block[0]:
        return b"", [
            error(
                f"{KEY}: a passphrase protects the key, and no person types it when the gateway starts. "
                "Take it off (openssl pkey -in key.pem -out plain.pem), and protect the file with ansible-vault"
            )
        ]
    try:
        key = load_pem_private_key(block[0].encode(), None)
    except UNREADABLE:
        return b"", [
            error(f"{KEY}: the key cannot be read. It must be one of RSA, EC or Ed25519, as openssl pkey writes it")
        ]
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return b"", [error(f"{KEY}: the gateway does not use keys of this kind. Make one of RSA, EC or Ed25519")]
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, CURVES):
        return b"", [
            error(f"{KEY}: the gateway cannot use the curve {key.curve.name}. Make a key with P-256, P-384 or P-521")
        ]
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), []


def _covers(listed: str | Address, name: str) -> bool:
    try:
        return ipaddress.ip_address(name.strip("[]")) == listed
    except ValueError:
        if not isinstance(listed, str):
            return False
    wanted, pattern = name.lower().rstrip("."), listed.lower().rstrip(".")
    label, _, parent = wanted.partition(".")
    # A wildcard stands for one label, and not for one that is all but the last.
    return wanted == pattern or (bool(label) and "." in parent and pattern == f"*.{parent}")


def _uncovered(leaf: Certificate, names: Iterable[str]) -> Iterable[Problem]:
    missing = [name for name in dict.fromkeys(names) if not any(_covers(one, name) for one in leaf.names)]
    if missing and leaf.names:
        yield error(
            f"{leaf}: it does not cover {', '.join(missing)}; it is for {', '.join(map(str, leaf.names))}. "
            "Get one that lists every name"
        )
    elif missing:
        yield error(
            f"{leaf}: it lists no names (subject alternative names), and the common name does not count. "
            f"Get one that lists {', '.join(missing)}"
        )


def _dates(one: Certificate, now: datetime, warn_days: float) -> Iterable[Problem]:
    renew = "Get a new one" if one.place.startswith(CA) else "Renew it"
    if one.ends <= now:
        yield error(f"{one}: it expired at {one.ends:%Y-%m-%d %H:%M} UTC. {renew}")
    elif one.ends - now < timedelta(days=warn_days):
        yield warning(
            f"{one}: it expires in {(one.ends - now).days} days, at {one.ends:%Y-%m-%d %H:%M} UTC. {renew} and run "
            "the playbook again"
        )
    if one.begins > now:
        yield error(
            f"{one}: it is not valid before {one.begins:%Y-%m-%d %H:%M} UTC. Wait for that, or set the clock right"
        )


def _links(chain: Sequence[Certificate]) -> Iterable[Problem]:
    for one, following in pairwise(chain):
        if not issued(one, following):
            yield error(f"{one}: its issuer is {one.issuer}, not the one after it ({following.subject}). {ORDER}")
        elif not following.is_ca:
            yield error(f"{following}: it issued the one before it, and is no CA (CA:TRUE). Get both from a CA")


def _public_end(chain: Sequence[Certificate]) -> Iterable[Problem]:
    """Look at the end of a chain that should lead to a CA which everybody knows."""
    last = chain[-1]
    if last.is_its_own_issuer:
        yield error(
            f"{last}: it is its own CA, which no host knows. Set {CA} to a file with it; if it is "
            f"publicly trusted, take it out of {CHAIN}"
        )
    elif len(chain) == 1:
        yield warning(
            f"{last}: it comes alone, and public CAs issue through certificates in between, which the server "
            f"has to send. Add the one of {last.issuer} (mostly in a file fullchain.pem); where the CA is "
            f"a private one, set {CA}"
        )


def _private_end(chain: Sequence[Certificate], roots: Sequence[Certificate]) -> Iterable[Problem]:
    last = chain[-1]
    if not any(last.whole == one.whole or issued(last, one) for one in roots):
        held = ", ".join(one.subject for one in roots)
        yield error(
            f"{last}: it is issued by {last.issuer}, and {CA} holds {held}, which did not sign it. Give the "
            f"CA that it comes from, and add what is between them to {CHAIN}"
        )


def _root(one: Certificate) -> Iterable[Problem]:
    if not one.is_ca:
        yield error(f"{one}: it is no CA (CA:TRUE). Give the certificate of the CA that issues")
    elif not one.is_its_own_issuer:
        yield error(
            f"{one}: it is issued by {one.issuer}, and clients trust a chain only up to its root. Give the root here, "
            f"and put this one into {CHAIN}"
        )


def _place_of_the_key(chain: Sequence[Certificate], public_key: bytes) -> tuple[Certificate, list[Problem]]:
    """Find the server's own certificate, which should be the first one."""
    own = next((one for one in chain if one.public_key == public_key), None)
    if own is chain[0] or not public_key:
        return chain[0], []
    if own:
        return own, [error(f"{own}: it is the one that {KEY} belongs to, and it is not the first. {ORDER}")]
    return chain[0], [
        error(f"{KEY}: the key does not belong to the certificate in {CHAIN} ({chain[0].subject}). Give a pair")
    ]


def certificate_problems(
    chain_pem: str, key_pem: str, names: Iterable[str], now: float, ca_certificates: str = "", warn_days: float = 21
) -> list[Problem]:
    """Say everything that is wrong with a certificate, its key and its CA."""
    moment = datetime.fromtimestamp(float(now), UTC)
    chain, problems = _certificates(CHAIN, str(chain_pem or ""))
    public_key, key_problems = _public_key(str(key_pem or ""))
    problems += key_problems
    roots: list[Certificate] = []
    if ca_certificates:
        roots, ca_problems = _certificates(CA, str(ca_certificates))
        problems += ca_problems
    if chain:
        own, order = _place_of_the_key(chain, public_key)
        problems += order
        problems += _uncovered(own, names)
        if not own.is_for_servers:
            problems.append(error(f"{own}: it is not made for servers (extended key usage). Get one for TLS servers"))
        links = [] if own is not chain[0] else list(_links(chain))
        problems += links
        # Where the order is wrong, the last one is not the end.
        if own is chain[0] and not links:
            if roots:
                problems += _private_end(chain, roots)
            elif not ca_certificates:
                problems += _public_end(chain)
    for one in roots:
        problems += _root(one)
    given = [one.whole for one in chain]
    for one in [*chain, *(one for one in roots if one.whole not in given)]:
        problems += _dates(one, moment, warn_days)
    return problems


def ca_problem(text: str, now: datetime) -> str:
    """Say what keeps the content of a file from being certificates of CAs, which every host gets, readable for all."""
    if "PRIVATE KEY" in text:
        return "holds a private key, and hosts get this file, readable for all. Leave only certificates in it"
    found, problems = _certificates("it", text)
    if problems:
        return "holds no certificate that can be read, in PEM form and as a whole. Copy it again"
    if all(one.ends <= now for one in found):
        return f"holds {found[0].subject}, which expired at {found[0].ends:%Y-%m-%d %H:%M} UTC. Get a new one"
    if not any(one.is_ca or one.is_its_own_issuer for one in found):
        return f"holds {found[0].subject}, which is no CA. Give the certificate of {found[0].issuer}"
    return ""


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"certificate_problems": certificate_problems}
