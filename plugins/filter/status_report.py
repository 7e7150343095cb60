# SPDX-License-Identifier: MIT
"""Filter status_report: what checks have found, as the document that the page of the status shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.filter.check_table import UNREACHABLE

# Of the document, which docs/status.schema.json describes.
FORMAT = 1


def _check(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"what": str(row["what"]), "ok": bool(row["ok"]), "detail": " ".join(str(row["detail"]).split())}


def status_report(
    found: Mapping[str, Iterable[Mapping[str, Any]]], unreachable: Sequence[str], facts: Mapping[str, str]
) -> dict[str, Any]:
    """Give the document: facts, whether all is well, how many checks there were, and those of each host.

    A host that could not be reached or failed has one check, which is not ok.
    """
    rows = {host: [_check(row) for row in checks] for host, checks in found.items()}
    for host in unreachable:
        rows.setdefault(host, []).append({"what": UNREACHABLE, "ok": False, "detail": "see the output of the run"})
    hosts: list[dict[str, Any]] = [
        {"name": host, "wrong": sum(not check["ok"] for check in checks), "checks": checks}
        for host, checks in rows.items()
    ]
    wrong = sum(host["wrong"] for host in hosts)
    checks = sum(len(host["checks"]) for host in hosts)
    return {"format": FORMAT, **facts, "ok": wrong == 0, "checks": checks, "wrong": wrong, "hosts": hosts}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"status_report": status_report}
