# SPDX-License-Identifier: MIT
"""Every version of Trigger.dev is deployed by the rules of one release series, and untested ones are told."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.filter.release_series import release_series
from ansible_collections.selfhosted.trigger_dev.plugins.filter.series_of_release import series_of_release
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
        assert variable == f"__trigger_series_{row['name'].replace('.', '_')}"
        found.append(row)
    return sorted(found, key=lambda row: [int(part) for part in row["name"].split(".")])


EVERY_SERIES = release_series(rows())
LAST = EVERY_SERIES[-1]["name"]
# Of others only what upstream has published is known.
TESTED = [series for series in EVERY_SERIES if series["tested"]]
# Version -> series that it is deployed by, and whether that series is its own.
VERSIONS = {
    "v4.2.0": ("4.2", True),
    "v4.2.17": ("4.2", True),
    "v4.3.1": ("4.2", False),
    "v4.5.0": ("4.5", True),
    "v4.5.12": ("4.5", True),
    "v4.7.9": ("4.5", False),
    "v4.8.9": ("4.8", False),
    "v4.99.0": (LAST, False),
    "v5.0.0": (LAST, False),
    "latest": (LAST, False),
    "v4.1.9": (LAST, False),  # refused before anybody asks for its series
}


def test_a_series_holds_what_differs_from_the_one_before_it() -> None:
    """And each has a schema, of which the same is true."""
    assert list(SCHEMAS) == [series["name"] for series in EVERY_SERIES]
    for series in TESTED:
        assert series["tested"].startswith(f"v{series['name']}.")
    for row in rows():
        for feature in row.get("later_features", []):
            assert set(feature) == {"name", "since", "note"}
            assert feature["since"].startswith(f"{row['name']}.")
    for older, own in itertools.pairwise([EVERY_SERIES[0], *rows()[1:]]):
        assert {"name", "tested"} <= set(own)
        assert not [key for key, value in own.items() if value in ([], older.get(key))], own["name"]
    for series, row in zip(EVERY_SERIES, rows()[1:], strict=False):
        for key in ("features", "refused_secrets"):
            assert set(series[key]).isdisjoint(row.get(key, [])), row["name"]
    known: dict[tuple[str, ...], list[str]] = {}
    for name in SERIES:
        own_rows = [text.split("\t") for text in FILES[name].splitlines() if not text.startswith("#")][1:]
        assert len(own_rows) == len({tuple(row[:2]) for row in own_rows}), f"{name} has two rows of one variable"
        assert [row for row in own_rows if known.get(tuple(row[:2])) == row] == [], f"{name} repeats rows"
        known |= {tuple(row[:2]): row for row in own_rows}


def test_the_default_is_the_tested_release_of_a_series(root: Path) -> None:
    default = yaml.safe_load((root / "roles/trigger/defaults/main.yml").read_text())["trigger_version"]
    assert default in {series["tested"] for series in TESTED}


def test_the_document_has_a_row_for_each_series() -> None:
    text = (ROOT / "docs/upgrading.md").read_text()
    told = re.findall(
        r"^\| ([0-9.]+) \| (v[0-9.]+|not deployed)[^|]*\| (?:([0-9.]+) or later|any [^|]*) \|", text, re.MULTILINE
    )
    assert told == [
        (series["name"], series["tested"] or "not deployed", series["clickhouse_minimum"]) for series in EVERY_SERIES
    ]


def test_every_tested_release_has_images_in_the_testbed(root: Path) -> None:
    rows = yaml.safe_load((root / "testbed/images/images.yml").read_text())["images"]
    for series in TESTED:
        for image in ("trigger.dev", "supervisor"):
            assert f"ghcr.io/triggerdotdev/{image}:{series['tested']}" in {row["reference"] for row in rows}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Series and verdict that the role's variables give for each version."""
    return render_cases(
        tmp_path_factory.mktemp("versions"),
        "trigger",
        host="control.example.com",
        wanted={"series": "__trigger_series.name", "tested": "__trigger_version_is_tested"},
        cases={version: {"trigger_version": version} for version in VERSIONS},
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_is_deployed_by_the_newest_series_that_is_not_newer(
    deployed: dict[str, dict[str, Any]], version: str
) -> None:
    assert (deployed[version]["series"], deployed[version]["tested"]) == VERSIONS[version]


def test_one_file_adds_a_series(tmp_path: Path) -> None:
    (tmp_path / "4.98.yml").write_text('__trigger_series_4_98: {name: "4.98", tested: v4.98.1, features: [more]}')
    rendered = render_cases(
        tmp_path,
        "trigger",
        host="control.example.com",
        wanted={
            "series": "__trigger_series",
            "tested": "__trigger_tested_releases",
            "known": "__trigger_environment_is_known",
        },
        cases={version: {"trigger_version": version} for version in ("v4.5.12", "v4.98.1", "v5.0.0")},
        files=[tmp_path / "4.98.yml"],
    )
    assert rendered["v4.5.12"]["series"] == series_of_release(EVERY_SERIES[:2], "4.5.12")
    every = release_series([*rows(), {"name": "4.98", "tested": "v4.98.1", "features": ["more"]}])
    new = series_of_release(every[-1:], "4.98.1")
    assert (rendered["v4.98.1"]["series"], rendered["v5.0.0"]["series"]) == (new, new)
    assert {"more", *EVERY_SERIES[-1]["features"]} == set(new["features"])
    assert rendered["v4.98.1"]["tested"] == [*(series["tested"] for series in TESTED), "v4.98.1"]
    assert [row["known"] for row in rendered.values()] == [True, True, False]


def test_the_webapp_of_every_series_ends_by_itself_when_it_is_stopped(root: Path, tmp_path: Path) -> None:
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
            series["name"]: {
                "trigger_version": series["tested"],
                "trigger_api_origin": "http://control.example.com:8030",
            }
            for series in TESTED
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


# Release -> what it has that older ones of its series lack; whether its environment is known; whether the tests deploy
# its series.
LATER = {
    "v4.5.12": ([], True, True),
    "v4.5.13": ([], False, True),
    "v4.8.0": ([], False, False),
    "v4.8.1": (["deploy_base_images"], False, False),
    "v4.8.2": (["deploy_base_images", "event_store_v2"], False, False),
    "v4.8.10": (["deploy_base_images", "event_store_v2", "events_retention"], False, False),
    "v4.9.0": (["deploy_base_images", "event_store_v2", "events_retention"], False, False),
    "latest": (["deploy_base_images", "event_store_v2", "events_retention"], False, False),
}


def test_a_release_has_what_its_series_has_since_then(tmp_path: Path) -> None:
    rendered = render_cases(
        tmp_path,
        "trigger",
        host="control.example.com",
        wanted={
            "later": "__trigger_reached_features | map(attribute='name') | list",
            "all": "__trigger_features",
            "known": "__trigger_environment_is_known",
            "tested": "__trigger_version_is_tested",
        },
        cases={version: {"trigger_version": version} for version in LATER},
    )
    assert {version: (row["later"], row["known"], row["tested"]) for version, row in rendered.items()} == LATER
    assert all("zstd_layers" in row["all"] for row in rendered.values())


def test_the_document_has_the_advisories_of_every_release() -> None:
    text = (ROOT / "docs/upgrading.md").read_text() + (ROOT / "inventories/prod/group_vars/all.yml").read_text()
    advisories = yaml.safe_load((ROOT / "roles/trigger/vars/main/versions/advisories.yml").read_text())
    for row in advisories["__trigger_advisories"]:
        assert text.count(row["id"]) == 2
        assert f"{row['id']}, fixed in v{row['fixed']}" in " ".join(text.replace("# ", " ").split())


def test_a_supervisor_that_asks_for_one_run_at_a_time_gets_no_count(tmp_path: Path) -> None:
    names = ("TRIGGER_DEQUEUE_MAX_RUN_COUNT", "SUPERVISOR_SHUTDOWN_TIMEOUT_MS")
    rendered = render_cases(
        tmp_path,
        "trigger",
        "supervisor",
        host="worker1.example.com",
        wanted={name: f"__supervisor_settings.{name}" for name in names},
        cases={
            "before": {"trigger_version": "v4.5.12", "supervisor_dequeue_max_run_count": 2},
            "after": {"trigger_version": "v4.8.0"},
        },
    )
    found = {case: tuple(str(row[name]) for name in names) for case, row in rendered.items()}
    assert found == {"before": ("2", ""), "after": ("", "8000")}
