# SPDX-License-Identifier: MIT
"""The page of the status, in a real browser: what it shows, and that it asks for nothing from elsewhere.

Screenshots are kept in .cache/page.
"""

from __future__ import annotations

import html
import json
import re
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import LOCAL_TEXT, STYLE, page

from testbed.common import CACHE, ROOT, require
from tests.plays import render_cases
from tools.pictures import THEMES, browse, chunks, photograph

CONTROL, WORKER = "control.example.com", "worker1.example.com"
GOOD = [
    {"what": "trigger-webapp/webapp", "ok": True, "detail": "Up 12 minutes (healthy)"},
    {"what": "disk of /opt/trigger", "ok": True, "detail": "51.4 GiB of 101.5 GiB free (51 %)"},
]
BROKEN = [
    {"what": "replication slot task_runs_to_clickhouse_v1", "ok": False, "detail": "active, 812 MiB behind"},
    {"what": "https trigger.example.com", "ok": False, "detail": "answers 200; its certificate has 5 days left"},
    {"what": "disk of /var/lib/docker", "ok": False, "detail": "5.1 GiB of 101.5 GiB free (5 %)"},
    {"what": "last backup", "ok": False, "detail": "3 days old: must be younger than 36 h"},
]
HOSTILE = [
    {"what": "<script>alert(1)</script>", "ok": False, "detail": '<img src="http://203.0.113.9/x" onerror=x>\n&'}
]
WARNING = [{"what": "alerts", "ok": True, "warning": True, "detail": "firing: TriggerRunWaits"}]
CASES: dict[str, dict[str, Any]] = {
    "healthy": {"status_checks": {CONTROL: GOOD, WORKER: GOOD[:1]}, "status_unreachable": []},
    "warning": {"status_checks": {CONTROL: [*GOOD, *WARNING], WORKER: GOOD[:1]}, "status_unreachable": []},
    "broken": {"status_checks": {CONTROL: [*GOOD, *WARNING, *BROKEN]}, "status_unreachable": [WORKER]},
    "hostile": {"status_checks": {CONTROL: HOSTILE}, "status_unreachable": []},
}
WIDTHS = {"wide": 1280, "narrow": 390}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Page and document of each case."""
    common = {"trigger_origin": "https://trigger.example.com", "trigger_version": "v4.5.12"}
    return render_cases(
        tmp_path_factory.mktemp("page"),
        "trigger",
        "status",
        host=CONTROL,
        wanted={"page": "__status_report | selfhosted.trigger_dev.status_page", "report": "__status_report"},
        cases={name: case | common for name, case in CASES.items()},
    )


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    require({"chromium": "chromium"})


def corner(image: Path) -> tuple[int, ...]:
    """Give the colour of the first pixel: no filter of PNG changes that of the first line."""
    data = b"".join(data for kind, data in chunks(image.read_bytes()) if kind == b"IDAT")
    return tuple(zlib.decompress(data)[1:4])


@pytest.mark.parametrize("case", CASES)
def test_the_document_is_as_its_schema_says(rendered: dict[str, dict[str, Any]], case: str) -> None:
    schema = json.loads((ROOT / "docs/status.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    report = rendered[case]["report"]
    jsonschema.validate(report, schema)
    assert report["ok"] == (case in ("healthy", "warning"))
    assert report["wrong"] == {"healthy": 0, "warning": 0, "broken": 5, "hostile": 1}[case]


@pytest.mark.parametrize("case", CASES)
def test_the_page_shows_every_check_and_asks_nobody(
    rendered: dict[str, dict[str, Any]], tmp_path: Path, case: str
) -> None:
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text(rendered[case]["page"])
    done = browse(page, "--dump-dom", f"--log-net-log={log}")
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", done.stdout.rpartition("</style>")[2])))
    report = rendered[case]["report"]
    for host in report["hosts"]:
        assert host["name"] in text
        for check in host["checks"]:
            assert check["what"] in text
            assert check["detail"] in text
    assert ("Everything works" in text) == report["ok"]
    assert text.count("✗ not ok") == report["wrong"]
    assert text.count("! warning") == report["warnings"] == int(case in ("warning", "broken"))
    assert "<script" not in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr
    asked = set(re.findall(r'"url":"((?:https?|wss?)://[^"]+)"', log.read_text()))
    # Chromium itself may ask its makers for news.
    assert [url for url in asked if urlsplit(url).hostname in ("203.0.113.9", "trigger.example.com")] == []
    assert "http" not in re.sub(
        r"https://trigger\.example\.com|203\.0\.113\.9|http://", "", rendered["healthy"]["page"]
    )


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("case", ["healthy", "warning", "broken"])
def test_there_is_a_picture_of_the_page(
    rendered: dict[str, dict[str, Any]], tmp_path: Path, case: str, width: str, theme: str
) -> None:
    page = tmp_path / "page.html"
    page.write_text(rendered[case]["page"])
    picture = CACHE / "page" / f"{case}-{width}-{theme}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.unlink(missing_ok=True)
    photograph(page, picture, WIDTHS[width], 900, theme)
    assert (sum(corner(picture)) < 3 * 64) == (theme == "dark")


def test_what_is_wrong_comes_first_and_then_what_warns(rendered: dict[str, dict[str, Any]]) -> None:
    page = rendered["broken"]["page"].partition("</section>")[0]
    assert re.findall(r'class="state">(?:&#\d+;|!) ([a-z ]+)<', page) == ["not ok"] * 4 + ["warning"] + ["ok"] * 2
    verdicts = {
        name: re.findall(r'class="verdict([a-z ]*)">\s*<h1>([^<]*)<', case["page"]) for name, case in rendered.items()
    }
    assert verdicts["healthy"] == [("", "Everything works")]
    assert verdicts["warning"] == [(" warn", "Everything works, with warnings: 1")]
    assert verdicts["broken"] == [(" bad", "5 of 8 checks are not ok")]


def luminance(colour: str) -> float:
    """Of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_texts_can_be_read(theme: int) -> None:
    blocks = re.findall(r":root {(.*?)}", STYLE, re.DOTALL)
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]
    assert len(colours) == 2
    found = colours[theme]
    pairs = [(text, back) for text in ("text", "soft", "good", "warn", "bad") for back in ("back", "card")]
    pairs += [("text", "bad-back"), ("bad", "bad-back")]
    assert {
        pair: round(contrast(found[pair[0]], found[pair[1]]), 1)
        for pair in pairs
        if contrast(found[pair[0]], found[pair[1]]) < 4.5
    } == {}


def test_the_page_has_what_readers_of_screens_need(rendered: dict[str, dict[str, Any]]) -> None:
    page = rendered["broken"]["page"]
    assert '<html lang="en">' in page
    assert page.count("<h1>") == 1
    assert page.count("<table>") == page.count("<section aria-labelledby=") == 2
    assert page.count('scope="col"') == 6
    assert page.count('scope="row"') == 8


def test_a_page_of_one_host_says_so(rendered: dict[str, dict[str, Any]]) -> None:
    report = rendered["healthy"]["report"]
    assert report["scope"] == "all"
    assert LOCAL_TEXT not in rendered["healthy"]["page"]
    assert LOCAL_TEXT in page({**report, "scope": "local"})
