# SPDX-License-Identifier: MIT
"""Filter alert_receiver_problems: what is wrong with the receivers of alerts, before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._alert_receivers import (
    ADDRESSES,
    NOBODY,
    SEVERITIES,
    SHARED,
    texts,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._known_mistakes import (
    bearer_mistake,
    webhook_mistake,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import FORMATS


def _address(row: Mapping[str, Any], key: str) -> str:
    """Say what is wrong with the address. It may be a secret, so it is not shown unless it is a mail address."""
    if key == "mail_to":
        wrong = [text for text in texts(row[key]) if not FORMATS["mail"].check(text)]
        return f"{wrong[0]!r} in mail_to is no mail address" if wrong else ""
    wanted, text = FORMATS["outer_url"], str(row[key])
    mistake = wanted.mistake(text) or webhook_mistake(key, text)
    if mistake:
        return f"has a value for {key} that {mistake}"
    return "" if wanted.form(text) else f"{key} must be {wanted.words}"


def _row(row: Mapping[str, Any]) -> Iterator[str]:
    given = [key for key in ADDRESSES if row.get(key)]
    if len(given) != 1:
        told = " and ".join(given) if given else "no address"
        yield f"has {told}. It needs exactly one of {', '.join(ADDRESSES)}"
        return
    (key,) = given
    if unknown := sorted(set(map(str, row)) - SHARED - {key} - ADDRESSES[key]):
        yield f"has {', '.join(unknown)}, which do not belong to a receiver with {key}"
    if fault := _address(row, key):
        yield fault
    for each in sorted(ADDRESSES[key] & set(row)):
        # A vault is no text before it is opened.
        text = str(row[each]) if getattr(row[each], "__ENCRYPTED__", False) else row[each]
        wanted = FORMATS["header" if each == "webhook_token" else "line"]
        if not isinstance(text, str) or not text or not wanted.check(text):
            mistake = wanted.mistake(text) if isinstance(text, str) else ""
            yield f"has a value for {each} that {mistake or f'is no text, or is not {wanted.words}'}"
        elif each == "webhook_token" and (mistake := bearer_mistake(text)):
            yield f"has a value for {each} that {mistake}"
    severities = row.get("severities", [])
    if not isinstance(severities, (list, tuple)) or set(map(str, severities)) - set(SEVERITIES):
        yield f"has severities that are no list of {', '.join(SEVERITIES)}"
    if not isinstance(row.get("resolved", True), bool):
        yield "has a value for resolved that is neither true nor false"


def _found(receivers: object, smtp_host: str, variable: str) -> Iterator[str]:
    if not isinstance(receivers, Collection) or isinstance(receivers, (str, Mapping)):
        yield f"{variable} must be a list of receivers, each with a name and an address."
        return
    seen: set[str] = set()
    for number, row in enumerate(receivers, 1):
        name = row.get("name") if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(name, str) or not FORMATS["name"].check(name):
            yield f"{variable}: entry {number} needs a name of letters, digits, dots, dashes and underscores."
            continue
        if name in seen:
            yield f"{variable} names {name} more than once."
        elif name == NOBODY:
            yield f"{variable} names {name}, which is a receiver of its own: alerts that are for no other one go there."
        seen.add(name)
        yield from (f"{variable}: the receiver {name} {text}." for text in _row(row))
        if row.get("mail_to") and not smtp_host:
            yield (
                f"{variable}: the receiver {name} gets mail, so "
                "monitoring_smtp_host and monitoring_mail_from must be set."
            )


def alert_receiver_problems(
    receivers: object, smtp_host: str = "", variable: str = "monitoring_receivers"
) -> list[str]:
    """Give a sentence for each thing that is wrong; never with an address of a webhook or a token."""
    return list(_found(receivers, smtp_host, variable))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"alert_receiver_problems": alert_receiver_problems}
