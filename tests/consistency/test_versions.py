# SPDX-License-Identifier: MIT
"""Every version of Trigger.dev is deployed by the rules of one known line, and it is said when nobody has tested it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.filter.release_series import release_series
from doubles.webapp import stop

from tests.plays import render_cases
from tests.schemas import FILES, SCHEMAS, SERIES

ROOT = Path(__file__).resolve().parents[2]


def rows() -> list[dict[str, Any]]:
    """Read the series, each from its own file with what it alone has, oldest first."""
    found = []
    for path in (ROOT / "roles/trigger/vars/main/versions").glob("[0-9]*.yml"):
        ((variable, row),) = yaml.safe_load(path.read_text()).items()
        assert path.stem == row["name"]
        assert variable == f"__trigger_line_{row['name'].replace('.', '_')}"
        found.append(row)
    return sorted(found, key=lambda row: [int(part) for part in row["name"].split(".")])


LINES = release_series(rows())
LAST = LINES[-1]["name"]
# Version -> line that it is deployed by, and whether that line is its own.
VERSIONS = {
    "v4.2.0": ("4.2", True),
    "v4.2.17": ("4.2", True),
    "v4.3.1": ("4.2", False),
    "v4.5.0": ("4.5", True),
    "v4.5.12": ("4.5", True),
    "v4.99.0": (LAST, False),
    "v5.0.0": (LAST, False),
    "latest": (LAST, False),
    "v4.1.9": (LAST, False),  # refused before anybody asks for its line
}


def test_a_series_holds_what_differs_from_the_one_before_it() -> None:
    """And each has a schema, of which the same is true."""
    assert list(SCHEMAS) == [line["name"] for line in LINES]
    for line in LINES:
        assert line["tested"].startswith(f"v{line['name']}.")
    for older, own in itertools.pairwise([LINES[0], *rows()[1:]]):
        assert {"name", "tested"} <= set(own)
        assert not [key for key, value in own.items() if value in ([], older.get(key))], own["name"]
    for line, row in zip(LINES, rows()[1:], strict=False):
        for key in ("features", "refused_secrets"):
            assert set(line[key]).isdisjoint(row.get(key, [])), row["name"]
    known: dict[tuple[str, ...], list[str]] = {}
    for series in SERIES:
        own_rows = [text.split("\t") for text in FILES[series].splitlines() if not text.startswith("#")][1:]
        assert len(own_rows) == len({tuple(row[:2]) for row in own_rows}), f"{series} has two rows of one variable"
        assert [row for row in own_rows if known.get(tuple(row[:2])) == row] == [], f"{series} repeats rows"
        known |= {tuple(row[:2]): row for row in own_rows}


def test_the_default_is_the_tested_release_of_a_line(root: Path) -> None:
    default = yaml.safe_load((root / "roles/trigger/defaults/main.yml").read_text())["trigger_version"]
    assert default in {line["tested"] for line in LINES}


def test_the_document_has_a_row_for_each_series() -> None:
    text = (ROOT / "docs/upgrading.md").read_text()
    told = re.findall(r"^\| ([0-9.]+) \| (v[0-9.]+)[^|]*\| (?:([0-9.]+) or later|any [^|]*) \|", text, re.MULTILINE)
    assert told == [(line["name"], line["tested"], line["clickhouse_minimum"]) for line in LINES]


def test_every_tested_release_has_images_in_the_testbed(root: Path) -> None:
    rows = yaml.safe_load((root / "testbed/images/images.yml").read_text())["images"]
    for line in LINES:
        for image in ("trigger.dev", "supervisor"):
            assert f"ghcr.io/triggerdotdev/{image}:{line['tested']}" in {row["reference"] for row in rows}


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Line and verdict that the role's variables give for each version."""
    return render_cases(
        tmp_path_factory.mktemp("versions"),
        "trigger",
        host="control.example.com",
        wanted={"line": "__trigger_line.name", "tested": "__trigger_version_is_tested"},
        cases={version: {"trigger_version": version} for version in VERSIONS},
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_is_deployed_by_the_newest_line_that_is_not_newer(
    chosen: dict[str, dict[str, Any]], version: str
) -> None:
    assert (chosen[version]["line"], chosen[version]["tested"]) == VERSIONS[version]


def test_one_file_adds_a_series(tmp_path: Path) -> None:
    (tmp_path / "4.98.yml").write_text('__trigger_line_4_98: {name: "4.98", tested: v4.98.1, features: [more]}')
    rendered = render_cases(
        tmp_path,
        "trigger",
        host="control.example.com",
        wanted={
            "line": "__trigger_line",
            "tested": "__trigger_lines | map(attribute='tested')",
            "known": "__trigger_environment_is_known",
        },
        cases={version: {"trigger_version": version} for version in ("v4.5.12", "v4.98.1", "v5.0.0")},
        files=[tmp_path / "4.98.yml"],
    )
    assert rendered["v4.5.12"]["line"] == LINES[1]
    new = release_series([*rows(), {"name": "4.98", "tested": "v4.98.1", "features": ["more"]}])[-1]
    assert (rendered["v4.98.1"]["line"], rendered["v5.0.0"]["line"]) == (new, new)
    assert {"more", *LINES[-1]["features"]} == set(new["features"])
    assert rendered["v4.98.1"]["tested"] == [*(line["tested"] for line in LINES), "v4.98.1"]
    assert [row["known"] for row in rendered.values()] == [True, True, False]


def test_the_webapp_of_every_line_ends_by_itself_when_it_is_stopped(root: Path, tmp_path: Path) -> None:
    """A kill loses what it is doing, and each second until the end is one without the API."""
    names = ("GRACEFUL_SHUTDOWN_TIMEOUT", "ENABLE_CLUSTER", "WEB_CONCURRENCY")
    environment = ", ".join(f"{name}=__webapp_environments.webapp.{name}" for name in names)
    rendered = render_cases(
        tmp_path,
        "trigger",
        "webapp",
        host="control.example.com",
        wanted={"environment": f"dict({environment})", "grace": "__webapp_services.webapp.container.stop_grace_period"},
        cases={
            line["name"]: {"trigger_version": line["tested"], "trigger_api_origin": "http://control.example.com:8030"}
            for line in LINES
        },
    )
    for name, row in rendered.items():
        given = {key: str(value) for key, value in row["environment"].items() if value not in (None, "")}
        seconds = stop.seconds(given, name)
        assert seconds == 5, name
        assert seconds + 10 < int(row["grace"].removesuffix("s")), name
        # More than one process would have more than one memory of which tokens are good.
        assert given.get("ENABLE_CLUSTER") is None or given["WEB_CONCURRENCY"] == "1", name


def test_advisories_are_told_for_the_releases_that_have_them(tmp_path: Path) -> None:
    closed = {"trigger_origin": "https://trigger.example.com", "gateway_closed_paths": ["/api/v1/query"]}
    cases: dict[str, dict[str, Any]] = {
        "old": {"trigger_version": "v4.2.0"},
        "between": {"trigger_version": "v4.5.5"},
        "tested": {"trigger_version": "v4.5.12"},
        "last": {"trigger_version": "v4.7.2"},
        "fixed": {"trigger_version": "v4.7.3"},
        "floating": {"trigger_version": "latest"},
        "closed": {"trigger_version": "v4.5.12", **closed},
        "behind": {"trigger_version": "v4.5.12", **closed, "gateway_closed_paths": []},
    }
    origin = {"trigger_origin": "http://localhost:8030"}
    rendered = render_cases(
        tmp_path,
        "trigger",
        host="control.example.com",
        wanted={
            "open": "__trigger_open_advisories | map(attribute='id')",
            "text": "__trigger_advisory_text",
            "closable": "__trigger_closable_advisories | length",
        },
        cases={name: origin | case for name, case in cases.items()},
    )
    first, second = "GHSA-9q4r-4842-93vw", "GHSA-m79r-84cc-xwg9"
    assert {name: row["open"] for name, row in rendered.items()} == {
        "old": [first],
        "between": [first, second],
        "tested": [second],
        "last": [second],
        "fixed": [],
        "floating": [],
        "closed": [],
        "behind": [second],
    }
    assert rendered["between"]["text"] == (
        f"{first} (fixed in v4.5.6), {second} (fixed in v4.7.3; it is reached at /api/v1/query)"
    )
    assert rendered["behind"]["text"].endswith("; until then add /api/v1/query to gateway_closed_paths)")
    assert [name for name, row in rendered.items() if row["closable"]] == ["behind"]
    assert not rendered["fixed"]["text"]
