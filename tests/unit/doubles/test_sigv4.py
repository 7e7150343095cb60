# SPDX-License-Identifier: MIT
"""The S3 signatures against botocore, and against the example that AWS publishes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _sigv4
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth  # type: ignore[import-untyped,unused-ignore]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped,unused-ignore]
from botocore.credentials import Credentials  # type: ignore[import-untyped,unused-ignore]
from doubles import sigv4

KEY = sigv4.Key("access", "secret-of-the-test")
URL = "http://control.lab:9000/packets/proj_x/prod/pay%20load%2B%C3%BC.json"


def by_botocore(method: str, url: str, body: bytes = b"", key: sigv4.Key = KEY) -> sigv4.Request:
    request = AWSRequest(method, url, data=body, headers={"Content-Type": "text/plain"})
    S3SigV4Auth(Credentials(key.access, key.secret), "s3", "us-east-1").add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in prepared.headers.items()}
    headers["Host"] = parts.netloc
    return sigv4.Request(method, parts.path + (f"?{parts.query}" if parts.query else ""), headers)


def presigned_by_botocore(method: str, url: str, expires: int) -> sigv4.Request:
    request = AWSRequest(method, url)
    S3SigV4QueryAuth(Credentials(KEY.access, KEY.secret), "s3", "us-east-1", expires=expires).add_auth(request)
    parts = urlsplit(request.url)
    return sigv4.Request(method, f"{parts.path}?{parts.query}", {"Host": parts.netloc})


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("url", [URL, "http://h:9000/packets?list-type=2&prefix=a%2Fb", "http://h:9000/"])
@pytest.mark.parametrize("body", [b"", b"content"])
def test_header_signature_of_botocore_is_accepted(url: str, body: bytes) -> None:
    sigv4.verify(KEY, by_botocore("PUT", url, body), body, now())


def test_presigned_address_of_botocore_is_accepted() -> None:
    sigv4.verify(KEY, presigned_by_botocore("GET", URL, 300), b"", now())


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_own_signatures_are_accepted(method: str) -> None:
    parts = urlsplit(URL)
    headers = sigv4.sign(KEY, method, URL, b"x", now())
    sigv4.verify(KEY, sigv4.Request(method, parts.path, headers), b"x", now())
    signed = urlsplit(sigv4.presign(KEY, method, URL, 300, now()))
    request = sigv4.Request(method, f"{signed.path}?{signed.query}", {"host": signed.netloc})
    sigv4.verify(KEY, request, b"anything", now())


def test_published_example_of_a_presigned_address() -> None:
    key = sigv4.Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    url = sigv4.presign(
        key, "GET", "https://examplebucket.s3.amazonaws.com/test.txt", 86400, datetime(2013, 5, 24, tzinfo=UTC)
    )
    assert url.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def refused(request: sigv4.Request, body: bytes = b"", at: datetime | None = None) -> str:
    with pytest.raises(sigv4.SignatureError) as caught:
        sigv4.verify(KEY, request, body, at or now())
    return caught.value.code


def test_refusals_of_header_signatures() -> None:
    good = by_botocore("PUT", URL, b"content")
    assert refused(by_botocore("PUT", URL, key=sigv4.Key("access", "other"))) == "SignatureDoesNotMatch"
    assert refused(by_botocore("PUT", URL, key=sigv4.Key("nobody", KEY.secret))) == "InvalidAccessKeyId"
    assert refused(sigv4.Request("GET", good.target, good.headers), b"content") == "SignatureDoesNotMatch"
    assert refused(sigv4.Request("PUT", "/packets/other", good.headers), b"content") == "SignatureDoesNotMatch"
    assert refused(sigv4.Request("PUT", good.target, {**good.headers, "Host": "other"})) == "SignatureDoesNotMatch"
    assert refused(good, b"changed") == "XAmzContentSHA256Mismatch"
    assert refused(good, b"content", now() + timedelta(minutes=16)) == "RequestTimeTooSkewed"


def test_refusals_of_presigned_addresses() -> None:
    good = presigned_by_botocore("GET", URL, 300)
    assert refused(good, at=now() + timedelta(seconds=302)) == "AccessDenied"
    assert refused(sigv4.Request("PUT", good.target, good.headers)) == "SignatureDoesNotMatch"
    longer = good.target.replace("X-Amz-Expires=300", "X-Amz-Expires=900")
    assert refused(sigv4.Request("GET", longer, good.headers)) == "SignatureDoesNotMatch"
    assert refused(sigv4.Request("GET", good.target, {"Host": "trigger-minio:9000"})) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "AWS4-HMAC-SHA256 nonsense", "x-amz-date": "x"}],
)
def test_requests_without_a_signature_are_refused(headers: dict[str, str]) -> None:
    assert refused(sigv4.Request("GET", "/packets", headers)) in ("AccessDenied", "AuthorizationHeaderMalformed")


@pytest.mark.parametrize(("method", "payload"), [("PUT", b"content"), ("GET", b"")])
def test_the_collection_signs_as_it_should(method: str, payload: bytes) -> None:
    now = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    target = _sigv4.path("packets", "a b/ü")
    assert target == "/packets/a%20b/%C3%BC"
    key = _sigv4.Key(KEY.access, KEY.secret)
    headers = _sigv4.headers(key, "eu-central-1", method, "s3.example.com:9000", target, payload, now)
    request = sigv4.Request(method, target, headers)
    sigv4.verify(KEY, request, payload, now)
    with pytest.raises(sigv4.SignatureError):
        sigv4.verify(sigv4.Key(KEY.access, "another"), request, payload, now)
    with pytest.raises(sigv4.SignatureError):
        sigv4.verify(KEY, request, payload + b"x", now)


def test_the_collection_signs_a_query_as_it_should() -> None:
    """Names in order, everything but the unreserved characters encoded."""
    now = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    query = {"list-type": "2", "continuation-token": "a b/+="}
    text = _sigv4.query_text(query)
    assert text == "continuation-token=a%20b%2F%2B%3D&list-type=2"
    target = _sigv4.path("packets")
    key = _sigv4.Key(KEY.access, KEY.secret)
    headers = _sigv4.headers(key, "eu-central-1", "GET", "s3.example.com:9000", target, b"", now, query)
    sigv4.verify(KEY, sigv4.Request("GET", f"{target}?{text}", headers), b"", now)
    with pytest.raises(sigv4.SignatureError):
        sigv4.verify(KEY, sigv4.Request("GET", f"{target}?list-type=2", headers), b"", now)
