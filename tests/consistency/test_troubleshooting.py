# SPDX-License-Identifier: MIT
"""docs/troubleshooting.md: each symptom has a command and a cure. What pages for operators name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import load_rows

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text()
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(ROOT.glob("docs/*.md"))}
PAGES |= {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(ROOT.glob("roles/*/README.md"))}
EVERY_PAGE = "\n".join(PAGES.values())
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
# What people come with, in words of theirs.
SYMPTOMS = (
    "login link does not arrive",
    "fails at the push",
    "service does not start",
    "run stays queued",
    "worker is not connected",
    "list of runs is empty",
    "disk is full",
    "certificate",
    "slow",
)
SETTINGS = {name for rows in load_rows().values() for name in rows}
ROLES = {path.name for path in (ROOT / "roles").iterdir()}
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
PLUGINS = {path.stem for path in (ROOT / "plugins").glob("*/*.py")}
SECRETS = set(yaml.safe_load((ROOT / "roles/trigger/vars/main/secrets.yml").read_text())["__trigger_secrets"])
GROUPS = {"trigger_control", "trigger_workers", "trigger_registry", "trigger_developers"}
VOLUME = re.compile(r"trigger_[a-z]+_(old_)?data")
PREFIXES = "|".join(sorted({*ROLES, "upgrade"}, key=len, reverse=True))
# Name of a Compose project -> where its services stand.
PROJECTS = {
    "trigger-webapp": "roles/webapp/vars/main/services.yml",
    "trigger-supervisor": "roles/supervisor/vars/main/main.yml",
    "trigger-gateway": "roles/gateway/vars/main/main.yml",
    "trigger-registry": "roles/registry/vars/main/main.yml",
}


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_symptom_is_found_by_its_heading(symptom: str) -> None:
    assert [head for head in SECTIONS if symptom in head]


@pytest.mark.parametrize("head", SECTIONS)
def test_a_symptom_has_one_look_and_a_cure(head: str) -> None:
    body = SECTIONS[head]
    assert body.count("**Look") == 1
    assert body.count("**Cure:**") == 1
    assert body.index("**Look") < body.index("**Cure:**")


def test_containers_that_pages_name_are_those_of_the_roles() -> None:
    found = set(re.findall(r"\btrigger-[a-z-]+-1\b", EVERY_PAGE))
    assert len(found) > 3
    for container in found:
        project = next(name for name in PROJECTS if container.startswith(f"{name}-"))
        service = container.removeprefix(f"{project}-").removesuffix("-1")
        assert re.search(rf"^ +{service}:", (ROOT / PROJECTS[project]).read_text(), re.MULTILINE), container


def test_units_that_pages_name_are_those_of_the_roles() -> None:
    templates = {path.stem for path in ROOT.glob("roles/*/templates/*.j2")}
    listed = "".join(path.read_text() for path in ROOT.glob("roles/*/vars/**/*.yml"))
    units = templates | set(re.findall(r"\b(trigger-[\w-]+\.(?:service|timer))\b", listed))
    called = re.findall(r"(?:systemctl [a-z -]+?|journalctl|`,) (?:-u )?((?:trigger-[\w.-]+ ?)+)", EVERY_PAGE)
    found = {name if "." in name else f"{name}.service" for words in called for name in words.split()}
    assert len(found) > 5
    assert found <= units


def test_commands_of_the_backup_program_are_those_that_it_takes() -> None:
    program = (ROOT / "roles/backup/files/trigger_backup/__main__.py").read_text()
    known = set(re.findall(r'add_parser\(\s*"([a-z-]+)"', program))
    called = set(re.findall(r"/trigger-backup ([a-z-]+)", EVERY_PAGE))
    assert len(called) > 3
    assert called <= known


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_commands_name_the_inventory(page: str) -> None:
    """All have the same one, so that they can be copied. An inventory of the collection stands in its own section."""
    text = (ROOT / page).read_text().replace("\\\n", "")
    commands = re.findall(r"ansible-playbook (?:selfhosted\.|playbooks/|site\.yml)[^\n`]*", text)
    wanted = re.compile(r" -i inventories/(mine|local|lab)\b")
    assert [command for command in commands if not wanted.search(command)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_settings_that_a_document_names_exist(path: Path) -> None:
    words = set(re.findall(rf"`((?:{PREFIXES})_[a-z0-9_]+)(?:: [^`]*)?`", path.read_text()))
    known = SETTINGS | ROLES | PLAYBOOKS | PLUGINS | SECRETS | GROUPS | {"trigger_dev"}
    assert sorted(word for word in words - known if not VOLUME.fullmatch(word)) == []
