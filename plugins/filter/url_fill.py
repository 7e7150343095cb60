# SPDX-License-Identifier: MIT
"""Filter url_fill: an operator's URL with what stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from urllib.parse import quote, unquote, urlsplit

from ansible.errors import AnsibleFilterError


def url_fill(
    url: str,
    password: str = "",
    query: Mapping[str, object] | None = None,
    keep: Collection[str] | None = None,
) -> str:
    """Put the password and the missing parameters into a URL; of its own parameters leave those in keep."""
    if not url:
        return ""
    # The message must not show the URL: it may hold a password, which is what it complains about.
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname:
        raise AnsibleFilterError("url_fill: wants an address of the form scheme://user@host:port/path?parameters")
    user, at, place = parts.netloc.rpartition("@")
    if ":" in user:
        raise AnsibleFilterError("url_fill: the address holds a password; give the password apart from it")
    login = f"{user}:{quote(password, safe='')}@" if password else user + at
    own = [item for item in parts.query.split("&") if item]
    names = {unquote(item.partition("=")[0]) for item in own}
    if keep is not None:
        own = [item for item in own if unquote(item.partition("=")[0]) in keep]
    added = [
        f"{quote(name, safe='')}={quote(str(value), safe='')}"
        for name, value in (query or {}).items()
        if value is not None and name not in names
    ]
    return parts._replace(netloc=f"{login}{place}", query="&".join(own + added)).geturl()


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"url_fill": url_fill}
