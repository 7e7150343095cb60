# SPDX-License-Identifier: MIT
"""Filter status_report: what checks have found, as the document that the page of the status shows."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import report as status_report


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"status_report": status_report}
