# SPDX-License-Identifier: MIT
"""Variables that playbooks read belong to roles, and their names are checked first: a misspelt one is noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, meta

FOLDER = Path(__file__).resolve().parents[2] / "playbooks"
# Those that operators call; `parts` holds what they share.
PUBLIC = sorted(FOLDER.glob("*.yml"))
PARTS = sorted(FOLDER.glob("parts/*.yml"))
PLAYBOOKS = [*PUBLIC, *PARTS]
# Names of a former release, which lead to the present ones.
FORMER = {
    "drain_worker": "worker_drain",
    "recover_worker_token": "worker_token_recover",
    "remove_worker": "worker_remove",
    "rotate_worker_token": "worker_token_rotate",
    "verify": "status",
}
# What Ansible gives, and what is internal.
OTHER = re.compile(r"ansible_\w+|__\w+|groups|hostvars|inventory_hostname|item|lookup|now|query|dict|zip")


def load(path: Path) -> list[dict[str, Any]]:
    """Read a playbook."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())
    return found


def plays(path: Path) -> list[dict[str, Any]]:
    """Give the plays of a playbook, those of imported ones too."""
    found = []
    for row in load(path):
        imported = row.get("ansible.builtin.import_playbook")
        found += plays(path.parent / imported) if imported else [row]
    return found


@pytest.fixture(scope="module")
def public(root: Path) -> set[str]:
    """Every variable that an operator may set."""
    return {name for path in root.glob("roles/*/defaults/main.yml") for name in yaml.safe_load(path.read_text()) or {}}


class Known(dict[str, Any]):
    """Filters or tests of any name."""

    def get(self, key: str, default: Any = None) -> Any:
        return str


ENVIRONMENT = Environment(autoescape=True)
ENVIRONMENT.filters, ENVIRONMENT.tests = Known(), Known()


def read(value: object, key: str = "") -> set[str]:
    """Name the variables that expressions anywhere in a value read."""
    if isinstance(value, dict):
        return set().union(*(read(each, name) for name, each in value.items()))
    if isinstance(value, list):
        return set().union(*(read(each, key) for each in value))
    if not isinstance(value, str):
        return set()
    text = f"{{{{ {value} }}}}" if key in ("when", "that", "changed_when", "failed_when") else value
    return set(meta.find_undeclared_variables(ENVIRONMENT.parse(text)))


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_variables_of_playbooks_belong_to_roles(path: Path, public: set[str]) -> None:
    assert {name for name in read(load(path)) if name not in public and not OTHER.fullmatch(name)} == set()
    for name in re.findall(r"-e (\w+)=", path.read_text()):
        assert name in public, name
    for names in re.findall(r"^# ((?:[a-z]+_\w+(?:, )?)+): ", path.read_text(), re.MULTILINE):
        assert set(names.split(", ")) <= public, names


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_names_are_checked_before_anything_else_is_done(path: Path, root: Path) -> None:
    """Roles other than `trigger` depend on it, and it begins with the names."""
    for play in plays(path):
        tasks = [*play.get("roles", []), *play.get("tasks", [])]
        first = tasks[0]
        role = first.get("role") or next(
            (
                first[key]["name"]
                for key in ("ansible.builtin.import_role", "ansible.builtin.include_role")
                if key in first
            ),
            None,
        )
        if role is None:
            # It asks no host, so nothing can have changed.
            assert "ansible.builtin.assert" in first or "block" in first, first
            if "block" in first:
                role = first["block"][0]["ansible.builtin.import_role"]["name"]
            else:
                continue
        name = role.rpartition(".")[2]
        needs = yaml.safe_load((root / "roles" / name / "meta/main.yml").read_text())["dependencies"]
        assert name == "trigger" or {"role": "selfhosted.trigger_dev.trigger"} in needs, name
        return


# They change nothing of an installation; registry_client prepares machines of developers.
UNLOCKED = {
    *("adopt_settings", "backup_list", "diagnose", "login_link", "preflight", "registry_client", "status", "verify"),
}


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_playbooks_that_change_something_lock_the_installation(path: Path) -> None:
    names = [play["name"] for play in plays(path)]
    assert ("Lock the installation" in names) == (path.stem not in UNLOCKED)
    if path.stem not in UNLOCKED:
        assert all(name.startswith("Check ") for name in names[: names.index("Lock the installation")]), names


