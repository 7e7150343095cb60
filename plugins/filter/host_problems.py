# SPDX-License-Identifier: MIT
"""Filter host_problems: what speaks against using a host."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MIB_PER_GIB = 1024
IPV4 = re.compile("[0-9.]+")


def _shortage(what: str, has: int, needed: int) -> str:
    """Compare two amounts of MiB, rounded so that they never look equal."""
    tenths = MIB_PER_GIB / 10
    return f"{what}: {math.floor(has / tenths) / 10} GiB, needed: {math.ceil(needed / tenths) / 10} GiB"


def _shortages(host: Mapping[str, Any], needs: Mapping[str, Any]) -> Iterable[str]:
    if host["architecture"] not in needs["architectures"]:
        yield f"architecture: {host['architecture']}, there are images for {' and '.join(needs['architectures'])} only"
    if host["cpus"] < needs["cpus"]:
        yield f"processors: {host['cpus']}, needed: {needs['cpus']}"
    if host["memory_mib"] < needs["memory_mib"]:
        yield _shortage("memory", host["memory_mib"], needs["memory_mib"])
    for disk in host["disks"]:
        # What an engine does not use is measured too.
        least = needs["disks_mib"].get(disk["path"], 0)
        if disk["free_mib"] < least:
            yield _shortage(f"free on the disk of {disk['path']}", disk["free_mib"], least)


def skew(clock: Mapping[str, float], now: float) -> float:
    """Seconds that the host's clock is ahead of the controller's (negative: behind), at least.

    The host answered between two moments of the controller, so what lies in between is no skew but the way.
    """
    behind, ahead = clock["asked_at"] - clock["began_at"], clock["ended_at"] - now
    return ahead if ahead > 0 else -max(behind, 0.0)


def _grouped(rows: Iterable[tuple[str, str, str]]) -> Iterable[tuple[str, str, str]]:
    """Join the names of what shares its place and reason: rows of (place, reason, name)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for place, reason, name in rows:
        groups.setdefault((place, reason), []).append(name)
    for (place, reason), names in groups.items():
        yield place, reason, ", ".join(names)


def _unresolved(addresses: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    # A port is at the host of another address, which is the one to correct.
    named = {name: row for name, row in addresses.items() if not name.endswith("_port")}
    rows = ((row["host"], row["reason"], name) for name, row in named.items() if row["state"] == "unresolved")
    for host, reason, names in _grouped(rows):
        yield (
            f"{host} has no address there ({reason}). Set {names} to a name that is in the DNS which this host asks, "
            "or to an IP address"
        )


def _silent(addresses: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    silent = {name: row for name, row in addresses.items() if row["state"] in ("timeout", "unreachable")}
    rows = ((f"{row['host']}:{row['port']}", row["reason"], name) for name, row in silent.items())
    for place, reason, names in _grouped(rows):
        yield (
            f"{place} ({names}) cannot be reached from there ({reason}); where no firewall is in the way, "
            "the port takes the connection or refuses it"
        )


def _strange(own: Sequence[str], bound: Mapping[str, str]) -> Iterable[str]:
    """Without addresses of its own the host has told none. What begins with 127 is every host's."""
    for name, address in bound.items():
        if own and IPV4.fullmatch(address) and not address.startswith(("127.", "0.0.0.0")) and address not in own:
            yield f"{name} is {address}, which is no address of this host ({', '.join(own)}). Set it to one of these"


def host_problems(
    host: Mapping[str, Any], needs: Mapping[str, Any], now: float, skew_max_seconds: float | str
) -> dict[str, list[str]]:
    """Sort what speaks against a host into what cannot work and what is no certain failure."""
    doubts = list(_shortages(host, needs))
    allowed = float(skew_max_seconds)  # a value of -e is text
    least = skew(host["clock"], now)
    if abs(least) > allowed:
        doubts.append(
            f"its clock is {abs(least):.0f} s {'ahead of' if least > 0 else 'behind'} the controller's, "
            f"{allowed:g} s are allowed (timedatectl set-ntp true, on the one that is wrong)"
        )
    if host["apparmor"] and not needs["apparmor_used"]:
        doubts.append(
            "AppArmor is enabled in its kernel and its engine does not use it, so containers run without a profile "
            "(install the package apparmor, then restart the engine; drain a worker first)"
        )
    doubts += _silent(host["addresses"])
    errors = [*_unresolved(host["addresses"]), *_strange(host["own_addresses"], needs["bound"])]
    return {"errors": errors, "doubts": doubts}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"host_problems": host_problems}
