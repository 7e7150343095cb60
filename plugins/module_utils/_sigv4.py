# SPDX-License-Identifier: MIT
"""Signature version 4, as S3 wants it in the headers of a request."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Key:
    access: str
    secret: str


def path(bucket: str, name: str = "") -> str:
    """The path of a bucket or an object in it, encoded once."""
    return "/" + quote(f"{bucket}/{name}" if name else bucket, safe="/-_.~")


def query_text(query: Mapping[str, str]) -> str:
    """The query of a request, in the one order and encoding that is signed."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))


def headers(
    key: Key,
    region: str,
    method: str,
    host: str,
    target: str,
    payload: bytes,
    now: datetime,
    query: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The headers to send with a request."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(payload).hexdigest()
    signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(signed)
    canonical = "\n".join(
        [method, target, query_text(query), *(f"{name}:{value}" for name, value in signed.items()), "", names, digest]
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    secret = f"AWS4{key.secret}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.digest(secret, text.encode(), "sha256").hex()
    credential = f"Credential={key.access}/{scope}"
    return signed | {"authorization": f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}
