# SPDX-License-Identifier: MIT
"""The end of certificates, of every kind that `cryptography` makes, served and in files."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from trigger_metrics.certificates import CertificateError, certificates, validity

from tests.unit.plugins.certificates import Issued, issue

NAME = "trigger.example.com"


def made(end: datetime) -> Issued:
    """Sign a certificate by its own key, with an end of our choice."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(2**150 + 1).not_valid_before(datetime(1980, 1, 1)).not_valid_after(end)
    return Issued(builder.sign(key, hashes.SHA256()), key)


@pytest.mark.parametrize(
    "end",
    [datetime(1999, 12, 31, 23, 59, 59), datetime(2026, 11, 30, 2), datetime(2049, 12, 31), datetime(2050, 1, 1)],
)
def test_the_end_is_read_in_both_forms(end: datetime) -> None:
    found = [datetime.fromtimestamp(each, timezone.utc) for each in validity(ssl.PEM_cert_to_DER_cert(made(end).pem))]
    assert [each.replace(tzinfo=None) for each in found] == [datetime(1980, 1, 1), end]


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x03abc", b"\x30\x82" + b"\x30\x05" * 40, b"nothing at all" * 9])
def test_what_is_no_certificate_is_told(data: bytes) -> None:
    with pytest.raises(CertificateError, match="no certificate"):
        validity(data)


@pytest.fixture
def port() -> Iterator[int]:
    """Serve a certificate that has ended, as it may be on the day of the alert."""
    context = issue(NAME, names=[NAME], days=(-9, -2)).serving()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(60)

    def serve() -> None:
        try:
            stream, _ = server.accept()
            with stream, context.wrap_socket(stream, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.close()
    thread.join()


def test_served_ones_and_files_are_told_and_what_fails_does_not_hide_them(port: int, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    late, soon = datetime(2040, 1, 1), datetime(2030, 1, 1)
    bundle.write_text(made(late).pem + made(soon).pem)
    endpoints = {"names": [NAME], "address": "127.0.0.1", "port": port}
    found = certificates(endpoints, {str(tmp_path / "none"): "lost", str(bundle): "private CA"})
    served, life, kept, _ = (next(found) for _ in range(4))
    assert life.value == 7 * 86400
    assert served.labels == {"name": NAME, "kind": "gateway"}
    ended = datetime.fromtimestamp(served.value, timezone.utc) - datetime.now(timezone.utc)
    assert timedelta(days=-2, minutes=-1) < ended < timedelta(days=-2, minutes=1)
    # The first of them that ends.
    assert kept.labels == {"name": str(bundle), "kind": "private CA"}
    assert kept.value == soon.replace(tzinfo=timezone.utc).timestamp()
    with pytest.raises(CertificateError, match=r"none: .*No such file"):
        next(found)


def test_a_server_that_does_not_answer_is_told() -> None:
    found = certificates({"names": ["a.example.com", "b.example.com"], "address": "127.0.0.1", "port": 1}, {})
    with pytest.raises(CertificateError, match=r"a\.example\.com: .*refused.*; b\.example\.com: .*refused"):
        next(found)
