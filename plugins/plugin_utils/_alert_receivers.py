# SPDX-License-Identifier: MIT
"""What a receiver of alerts may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Key that holds the address -> keys that belong to it alone.
ADDRESSES: Mapping[str, frozenset[str]] = {
    "mail_to": frozenset(),
    "slack_webhook_url": frozenset({"slack_channel"}),
    "webhook_url": frozenset({"webhook_token"}),
}
# Alerts that are for nobody: each receiver takes those of its severities on the way.
NOBODY = "nobody"
SHARED = frozenset({"name", "severities", "resolved"})
SEVERITIES = ("critical", "warning", "info")


def kind(receiver: Mapping[str, Any]) -> str:
    """Give the key of the address."""
    return next(key for key in ADDRESSES if receiver.get(key))


def texts(value: object) -> list[str]:
    """Take a list, or one text, as a list of texts."""
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]
