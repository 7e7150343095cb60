# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

from doubles.webapp import ids

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_worker_token_has_the_form_of_the_original() -> None:
    assert re.fullmatch(r"tr_wgt_[0-9A-Za-z]{40}", ids.worker_token())
    assert len(ids.worker_token()) == 47


def test_magic_link_token() -> None:
    token = ids.seal_link("secret", "a@example.com", NOW)
    assert ids.open_link("secret", token, NOW) == "a@example.com"
    assert ids.open_link("secret", token, NOW + timedelta(minutes=29)) == "a@example.com"
    assert ids.open_link("secret", token, NOW + timedelta(minutes=31)) is None
    assert ids.open_link("other", token, NOW) is None
    assert ids.open_link("secret", "nonsense", NOW) is None
    assert ids.open_link("secret", "", NOW) is None


def test_magic_link_token_is_what_openssl_makes() -> None:
    content = json.dumps({"e": "a@example.com", "f": {"action": "send"}, "c": int(NOW.timestamp() * 1000)})
    command = ["openssl", "enc", "-aes-256-cbc", "-md", "md5", "-salt", "-a", "-A", "-pass", "pass:secret"]
    made = subprocess.run(command, input=content, capture_output=True, text=True, check=True)
    assert ids.open_link("secret", made.stdout.strip(), NOW) == "a@example.com"


def test_encryption_key_decides() -> None:
    key, other = "0" * 32, "1" * 32
    box = ids.encrypt(key, "tr_pat_x")
    assert ids.decrypt(key, box) == "tr_pat_x"
    assert ids.decrypt(other, box) is None


def test_session_cookie_is_signed() -> None:
    cookie = ids.seal_session("secret", "user1")
    assert ids.open_session("secret", cookie) == "user1"
    assert ids.open_session("other", cookie) is None
    assert ids.open_session("secret", "x" + cookie) is None
