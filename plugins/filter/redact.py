# SPDX-License-Identifier: MIT
"""Filter redact: a text, or a document, without the secrets that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _redact


def redact(value: object, secrets: Iterable[object]) -> object:
    """Replace each secret, in each of its forms, and every token of Trigger.dev by the mask."""
    if isinstance(secrets, str):
        raise AnsibleFilterError("redact: secrets must be a list of strings")
    known = list(secrets)
    return _redact.each_text(value, lambda text: _redact.redact(text, known))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"redact": redact}
