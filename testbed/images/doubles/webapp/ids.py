# SPDX-License-Identifier: MIT
"""Identifiers, tokens and the two ciphers, in the forms that the webapp stores and prints."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import string
from datetime import datetime, timezone

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LOWER = string.ascii_lowercase + string.digits
ALL = string.ascii_letters + string.digits
LINK_LIFE_SECONDS = 30 * 60


def identifier() -> str:
    return "c" + "".join(secrets.choice(LOWER) for _ in range(24))


def random_text(size: int, alphabet: str = ALL) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(size))


def worker_token() -> str:
    return "tr_wgt_" + random_text(40)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def encrypt(key: str, text: str) -> dict[str, str]:
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(key.encode()).encrypt(nonce, text.encode(), None)
    return {"nonce": nonce.hex(), "ciphertext": sealed[:-16].hex(), "tag": sealed[-16:].hex()}


def decrypt(key: str, box: dict[str, str]) -> str | None:
    """None when the box was made with another key."""
    try:
        sealed = bytes.fromhex(box["ciphertext"] + box["tag"])
        return AESGCM(key.encode()).decrypt(bytes.fromhex(box["nonce"]), sealed, None).decode()
    except InvalidTag:
        return None


def _openssl_key(password: str, salt: bytes) -> tuple[bytes, bytes]:
    """OpenSSL's EVP_BytesToKey with MD5 and one round, as CryptoJS derives its keys."""
    material, block = b"", b""
    while len(material) < 48:
        block = hashlib.md5(block + password.encode() + salt, usedforsecurity=False).digest()
        material += block
    return material[:32], material[32:48]


def seal_link(secret: str, mail: str, now: datetime) -> str:
    """The token of a magic link; `openssl enc -aes-256-cbc -md md5 -salt -a -A` makes the same."""
    text = json.dumps({"e": mail, "f": {"action": "send"}, "c": int(now.timestamp() * 1000)}, separators=(",", ":"))
    salt = secrets.token_bytes(8)
    key, start = _openssl_key(secret, salt)
    pad = 16 - len(text.encode()) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    sealed = encryptor.update(text.encode() + bytes([pad]) * pad) + encryptor.finalize()
    return base64.b64encode(b"Salted__" + salt + sealed).decode()


def open_link(secret: str, token: str, now: datetime) -> str | None:
    """The mail address of a token that is genuine and not older than half an hour; else None."""
    try:
        raw = base64.b64decode(token, validate=True)
        key, start = _openssl_key(secret, raw[8:16])
        decryptor = Cipher(algorithms.AES(key), modes.CBC(start)).decryptor()
        text = decryptor.update(raw[16:]) + decryptor.finalize()
        content = json.loads(text[: -text[-1]])
        age = now.timestamp() - content["c"] / 1000
        return str(content["e"]) if raw[:8] == b"Salted__" and age <= LINK_LIFE_SECONDS else None
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def seal_session(secret: str, user: str) -> str:
    body = base64.urlsafe_b64encode(user.encode()).decode()
    return f"{body}.{hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()}"


def open_session(secret: str, cookie: str) -> str | None:
    body, _, given = cookie.partition(".")
    right = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    return base64.urlsafe_b64decode(body).decode() if hmac.compare_digest(given, right) else None


def utc_now() -> datetime:
    return datetime.now(timezone.utc)
