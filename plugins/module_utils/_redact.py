# SPDX-License-Identifier: MIT
"""Takes secrets out of a text: for the filter redact, and for modules that bring texts of a host to the controller."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
# Masking shorter ones would shred the text, and where the masks fall would tell what the secret is.
MINIMUM = 4
# What opens something and stands in no list. The webapp prints the worker token when it makes it, and any that it
# refuses; login links, where it sends no mail; supervisors print the tokens of deployments (JSON Web Tokens). A
# presigned address opens an object.
UNLISTED = (
    "tr_[a-z]+_[0-9A-Za-z]{20,}",
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    r"""(?<=[?&]token=)[^\s&"'<>]+""",
    "(?<=X-Amz-Signature=)[0-9a-f]+",
)


@functools.lru_cache(maxsize=4096)
def _forms(secret: str) -> set[str]:
    """Every way in which the programs of the stack write a secret."""
    encoded = {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="!~*'()")}
    quoted = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    doubled = {text.replace("$", "$$") for text in quoted | {secret}}
    return {secret} | encoded | quoted | doubled


def _pattern(form: str) -> str:
    """Match the form; programs write the digits of a percent-encoded byte in either case."""
    return re.sub("%[0-9A-F]{2}", lambda match: f"(?i:{match.group()})", re.escape(form))


def redact(text: str, secrets: Iterable[object]) -> str:
    """Replace each secret, in each of its forms, and every token that opens something by the mask."""
    words = {str(secret) for secret in secrets if secret is not None and len(str(secret)) >= MINIMUM}
    # Forms that do not occur cost time at every letter of a text. One with % may stand there in the other case.
    present = {form for word in words for form in _forms(word) if "%" in form or form in text}
    # Longest first: of two secrets that begin alike the longer one must be found whole.
    forms = sorted(present, key=lambda form: (-len(form), form))
    return re.sub("|".join([*map(_pattern, forms), *UNLISTED]), MASK, text)


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Change every text of a document, however deep it is. Its keys stay."""
    if isinstance(value, Mapping):
        return {key: each_text(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [each_text(each, change) for each in value]
    return change(value) if isinstance(value, str) else value
