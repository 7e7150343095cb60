# SPDX-License-Identifier: MIT
"""What is missing on the controller is named with what installs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ansible_collections
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.lookup import controller_problems as lookup

ROOT = Path(__file__).resolve().parents[4]
NEEDS = yaml.safe_load((ROOT / "roles/trigger/vars/main/controller.yml").read_text())


def test_the_core() -> None:
    assert lookup.core_problem("2.19.0", "2.19.0") == ""
    assert "2.18.9, at least 2.19.0" in lookup.core_problem("2.18.9", "2.19.0")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "is missing"),
        ("4.8.2", "is 4.8.2, it must be >=4.8.3,!=5.0.0"),
        ("5.0.0", "5.0.0"),
        ("4.8.3", ""),
        ("5.0.1", ""),
        ("", ""),
    ],
)
def test_a_collection(version: str | None, words: str) -> None:
    told = lookup.collection_problem("community.docker", version, ">=4.8.3,!=5.0.0")
    assert words in told
    assert bool(told) is bool(words)


def test_the_version_of_a_collection_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ansible_collections/selfhosted_test/tool"
    folder.mkdir(parents=True)
    (folder / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": "1.2.3"}}))
    monkeypatch.setattr(
        ansible_collections, "__path__", [*ansible_collections.__path__, str(tmp_path / "ansible_collections")]
    )
    assert lookup.collection_version("selfhosted_test.tool") == "1.2.3"
    assert lookup.collection_version("selfhosted_test.other") is None


def test_a_package() -> None:
    assert lookup.package_problem("json", "json") == ""
    assert "Python package cryptography is missing" in lookup.package_problem("no_such_package", "cryptography")


def test_passlib_and_bcrypt_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_cost: int) -> None:
        raise AnsibleFilterError("htpasswd: passlib and bcrypt do not fit together")

    assert lookup.password_problem() == ""
    monkeypatch.setattr(lookup, "bcrypt", refuse)
    assert lookup.password_problem() == "passlib and bcrypt do not fit together"


def test_the_floors_are_those_that_are_declared() -> None:
    assert (
        yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
        == f">={NEEDS['__trigger_ansible_minimum']}"
    )
    declared = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    assert declared == NEEDS["__trigger_collections"]
    required = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert {row["name"]: row["version"] for row in required} == declared
    pinned = (ROOT / "requirements.txt").read_text()
    for distribution in NEEDS["__trigger_packages"].values():
        assert f"\n{distribution}==" in pinned


def test_what_runs_these_tests_is_enough() -> None:
    assert all(lookup.package_problem(*pair) == "" for pair in NEEDS["__trigger_packages"].items())
    assert sys.version_info >= (3, 11)
