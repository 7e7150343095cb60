# SPDX-License-Identifier: MIT
"""Filter htpasswd_problems: what is wrong with the users of a registry, before any hash is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from ansible_collections.selfhosted.trigger_dev.plugins.filter.htpasswd import fault
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._known_mistakes import password_mistake

KEYS = {"name", "password"}


def _found(users: object, variable: str, reserved: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(users, Collection) or isinstance(users, (str, Mapping)):
        yield f"{variable} must be a list of users, each with a name and a password."
        return
    seen: set[object] = set()
    for number, user in enumerate(users, 1):
        if not isinstance(user, Mapping) or set(user) != KEYS:
            # Nothing of the entry is shown: its password may stand under another key.
            yield f"{variable}: entry {number} must have a name and a password, and nothing else."
            continue
        name, password = user["name"], user["password"]
        if getattr(password, "__ENCRYPTED__", False):
            password = str(password)
        if text := fault(name, password):
            yield f"{variable}: {text}."
        elif mistake := password_mistake(password):
            yield f"{variable}: the password of {name} {mistake}."
        elif name in seen:
            yield f"{variable} names {name} more than once."
        elif name in reserved:
            yield f"{variable} names {name}, who is the user of {reserved[name]} already."
        if isinstance(name, str):
            seen.add(name)


def htpasswd_problems(
    users: object, variable: str = "registry_users", reserved: Mapping[str, str] | None = None
) -> list[str]:
    """Give a sentence for each user that cannot be one: variable and name of the user, never a password."""
    return list(_found(users, variable, reserved or {}))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"htpasswd_problems": htpasswd_problems}
