# SPDX-License-Identifier: MIT
"""What daemon.json may get from an inventory: keys that would end the engine, or what this collection has on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

# Key -> the setting that decides it, which a value beside it would replace unseen.
DECIDED: Mapping[str, str] = {
    "insecure-registries": "docker_engine_insecure_registries",
    "live-restore": "docker_engine_live_restore_enabled",
    "log-opts": "docker_engine_log_options",
    "no-new-privileges": "docker_engine_no_new_privileges_enabled",
}
# Drivers that keep logs on the host. That of the webapp holds passwords (measured), so it must not go elsewhere.
LOG_DRIVERS = ("json-file", "local", "journald")
# Key -> why it cannot be, whatever its value.
IMPOSSIBLE: Mapping[str, str] = {
    "hosts": (
        "the systemd unit of the engine has -H already, so that it would not start again. Leave it out. If your own"
        " unit has no -H, write the key into /etc/docker/daemon.json yourself, where it is kept"
    ),
    "userns-remap": (
        "the engine would begin with an empty folder and lose sight of all containers and volumes, and the proxy of"
        " supervisors could not open its socket. Leave it out"
    ),
}
# Without these, containers reach neither each other nor the internet, and no port is published.
NEEDED = ("ip-forward", "ip-masq", "iptables")
# Key -> the type that the engine wants. It ends at its start with another one.
TYPES: Mapping[str, type] = {
    **dict.fromkeys(("bip", "cgroup-parent", "default-runtime", "fixed-cidr", "log-level", "storage-driver"), str),
    **dict.fromkeys(("debug", "experimental", "icc", "init", "ipv6", "selinux-enabled", "userland-proxy"), bool),
    **dict.fromkeys(("max-concurrent-downloads", "max-concurrent-uploads", "mtu", "shutdown-timeout"), int),
    **dict.fromkeys(("default-address-pools", "dns", "dns-opts", "dns-search", "exec-opts", "labels"), list),
    **dict.fromkeys(("registry-mirrors", "storage-opts"), list),
    **dict.fromkeys(("default-ulimits", "features", "proxies", "runtimes"), dict),
}
TYPE_NAMES: Mapping[type, str] = {
    str: "a text",
    bool: "true or false, without quotes",
    int: "a whole number, without quotes",
    list: "a list",
    dict: "a dictionary",
}
MIRROR = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


def _mistyped(given: Mapping[str, object]) -> Iterator[str]:
    for key, value in given.items():
        wanted = TYPES.get(key)
        # A truth value is a number for Python.
        if wanted and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
            yield f"{key} is {value!r}, and must be {TYPE_NAMES[wanted]}"
        elif "_" in key:
            yield f"{key} is no key of the engine, whose keys have dashes. Call it {key.replace('_', '-')}"
    mirrors = given.get("registry-mirrors")
    for mirror in mirrors if isinstance(mirrors, list) else []:
        if not MIRROR.fullmatch(str(mirror)):
            yield f"registry-mirrors has {mirror!r}, and must have addresses such as https://mirror.example.com"


def _found(given: Mapping[str, object]) -> Iterator[str]:
    for key in given:
        if key in DECIDED:
            yield f"{key} is decided by {DECIDED[key]}: set that instead"
        elif key in IMPOSSIBLE:
            yield f"{key} cannot be set here: {IMPOSSIBLE[key]}"
        elif key in NEEDED and given[key] is not True:
            yield f"{key} must stay true, or containers have no network. Leave it out"
    driver = given.get("log-driver", LOG_DRIVERS[0])
    if driver not in LOG_DRIVERS:
        known = ", ".join(LOG_DRIVERS)
        yield f"log-driver is {driver!r}, and must be one of {known}: the logs of the webapp hold passwords"
    root = given.get("data-root", "/")
    if not isinstance(root, str) or not root.startswith("/"):
        yield f"data-root is {root!r}, and must be an absolute path, such as /var/lib/docker"


def engine_config(given: Mapping[str, object]) -> str | None:
    """Say what is wrong with them; None if there is nothing."""
    return ". ".join([*_found(given), *_mistyped(given)]) or None
