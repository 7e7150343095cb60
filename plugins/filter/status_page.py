# SPDX-License-Identifier: MIT
"""Filter status_page: the document of the status as a page."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import page as status_page


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"status_page": status_page}
