# SPDX-License-Identifier: MIT
"""Dashboards: as their rows have them, in the form that Grafana reads, and legible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.common import ROOT
from tools import dashboards

FILES = sorted((ROOT / dashboards.FOLDER).glob("*.json"))
READ: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in FILES}
# Names of Grafana's own list of units.
UNITS = {"short", "none", "s", "bytes", "percentunit", "ops", "Bps"}
PANELS = [(name, panel) for name, read in READ.items() for panel in read["panels"] if panel["type"] != "row"]


def named(value: Any) -> str | None:
    return f"{value[0]}: {value[1]['title']}" if isinstance(value, tuple) else None


def test_files_are_those_of_the_rows() -> None:
    """`make generate` writes them; what is no longer a row is removed by hand."""
    assert {path.relative_to(ROOT): path.read_text() for path in FILES} == {
        path.relative_to(ROOT): text for path, text in dashboards.generated(ROOT).items()
    }
    assert set(READ) == {"overview", "runs", "workers", "stores", "host"}


def test_dashboards_can_be_told_apart() -> None:
    for key in ("uid", "title"):
        assert len({read[key] for read in READ.values()}) == len(READ)


@pytest.mark.parametrize("name", READ)
def test_a_dashboard_lets_people_choose_source_and_hosts(name: str) -> None:
    read = READ[name]
    assert [each["name"] for each in read["templating"]["list"]] == ["datasource", "host"]
    assert len(read["uid"]) <= 40
    # A link to the others, which find each other by this tag.
    assert read["links"][0]["tags"] == read["tags"]
    # Who changes it in Grafana would lose that with the next run of site.
    assert read["editable"] is False


@pytest.mark.parametrize("name", READ)
def test_panels_have_their_places(name: str) -> None:
    panels = READ[name]["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= dashboards.COLUMNS
        fields = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not taken & fields, panel["title"]
        taken |= fields


@pytest.mark.parametrize("panel", PANELS, ids=named)
def test_a_panel_can_be_read(panel: tuple[str, dict[str, Any]]) -> None:
    drawn = panel[1]
    assert drawn["type"] in ("timeseries", "stat", "table")
    assert 3 < len(drawn["title"]) <= 36
    assert drawn["fieldConfig"]["defaults"]["unit"] in UNITS
    assert drawn["targets"]
    assert len({target["refId"] for target in drawn["targets"]}) == len(drawn["targets"])
    for target in drawn["targets"]:
        assert target["datasource"] == drawn["datasource"] == dashboards.DATASOURCE
        assert target["legendFormat"] or drawn["type"] == "table"
        assert "{host" not in target["expr"].replace('{host=~"$host"', "")


def test_panels_of_a_dashboard_have_different_titles_or_rows() -> None:
    for read in READ.values():
        row, seen = "", set()
        for panel in read["panels"]:
            row = panel["title"] if panel["type"] == "row" else row
            assert (row, panel["title"]) not in seen
            seen.add((row, panel["title"]))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", "a"),
        ("a{host}", 'a{host=~"$host"}'),
        ('a{host,b="c"}\n  + d', 'a{host=~"$host",b="c"} + d'),
        ("sum by (host) (a)", "sum by (host) (a)"),
    ],
)
def test_the_choice_of_hosts_is_put_in(text: str, wanted: str) -> None:
    assert dashboards.expression(text) == wanted


def test_panels_that_do_not_fit_go_below() -> None:
    half: dashboards.Row = {"title": "a", "of": {"x": "y"}, "width": 12}
    rows: dict[str, list[dashboards.Row]] = {"One": [half] * 3, "Two": [{"title": "b", "of": {"x": "y"}}]}
    found = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in dashboards.panels(rows)]
    assert found == [(0, 0), (0, 1), (12, 1), (0, 9), (0, 17), (0, 18)]


def test_the_page_names_every_dashboard() -> None:
    text = (ROOT / "docs/monitoring.md").read_text()
    for read in READ.values():
        assert f"| {read['title'].removeprefix('Trigger.dev: ')} |" in text


def test_rows_stand_in_a_file_beside_the_program() -> None:
    assert Path(dashboards.SOURCE).parent == ROOT / "tools"
