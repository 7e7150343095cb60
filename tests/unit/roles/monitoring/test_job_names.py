# SPDX-License-Identifier: MIT
"""Names of jobs that the collection has are not free for those of the operator."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

VARIABLES = Path(__file__).resolve().parents[4] / "roles/monitoring/vars/main"


def test_the_rule_knows_every_job() -> None:
    rules = yaml.safe_load((VARIABLES / "rules.yml").read_text())
    jobs = re.findall(r"^ *job_name: (\w+)$", (VARIABLES / "scrapes.yml").read_text(), re.MULTILINE)
    assert len(jobs) > 10
    assert sorted(rules["__monitoring_own_jobs"]) == sorted(jobs)
