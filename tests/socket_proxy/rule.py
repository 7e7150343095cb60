# SPDX-License-Identifier: MIT
"""The rule for a create, once more and apart from the proxy: as the engine's reader of JSON understands a body."""

from __future__ import annotations

import json
from typing import Any

from tests.socket_proxy.proxies import NETWORK, REGISTRY

# Two letters that Go's reader folds to ASCII letters when it compares names of keys.
FOLDED = str.maketrans({"\u017f": "s", "\u212a": "k"})
MAY = {
    "name",
    "platform",
    "hostname",
    "image",
    "env",
    "entrypoint",
    "cmd",
    "attachstdin",
    "attachstdout",
    "attachstderr",
}
HOST_MAY = {"networkmode", "autoremove", "nanocpus", "memory"}
# What the proxy puts in.
PIDS_LIMIT = 4096


class Refused(Exception):
    """Why a body must not pass."""


def fold(key: str) -> str:
    """Give a key as the engine compares it."""
    return key.translate(FOLDED).lower()


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Take the members of an object, of which no two may be the same to the engine."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if fold(key) in found:
            raise Refused(f"{key} twice")
        found[fold(key)] = value
    return found


def constant(text: str) -> None:
    """Refuse what Python alone reads."""
    raise Refused(text)


def whole(value: Any) -> bool:
    """Say whether it is a number that the engine takes for a limit."""
    return type(value) is int and value >= 0


def check(body: bytes) -> None:
    """Raise when a body asks for anything but a task container, or when readers could differ about it."""
    try:
        read = json.loads(body.decode("utf-8", "replace"), object_pairs_hook=members, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from None
    if not isinstance(read, dict) or not isinstance(host := read.pop("hostconfig", None), dict):
        raise Refused("no HostConfig")
    if host.pop("pidslimit", None) != PIDS_LIMIT or host.pop("memoryswap", 0) != host.get("memory", 0):
        raise Refused("without limits")
    if unknown := (set(read) - MAY) | (set(host) - HOST_MAY):
        raise Refused(f"unknown: {unknown}")
    if host.get("networkmode") != NETWORK:
        raise Refused("another network")
    if not str(read.get("image", "")).startswith(f"{REGISTRY}/"):
        raise Refused("another image")
    if not str(read.get("hostname", "runner-x")).startswith("runner-"):
        raise Refused("another's name")
    if not all(whole(host.get(key, 0)) for key in ("nanocpus", "memory")) or not isinstance(
        host.get("autoremove", True), bool
    ):
        raise Refused("a limit of another type")
    for key in ("env", "entrypoint", "cmd"):
        texts = read.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
            raise Refused(f"{key} is no list of texts")
