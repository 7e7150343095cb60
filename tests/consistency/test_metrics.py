# SPDX-License-Identifier: MIT
"""Every metric that a rule or a dashboard names exists."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from trigger_metrics.catalogue import METRICS
from trigger_metrics.runs import ENDED, WAITING

from testbed.common import ROOT
from tests.prometheus import metric_names, promtool, rule_files, rules
from tools.dashboards import FOLDER

LINES = Path(__file__).with_name("metric_names.txt").read_text().splitlines()
RECORDED = {line for line in LINES if line and not line.startswith(("#", "=="))}
# What Prometheus itself adds.
OF_SCRAPES = {"up", "ALERTS"}
COMPUTED = {rule["record"] for file in rule_files() for rule in rules(file) if "record" in rule}
KNOWN = RECORDED | OF_SCRAPES | COMPUTED | set(METRICS)

# Values that a label of a metric can have; outcomes as supervisors of Trigger.dev 4.5.12 give them. The name of a job
# is a label of every metric.
JOBS = yaml.safe_load((ROOT / "roles/monitoring/vars/main/rules.yml").read_text())["__monitoring_own_jobs"]
VALUES: dict[tuple[str, str], set[str]] = {
    ("supervisor_outbound_request_total", "outcome"): {"ok", "http_error", "invalid_response", "network_error"},
    ("queue_consumer_pool_dequeue_duration_seconds_count", "outcome"): {"success", "empty", "error"},
    ("trigger_runs", "status"): set(WAITING),
    ("trigger_runs_oldest_age_seconds", "status"): set(WAITING),
    ("trigger_runs_ended_last_hour", "status"): set(ENDED),
    ("ALERTS", "alertstate"): {"pending", "firing"},
}
# Those of a host, of the kernel, or of who uses it: no list has all of them.
OPEN = {"host", "mode", "fstype", "datname", "key", "alertname"}


def every_expression() -> list[str]:
    """Give the expressions of all rules and dashboards."""
    rows = [rule["expr"] for file in rule_files() for rule in rules(file)]
    return rows + [expression for file in (ROOT / FOLDER).glob("*.json") for expression in expressions(file)]


def compared(expression: str) -> list[tuple[str, str, set[str]]]:
    """Give the metric, the label and the values of each comparison with a label."""
    found = []
    for metric, labels in re.findall(r"([\w:]+)\{([^}]*)\}", expression):
        for label, sign, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', labels):
            found.append((metric, label, set(value.split("|")) if "~" in sign else {value}))
    return found


def test_values_of_labels_are_found_in_an_expression() -> None:
    expression = 'sum by (x) (rate(a_b{c="d", e=~"f|g"}[5m])) / h:i{j!="k|l"} > on (m) n'
    assert compared(expression) == [("a_b", "c", {"d"}), ("a_b", "e", {"f", "g"}), ("h:i", "j", {"k|l"})]


def test_a_metric_has_the_values_that_its_labels_are_compared_with() -> None:
    """Otherwise an alert never fires, or a panel counts what it must not."""
    rows = [row for expression in every_expression() for row in compared(expression) if row[1] not in OPEN]
    assert {row[:2] for row in rows if row[1] != "job"} == set(VALUES)
    wrong = [row for row in rows if row[2] - (set(JOBS) if row[1] == "job" else VALUES[row[:2]])]
    assert wrong == []


@pytest.fixture(scope="module")
def settings_documents() -> str:
    """Give the pages that have all settings, and all generated secrets."""
    return "".join((ROOT / path).read_text() for path in ("docs/settings.md", "docs/secrets.md"))


def expressions(file: Path) -> list[str]:
    """Give the expressions of a dashboard."""
    panels = json.loads(file.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up == 0", {"up"}),
        ("rate(a_total[5m])", {"a_total"}),
        ('sum by (host, job) (a{b="c", d=~"e|f"}) / on (g) group_left (h) b:c:d', {"a", "b:c:d"}),
        ("sum(a) without (b)", {"a"}),
        ("a unless on (b) c offset 5m or d and e", {"a", "c", "d", "e"}),
        ("a > bool 1e3 and b < 0x1f", {"a", "b"}),
        ("predict_linear(a[6h], 86400) > 1h30m", {"a"}),
        ("max_over_time(a[1d:5m] offset 1w)", {"a"}),
        ("rate(a[$__rate_interval]) * $factor", {"a", "$factor"}),
        ("histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m])))", {"a_bucket"}),
        ("time() - a # and b\n - c", {"a", "c"}),
        ('label_replace(a, "b", \'c \\\' d\', `e`, "(.*)")', {"a"}),
        ('a{b="}", c="by (d)"} - e', {"a", "e"}),
        ("vector(1) + Inf - NaN", set()),
        ("BY_a + by", {"BY_a"}),
        ("", set()),
    ],
)
def test_names_are_found_in_an_expression(expression: str, names: set[str]) -> None:
    assert metric_names(expression) == names


@pytest.mark.parametrize("expression", ['{__name__="a"}', 'a{__name__="b"}', '(a) + {b="c"}'])
def test_an_expression_without_names_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="metric"):
        metric_names(expression)


@pytest.mark.parametrize("file", rule_files(), ids=lambda file: file.stem)
def test_metrics_of_rules_exist(file: Path) -> None:
    found = {str(rule.get("alert") or rule["record"]): metric_names(rule["expr"]) for rule in rules(file)}
    assert all(found.values())
    assert {name: names - KNOWN for name, names in found.items() if names - KNOWN} == {}


@pytest.mark.parametrize("file", sorted((ROOT / FOLDER).glob("*.json")), ids=lambda file: file.stem)
def test_metrics_of_dashboards_exist(file: Path) -> None:
    found = {expression: metric_names(expression) for expression in expressions(file)}
    assert all(found.values())
    assert {expression: names - KNOWN for expression, names in found.items() if names - KNOWN} == {}


@pytest.mark.parametrize("path", ["roles/monitoring/README.md", "docs/monitoring.md"])
def test_metrics_of_documents_exist(path: str, settings_documents: str) -> None:
    text = (ROOT / path).read_text().partition("## Settings")[0]
    named = set(re.findall(r"`([A-Za-z]\w*_\w+)`", text))
    assert {name for name in named if f"`{name}`" not in settings_documents} - KNOWN == set()


def test_what_is_written_or_computed_is_used() -> None:
    used = {name for expression in every_expression() for name in metric_names(expression)}
    # For people who look further.
    further = {
        "trigger_metrics_duration_seconds",
        "trigger_backup_seconds",
    }
    assert (COMPUTED | set(METRICS)) - used == further


def test_promtool_accepts_the_expressions_of_dashboards(tmp_path: Path) -> None:
    """As rules of which nobody needs the result; what Grafana puts in is put in before."""
    found = {expression for file in (ROOT / FOLDER).glob("*.json") for expression in expressions(file)}
    filled = [each.replace("$__rate_interval", "5m").replace("$host", ".*") for each in sorted(found)]
    assert not [each for each in filled if "$" in each]
    group = {"name": "all", "rules": [{"record": f"row:{number}", "expr": each} for number, each in enumerate(filled)]}
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [group]}))
    done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(filled)} rules found" in done.stdout


def test_names_of_metrics_are_sorted_by_their_source() -> None:
    sections = "\n".join(LINES).split("\n== ")[1:]
    assert len(sections) == 8
    for section in sections:
        source, *names = section.splitlines()
        assert names == sorted(set(names)), source
        assert len(names) > 30, source
