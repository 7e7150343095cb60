# SPDX-License-Identifier: MIT
"""What tests/page cannot tell: that one shows it in a real browser, and needs one."""

from __future__ import annotations

from ansible_collections.selfhosted.trigger_dev.plugins.filter.status_page import FilterModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import report

FACTS = {"scope": "all", "origin": "https://<b>", "trigger_version": "v1&2", "time": "2026-01-31 12:00:00 UTC"}


def test_what_comes_from_hosts_is_text() -> None:
    rows = [{"what": "<script>", "ok": True, "detail": '"&'}, {"what": "b", "ok": False, "detail": "</td>"}]
    page = str(FilterModule().filters()["status_page"](report({"<h2>": rows}, [], FACTS)))
    for text in ("https://&lt;b&gt;", "v1&amp;2", "&lt;script&gt;", "&quot;&amp;", "&lt;/td&gt;", "&lt;h2&gt;"):
        assert text in page
    assert "<script" not in page
    assert page.count("<h2 ") == 1
    assert page.count("</td>") == 4
