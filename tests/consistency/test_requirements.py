# SPDX-License-Identifier: MIT
"""What the documents say that hosts need is what is checked."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

KINDS = {"control host": "control", "worker host": "worker", "both in one": "both", "registry host": "registry"}
GB = 1000**3 / 1024**2


def test_the_document_has_the_figures_that_are_checked(root: Path) -> None:
    needs = yaml.safe_load((root / "roles/trigger/vars/main/main.yml").read_text())["__trigger_host_needs"]
    text = (root / "docs/requirements.md").read_text()
    rows = re.findall(r"^\| ([\w ]+) \| (\d+) \| (\d+) GB \| (\d+) GiB \| ([\d.]+) GiB \|$", text, re.MULTILINE)
    assert {KINDS[row[0]] for row in rows} == set(needs)
    for kind, cpus, memory_gb, docker_gib, directory_gib in rows:
        need = needs[KINDS[kind]]
        assert (need["cpus"], need["docker_mib"]) == (int(cpus), int(docker_gib) * 1024), kind
        assert need["directory_mib"] == float(directory_gib) * 1024, kind
        # The kernel keeps a little of what a machine is sold with.
        assert 0.95 * int(memory_gb) * GB <= need["memory_mib"] <= int(memory_gb) * GB, kind
