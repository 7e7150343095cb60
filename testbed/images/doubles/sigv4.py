# SPDX-License-Identifier: MIT
"""AWS Signature Version 4 for S3: sign, presign and verify. Pure functions over text; the caller owns the clock."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
STAMP = "%Y%m%dT%H%M%SZ"
SKEW = timedelta(minutes=15)
LONGEST_PRESIGN = 7 * 24 * 3600


class SignatureError(Exception):
    """A request that S3 refuses: the error code of the protocol, its status and its text."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True)
class Key:
    access: str
    secret: str


@dataclass(frozen=True)
class Scope:
    date: str
    region: str
    service: str = "s3"

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Request:
    """What of a request takes part in its signature. `target` is path and query as on the request line."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)


def _encode(text: str, safe: str = "") -> str:
    return quote(text, safe=safe + "-_.~")


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted((_encode(n), _encode(v)) for n, v in pairs))


def canonical_request(request: Request, signed: Iterable[str], payload_hash: str) -> str:
    """S3 encodes the path once (other services twice) and never normalises it."""
    headers = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()}
    names = sorted(signed)
    return "\n".join(
        [
            request.method,
            _encode(unquote(request.path), safe="/") or "/",
            canonical_query((n, v) for n, v in request.query if n != "X-Amz-Signature"),
            *(f"{name}:{headers.get(name, '')}" for name in names),
            "",
            ";".join(names),
            payload_hash,
        ]
    )


def signature(secret: str, stamp: str, scope: Scope, canonical: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join([ALGORITHM, stamp, str(scope), hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def sign(key: Key, method: str, url: str, payload: bytes, now: datetime, region: str = "us-east-1") -> dict[str, str]:
    """The headers to send with the request."""
    parts = urlsplit(url)
    stamp = now.strftime(STAMP)
    scope = Scope(stamp[:8], region)
    payload_hash = hashlib.sha256(payload).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": payload_hash, "x-amz-date": stamp}
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    canonical = canonical_request(Request(method, target, headers), headers, payload_hash)
    names = ";".join(sorted(headers))
    headers["authorization"] = (
        f"{ALGORITHM} Credential={key.access}/{scope}, SignedHeaders={names}, "
        f"Signature={signature(key.secret, stamp, scope, canonical)}"
    )
    return headers


def presign(key: Key, method: str, url: str, expires: int, now: datetime, region: str = "us-east-1") -> str:
    parts = urlsplit(url)
    stamp = now.strftime(STAMP)
    scope = Scope(stamp[:8], region)
    path = _encode(unquote(parts.path), safe="/")
    pairs = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{key.access}/{scope}"),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", "host"),
    ]
    query = canonical_query(pairs)
    canonical = canonical_request(Request(method, f"{path}?{query}", {"host": parts.netloc}), ["host"], UNSIGNED)
    signed = f"{query}&X-Amz-Signature={signature(key.secret, stamp, scope, canonical)}"
    return f"{parts.scheme}://{parts.netloc}{path}?{signed}"


def _time(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from None


def _credential(text: str, malformed: str) -> tuple[str, Scope]:
    parts = text.split("/")
    if len(parts) < 5 or parts[-1] != "aws4_request" or parts[-2] != "s3":
        raise SignatureError(malformed, "The credential scope is malformed.", 400)
    return "/".join(parts[:-4]), Scope(parts[-4], parts[-3])


def _check(key: Key, access: str, given: str, stamp: str, scope: Scope, canonical: str) -> None:
    if access != key.access:
        raise SignatureError("InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
    if scope.date != stamp[:8] or not hmac.compare_digest(given, signature(key.secret, stamp, scope, canonical)):
        raise SignatureError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        )


def _verify_presigned(key: Key, request: Request, query: Mapping[str, str], now: datetime) -> None:
    malformed = "AuthorizationQueryParametersError"
    access, scope = _credential(query.get("X-Amz-Credential", ""), malformed)
    expires = query.get("X-Amz-Expires", "")
    if not expires.isdigit() or not 0 < int(expires) <= LONGEST_PRESIGN:
        raise SignatureError(malformed, "X-Amz-Expires must be a number of seconds below a week.", 400)
    stamp = query.get("X-Amz-Date", "")
    start = _time(stamp)
    if now < start - SKEW:
        raise SignatureError("AccessDenied", "Request is not valid yet")
    if now > start + timedelta(seconds=int(expires)):
        raise SignatureError("AccessDenied", "Request has expired")
    signed = query.get("X-Amz-SignedHeaders", "").split(";")
    if "host" not in signed:
        raise SignatureError(malformed, "The host header must be signed.", 400)
    payload_hash = query.get("X-Amz-Content-Sha256", UNSIGNED)
    canonical = canonical_request(request, signed, payload_hash)
    _check(key, access, query.get("X-Amz-Signature", ""), stamp, scope, canonical)


def _verify_header(key: Key, request: Request, authorization: str, now: datetime, payload: bytes) -> None:
    malformed = "AuthorizationHeaderMalformed"
    headers = {name.lower(): value for name, value in request.headers.items()}
    fields = dict(part.strip().split("=", 1) for part in authorization[len(ALGORITHM) :].split(",") if "=" in part)
    if set(fields) != {"Credential", "SignedHeaders", "Signature"}:
        raise SignatureError(malformed, "The authorization header that you provided is not valid.", 400)
    access, scope = _credential(fields["Credential"], malformed)
    signed = fields["SignedHeaders"].split(";")
    stamp = headers.get("x-amz-date", "")
    start = _time(stamp)
    if abs(now - start) > SKEW:
        raise SignatureError(
            "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large."
        )
    payload_hash = headers.get("x-amz-content-sha256", "")
    if not payload_hash or not {"host", "x-amz-date"} <= set(signed):
        raise SignatureError(malformed, "There were headers present in the request which were not signed", 400)
    if payload_hash.startswith("STREAMING-"):
        raise SignatureError("NotImplemented", "Chunked signatures are not supported.", 501)
    _check(key, access, fields["Signature"], stamp, scope, canonical_request(request, signed, payload_hash))
    if payload_hash not in (UNSIGNED, hashlib.sha256(payload).hexdigest()):
        raise SignatureError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            400,
        )


def access_of(request: Request) -> str:
    """Give the id of the key that a request says it was signed with; empty when it says none."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    _, _, named = headers.get("authorization", "").partition("Credential=")
    credential = named.partition(",")[0] or dict(request.query).get("X-Amz-Credential", "")
    return "/".join(credential.split("/")[:-4])


def verify(key: Key, request: Request, payload: bytes, now: datetime) -> None:
    """Raise unless the request carries a valid signature made with the key, in its header or in its query."""
    query = dict(request.query)
    authorization = next((value for name, value in request.headers.items() if name.lower() == "authorization"), "")
    if authorization.startswith(ALGORITHM):
        _verify_header(key, request, authorization, now, payload)
    elif query.get("X-Amz-Algorithm") == ALGORITHM:
        _verify_presigned(key, request, query, now)
    else:
        raise SignatureError("AccessDenied", "Access Denied.")
