# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._http import Answer
from ansible_collections.selfhosted.trigger_dev.plugins.modules import object_store_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.object_store_info import CONTENT, REFUSALS, Found, look

from tests.unit.plugins.modules.servers import nobody

Invoke = Callable[..., dict[str, Any]]
GIVEN = {"access_key": "theid", "secret_key": "thekey"}


def answer(code: str = "", body: bytes = b"") -> Answer:
    return Answer(403 if code else 200, {}, f"<Error><Code>{code}</Code></Error>".encode() if code else body)


class Bucket:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, method: str, body: bytes) -> Answer:
        self.asked.append(method)
        return answer(self.answers.get(method, ""), CONTENT if method == "GET" else b"")


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({}, Found(True, True, True, "")),
        ({"DELETE": "AccessDenied"}, Found(True, True, True, "")),
        ({"GET": "AccessDenied"}, Found(True, False, True, "AccessDenied")),
        ({"PUT": "AccessDenied"}, Found(True, None, False, "AccessDenied")),
        ({"PUT": "NoSuchBucket"}, Found(False, None, False, "NoSuchBucket")),
        ({"PUT": "SlowDown"}, Found(None, None, False, "SlowDown")),
    ],
)
def test_what_is_found(answers: dict[str, str], found: Found) -> None:
    bucket = Bucket(**answers)
    assert look(bucket, True) == found
    assert ("DELETE" in bucket.asked) is bool(found.writable), "what was put is removed again"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"GET": "NoSuchKey"}, Found(True, None, None, "")),
        ({}, Found(True, True, None, "")),
        ({"GET": "NoSuchBucket"}, Found(False, None, None, "NoSuchBucket")),
        ({"GET": "AccessDenied"}, Found(None, None, None, "AccessDenied")),
    ],
)
def test_a_dry_run_writes_nothing(answers: dict[str, str], found: Found) -> None:
    bucket = Bucket(**answers)
    assert look(bucket, False) == found
    assert bucket.asked == ["GET"]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_key_that_is_worth_nothing(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(object_store_info, "request", lambda *_: answer(code))
    result = invoke(object_store_info.main, url="http://s3.example.com", advice="Set it.", **GIVEN)
    assert "S3 at s3.example.com:80 refuses" in result["msg"]
    assert f"({code}). Set it." in result["msg"]


def test_nobody_listens(invoke: Invoke) -> None:
    assert "connection is refused" in invoke(object_store_info.main, url=f"http://localhost:{nobody()}", **GIVEN)["msg"]


def test_a_url_that_cannot_be_used(invoke: Invoke) -> None:
    assert "http(s)://host:port" in invoke(object_store_info.main, url="s3://packets", **GIVEN)["msg"]
