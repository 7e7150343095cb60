# SPDX-License-Identifier: MIT
"""The address of a repository, as restic and ssh need it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

USER, PASSWORD = "RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"
SFTP = re.compile(r"sftp:(?://(?:([^/@]+)@)?(\[[^/]+\]|[^/:]+)(?::(\d+))?/|(?:([^/@:]+)@)?(\[[^/]+\]|[^/@:]+):).*")


def for_restic(repository: str, environment: Mapping[str, str]) -> str:
    """Put the login of a REST server into its address: restic 0.14 of Debian 12 does not read these variables.

    It belongs into the environment of restic, never among its arguments.
    """
    kind, scheme, rest = repository.partition("://")
    if not kind.startswith("rest:") or not environment.get(USER):
        return repository
    return f"{kind}{scheme}{encoded(environment[USER])}:{encoded(environment.get(PASSWORD, ''))}@{rest}"


def encoded(text: str) -> str:
    """Give a name or a password as it stands in an address."""
    return quote(text, safe="")


def ssh_words(repository: str) -> list[str]:
    """Give the command with which restic reaches a server of SFTP, which must not ask anything. Others have none."""
    found = SFTP.fullmatch(repository)
    if not found:
        return []
    user, host, port = found[1] or found[4], found[2] or found[5], found[3]
    words = ["ssh", *(["-p", port] if port else []), *(["-l", user] if user else [])]
    return [*words, host.strip("[]"), "-s", "sftp"]
