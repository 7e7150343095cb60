# SPDX-License-Identifier: MIT
"""A TLS mode is one row: each row is complete, and nothing else asks which mode it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases

ROOT = Path(__file__).resolve().parents[2]
FILE = "roles/trigger/vars/main/tls.yml"
MODES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / FILE).read_text())["__trigger_tls_modes"]
SETTINGS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "roles/gateway/meta/settings.yml").read_text())["settings"]
TEMPLATES = ROOT / "roles/gateway/templates"
# A comparison with a mode, in an expression that is about certificates.
ASKED = re.compile(rf"\b(?:__trigger_tls|gateway_tls)\b[^\n]*?(?:==|!=|\bin\b)\s*\[?'(?:{'|'.join(MODES)})'")


def test_the_choices_of_the_setting_are_the_rows() -> None:
    assert [*SETTINGS["gateway_tls"]["choices"], "none"] == list(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_a_row_is_complete(mode: str) -> None:
    row = MODES[mode]
    assert set(row) == {"https", "ca", "public_ca", "certificate", "needs", "files", "options", "site"}
    assert row["ca"] in ("own", "given", "none")
    assert {type(row[key]) for key in ("https", "public_ca", "certificate")} == {bool}
    assert {*row["needs"], *row["files"]} <= set(SETTINGS)
    assert all((TEMPLATES / name).is_file() for name in (row["options"], row["site"]) if name)
    assert row["https"] or row["ca"] == "none"


def test_no_template_is_without_a_row() -> None:
    used = {row[key] for row in MODES.values() for key in ("options", "site")} - {""}
    assert used == {path.name for path in TEMPLATES.glob("*_*.j2")}


def test_nothing_else_asks_for_the_mode(files: dict[str, str]) -> None:
    found = {
        path: ASKED.findall(text)
        for path, text in files.items()
        if path.startswith(("roles/", "playbooks/")) and path.endswith((".yml", ".j2")) and ASKED.search(text)
    }
    assert found == {}


@pytest.mark.parametrize(
    "text", ["__trigger_tls == 'acme'", "__trigger_tls in ['files', 'acme']", "gateway_tls != 'off'"]
)
def test_a_question_for_the_mode_is_noticed(text: str) -> None:
    assert ASKED.search(text)


def test_facts_follow_from_the_row(tmp_path: Path) -> None:
    origin = {"trigger_origin": "https://trigger.example.com"}
    given = {"gateway_ca_file": str(ROOT / "LICENSE")}
    rendered = render_cases(
        tmp_path,
        *("trigger", "gateway"),
        host="control.example.com",
        wanted={
            "private": "__trigger_private_ca_enabled",
            "https": "__gateway_is_https",
            "problems": "__gateway_problems",
        },
        cases={
            **{mode: origin | {"gateway_tls": mode} for mode in MODES if mode != "none"},
            **{f"{mode} given": origin | given | {"gateway_tls": mode} for mode in MODES if mode != "none"},
            "none": {"trigger_origin": "http://control.example.com", "trigger_gateway_enabled": False},
        },
    )
    for name, row in rendered.items():
        mode, _, given_file = name.partition(" ")
        ca = MODES[mode]["ca"]
        assert row["private"] == (ca == "own" or (ca == "given" and given_file != "")), name
        assert row["https"] == MODES[mode]["https"], name
        for needed in MODES[mode]["needs"]:
            assert any(f"gateway_tls is {mode}, so" in text and needed in text for text in row["problems"]), name