def test_the_document_lists_the_playbooks_that_take_no_lock(root: Path) -> None:
    (listed,) = re.findall(r"^The playbooks (.+?) take no lock\.", (root / "docs/scaling.md").read_text(), re.MULTILINE)
    assert re.findall(r"`(\w+)`", listed) == sorted(UNLOCKED - set(FORMER))


def test_former_names_of_playbooks_go_on_for_this_release() -> None:
    assert {path.stem for path in PUBLIC if len(load(path)) == 1} == {*FORMER, "preflight"}
    for former, present in FORMER.items():
        (row,) = load(FOLDER / f"{former}.yml")
        assert row["ansible.builtin.import_playbook"] == f"{present}.yml"
        assert f"The former name of the playbook {present}" in (FOLDER / f"{former}.yml").read_text()


def test_playbooks_are_explained_by_their_present_name(root: Path) -> None:
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    text = "\n".join(path.read_text() for path in pages)
    called = set(re.findall(r"`(\w+)`|playbooks/(\w+)\.yml", text))
    explained = {name for pair in called for name in pair}
    assert [path.stem for path in PUBLIC if path.stem not in FORMER and path.stem not in explained] == []
    assert [name for name in FORMER if re.search(rf"playbooks/{name}\.yml|trigger_dev\.{name}\b", text)] == []


def test_former_names_lead_to_present_ones(root: Path, public: set[str]) -> None:
    renamed = yaml.safe_load((root / "roles/trigger/vars/main/renamed.yml").read_text())["__trigger_renamed"]
    assert list(renamed) == sorted(renamed, key=lambda version: [int(part) for part in version.split(".")])
    names = [pair for rows in renamed.values() for pair in rows.items()]
    # The new name stands first; a note on its values may follow.
    assert {new.split()[0] for _, new in names} <= public
    assert not {old for old, _ in names} & public
    assert len({old for old, _ in names}) == len(names)


def test_site_validates_no_argument_specs(root: Path) -> None:
    """The rows of the settings, which it checks first, say more; validation took a sixth of its processor time."""
    for play in plays(root / "playbooks/site.yml"):
        assert "roles" not in play, play["name"]
        for task in [*play["tasks"], *(each for row in play["tasks"] for each in row.get("block", []))]:
            called = task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role")
            assert not called or called.get("rolespec_validate") is False, task["name"]


# What leaves the webapp stopped for the deployment: subcommands of the backup program, and the module of rotations.
STOPPED_BY = re.compile(
    r"""__backup_command\b[^\n]*?[ ,'"](adopt|restore|postgres-upgrade|objects-move)['"\]]|state: switched"""
)


def includes(value: object) -> Iterator[tuple[str, str]]:
    """Give role and file of each task file that tasks include; the role is empty where it is their own."""
    for row in value if isinstance(value, list) else []:
        for key, given in row.items():
            word = key.rpartition(".")[2]
            if word in ("import_role", "include_role"):
                yield given["name"].rpartition(".")[2], given.get("tasks_from", "main")
            elif word in ("import_tasks", "include_tasks"):
                yield "", Path(given if isinstance(given, str) else given["file"]).stem
            elif word in ("block", "rescue", "always"):
                yield from includes(given)


def reached(root: Path, tasks: object, role: str, seen: dict[Path, str]) -> dict[Path, str]:
    """Give the text of every task file that tasks lead to."""
    for of_role, name in includes(tasks):
        path = root / "roles" / (of_role or role) / "tasks" / f"{name}.yml"
        if path not in seen and path.is_file():
            seen[path] = path.read_text()
            reached(root, yaml.safe_load(seen[path]), of_role or role, seen)
    return seen


def test_a_playbook_that_stops_the_webapp_says_how_to_go_on(root: Path) -> None:
    """Where what follows fails, the webapp is away; the callback summary repeats such lines then."""
    stopping = set()
    for path in PUBLIC:
        texts: dict[Path, str] = {}
        for play in load(path):
            reached(root, play.get("tasks"), "", texts)
        stops = any(STOPPED_BY.search(text) for text in texts.values())
        assert not stops or any("AT FAILURE: " in text for text in texts.values()), path.name
        stopping |= {path.stem} if stops else set()
    assert stopping == {"adopt", "backup_restore", "object_store_move", "postgres_upgrade", "secrets_rotate"}
