# SPDX-License-Identifier: MIT
"""Servers in threads that the modules are tried with: one conversation each, with or without TLS."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Talk = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Certificate:
    """A certificate that is its own CA."""

    pem: str
    context: ssl.SSLContext


@cache
def certificate(name: str = "localhost") -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        file = Path(folder, "both.pem")
        file.write_bytes(private + pem)
        context.load_cert_chain(file)
    return Certificate(pem.decode(), context)


@contextmanager
def serving(talk: Talk, tls: Certificate | None = None, port: int = 0) -> Iterator[int]:
    """Hold one conversation after the other with whoever connects; gives the port, a free one unless it is named."""
    with socket.create_server(("127.0.0.1", port)) as listener:

        def accept() -> None:
            while True:
                try:
                    stream, _ = listener.accept()
                except OSError:
                    return
                # A client that turns away, as from a certificate, ends its own conversation only.
                with stream, suppress(OSError):
                    if tls:
                        with tls.context.wrap_socket(stream, server_side=True) as secured:
                            talk(secured)
                    else:
                        talk(stream)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        # Closing alone does not wake up who waits for a connection.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


# Bound, so that no other program gets these ports while the tests last.
_HELD: list[socket.socket] = []


def nobody() -> int:
    """A port on which nothing listens."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])


def ssh(stream: socket.socket) -> None:
    """A server of another kind."""
    stream.recv(65536)
    stream.sendall(b"SSH-2.0-OpenSSH_10\r\n")
