# SPDX-License-Identifier: MIT
"""When certificates end. The one that is served counts, trusted or not, also when it has ended already."""

from __future__ import annotations

import calendar
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .exposition import Sample

SECONDS = 3
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
SEQUENCE, UTC_TIME, GENERALIZED_TIME, VERSION = 0x30, 0x17, 0x18, 0xA0


class CertificateError(Exception):
    pass


def element(data: bytes, at: int) -> tuple[int, int, int]:
    """Read the head of an element in DER: its tag, and where its content begins and ends."""
    tag, length, begin = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    return tag, begin, begin + length


def moment(certificate: bytes, at: int) -> tuple[float, int]:
    """Read a time, and give where the next element begins."""
    kind, begin, end = element(certificate, at)
    written = certificate[begin:end].decode("ascii")
    if kind not in (UTC_TIME, GENERALIZED_TIME):
        raise CertificateError("what is there is no certificate")
    if kind == UTC_TIME:
        # RFC 5280: two digits stand for 1950 to 2049.
        written = f"{'19' if written[:2] >= '50' else '20'}{written}"
    return float(calendar.timegm(time.strptime(written, "%Y%m%d%H%M%SZ"))), end


def validity(certificate: bytes) -> tuple[float, float]:
    """Read from when to when a certificate in DER is valid. (The ssl module reads only those that are trusted.)"""
    try:
        _, begin, _ = element(certificate, 0)
        _, at, _ = element(certificate, begin)
        tag, _, _ = element(certificate, at)
        # Version (which old ones lack), serial number, algorithm, issuer.
        for _ in range(4 if tag == VERSION else 3):
            _, _, at = element(certificate, at)
        tag, at, _ = element(certificate, at)
        if tag != SEQUENCE:
            raise CertificateError("what is there is no certificate")
        begins, at = moment(certificate, at)
        return begins, moment(certificate, at)[0]
    except (IndexError, ValueError):
        raise CertificateError("what is there is no certificate") from None


def told(name: str, kind: str, valid: tuple[float, float]) -> Iterator[Sample]:
    labels = {"name": name, "kind": kind}
    yield Sample("trigger_certificate_expiry_timestamp_seconds", valid[1], labels)
    yield Sample("trigger_certificate_lifetime_seconds", valid[1] - valid[0], labels)


def served(name: str, address: str, port: int) -> bytes:
    """Give the certificate that a server shows to those who ask for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    stream = socket.create_connection((address, port), SECONDS)
    with stream, context.wrap_socket(stream, server_hostname=name) as secured:
        return secured.getpeercert(binary_form=True) or b""


def certificates(endpoints: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[Sample]:
    """Tell of each name that is served, and of files. One that fails makes the part fail when the others are told."""
    failed = []
    for name in endpoints.get("names", ()):
        try:
            valid = validity(served(name, endpoints["address"], endpoints["port"]))
        except (OSError, CertificateError) as error:
            failed.append(f"{name}: {error}")
            continue
        yield from told(name, "gateway", valid)
    for path, kind in files.items():
        try:
            found = PEM.findall(Path(path).read_text(encoding="ascii", errors="replace"))
            valid = min((validity(ssl.PEM_cert_to_DER_cert(text)) for text in found), key=lambda each: each[1])
        except (OSError, ValueError, CertificateError) as error:
            failed.append(f"{path}: {error}")
            continue
        yield from told(path, kind, valid)
    if failed:
        raise CertificateError("; ".join(failed))
