# SPDX-License-Identifier: MIT
"""Rules and alerts, by Prometheus' own promtool: each alert fires, says what it must, and is silent otherwise."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.common import ROOT
from tests.prometheus import RECORDING, alerts, groups, promtool, rule_files

CASES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("rule_cases.yml").read_text())
ALERTS = alerts()
REPOSITORY = yaml.safe_load((ROOT / "galaxy.yml").read_text())["repository"]
PAGE = "docs/troubleshooting.md"


@cache
def anchors(page: str) -> set[str]:
    """Give the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def cases_of(name: str) -> dict[str, Any]:
    """Make the file of tests of one alert: one test for each of its cases, with those rules that it needs."""
    case, rule = CASES[name], ALERTS[name].rule
    every = case.get("every", "1m")

    # What passes by itself is no alert.
    early = [{"eval_time": case.get("early", "0m"), "alertname": name, "exp_alerts": []}] if "for" in rule else []

    def test(series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "interval": every,
            "input_series": [{"series": each, "values": str(values)} for each, values in series.items()],
            "alert_rule_test": [*early, {"eval_time": case["at"], "alertname": name, "exp_alerts": expected}],
        }

    says = {
        "exp_labels": {**case["labels"], **rule["labels"]},
        "exp_annotations": {
            "summary": case["summary"],
            "description": case["description"],
            "runbook_url": rule["annotations"]["runbook_url"],
        },
    }
    files = [RECORDING, ALERTS[name].file]
    return {
        "rule_files": [str(file) for file in files],
        "evaluation_interval": every,
        # Promtool's own order is that of a map of Go: an alert may then see what was recorded one interval before.
        "group_eval_order": [group for file in files for group in groups(file)],
        "tests": [*(test(case[key], [says]) for key in ("fires", "also") if key in case), test(case["silent"], [])],
    }


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool(), *words], capture_output=True, text=True, check=False)


def test_promtool_accepts_the_rules() -> None:
    done = run("check", "rules", *rule_files())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "duplicate" not in done.stdout


def test_every_alert_has_its_cases() -> None:
    assert list(CASES) == list(ALERTS)


def judged(folder: Path, files: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run files of tests at once: promtool takes longest to start."""
    paths = [folder / f"{name}.yml" for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    return run("test", "rules", *paths)


def test_alerts_fire_and_are_silent(tmp_path: Path) -> None:
    done = judged(tmp_path, {name: cases_of(name) for name in CASES})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("SUCCESS") == len(CASES)


def test_a_host_that_never_sent_anything_is_missed(tmp_path: Path) -> None:
    """For ever: it does not end after some time."""
    file = cases_of("TriggerHostSilent")
    for test in file["tests"][:2]:
        test["input_series"] = [{"series": 'trigger_host_expected{host="c",expected="w"}', "values": "1x3000"}]
        (*_, last) = test["alert_rule_test"]
        test["alert_rule_test"] = [{**last, "eval_time": "6m"}, {**last, "eval_time": "49h"}]
    done = judged(tmp_path, {"never": file})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("number", "value"), [(0, "1x9"), (1, "0+0x9")])
def test_an_alert_that_is_wrong_would_be_noticed(tmp_path: Path, number: int, value: str) -> None:
    name = "TriggerPostgresDown"
    file = cases_of(name)
    file["tests"][number]["input_series"][0]["values"] = value
    done = judged(tmp_path, {name: file})
    assert done.returncode != 0
    assert name in done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name].rule
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == f"{REPOSITORY}/blob/main/{PAGE}"
    assert anchor in anchors(PAGE)


@pytest.mark.parametrize("name", ALERTS)
def test_what_an_alert_says_is_short(name: str) -> None:
    case = CASES[name]
    assert len(case["summary"]) <= 80
    assert not case["summary"].endswith(".")
    sentences = re.split(r"(?<=\.) ", case["description"])
    assert all(len(sentence.split()) <= 25 for sentence in sentences)
    assert case["description"].endswith(".")


def test_every_alert_is_documented() -> None:
    text = (ROOT / "docs/monitoring.md").read_text()
    rows = dict(re.findall(r"^\| `(Trigger\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert rows == {name: each.rule["labels"]["severity"] for name, each in ALERTS.items()}
    for name, each in ALERTS.items():
        row = next(line for line in text.splitlines() if f"`{name}`" in line)
        anchor = each.rule["annotations"]["runbook_url"].partition("#")[2]
        assert f"(troubleshooting.md#{anchor})" in row
