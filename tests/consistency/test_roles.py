# SPDX-License-Identifier: MIT
"""Each role against the house rules: what it says about itself is what it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path.name for path in (Path(__file__).resolve().parents[2] / "roles").iterdir() if path.is_dir())
DIRECT: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "path": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
}
SECRET = re.compile(r"_(secret|secrets|password|token|key)$")


def load(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text())


def defaults(root: Path, role: str) -> dict[str, Any]:
    """Give the defaults of a role."""
    return load(root / "roles" / role / "defaults/main.yml") or {}


def specs(root: Path, role: str) -> dict[str, dict[str, Any]]:
    """Give the argument specs of a role by entry point."""
    found: dict[str, dict[str, Any]] = load(root / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return found


def tasks(root: Path, role: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every task of a role with the file that it stands in, those of blocks too."""

    def walk(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            yield row
            for part in ("block", "rescue", "always"):
                yield from walk(row.get(part, []))

    for path in sorted((root / "roles" / role / "tasks").glob("*.yml")):
        for row in walk(load(path)):
            yield path.name, row


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    """Each role in turn."""
    name: str = request.param
    return name


def test_roles_do_not_validate_each_other(root: Path, role: str) -> None:
    """Argument specs are for callers outside: a role that is called has checked its settings."""
    for file, task in tasks(root, role):
        called = task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role")
        assert not called or called.get("rolespec_validate") is False, f"{file}: {task['name']}"


def test_files_on_the_controller_are_those_that_the_user_means(root: Path, role: str) -> None:
    """Ansible runs local tasks in the folder of the playbook, and as root where an inventory says so for all hosts."""
    texts = "\n".join(path.read_text() for path in sorted((root / "roles" / role / "vars").rglob("*.yml")))
    for file, task in tasks(root, role):
        if task.get("delegate_to") != "localhost":
            continue
        assert task.get("vars", {}).get("ansible_become") is False, f"{file}: {task['name']}"
        written = task.get("ansible.builtin.copy", {}).get("dest") or task.get("ansible.builtin.file", {}).get("path")
        if not written:
            continue
        # The variable that the path begins with, and what that begins with.
        name = re.match(r"\{\{ (__\w+)", written)
        while name and (value := re.search(rf"^\s*{name[1]}: (.*)$", texts, re.MULTILINE)):
            if "| expanduser | realpath" in value[1]:
                break
            name = re.search(r"\{\{ (__\w+)", value[1])
        assert name, f"{file}: {task['name']}: {written} is not made absolute"


def test_the_roles_of_the_design_are_there() -> None:
    assert {"trigger", "docker_engine", "compose_project", "gateway", "webapp", "registry", "supervisor"} <= set(ROLES)


def test_a_role_is_complete(root: Path, role: str) -> None:
    folder = root / "roles" / role
    for name in ("README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"):
        assert (folder / name).is_file(), name
    readme = (folder / "README.md").read_text()
    assert f"# {role}\n" in readme
    assert "```yaml" in readme or role == "compose_project", "no example"
    meta = load(folder / "meta/main.yml")
    assert meta["galaxy_info"]["license"] == "MIT"
    assert all(re.fullmatch(r"selfhosted\.trigger_dev\.\w+", row["role"]) for row in meta["dependencies"])


def test_specs_equal_defaults(root: Path, role: str) -> None:
    given = defaults(root, role)
    rows = load(root / "roles" / role / "meta/settings.yml")["settings"]
    whole = {name for name in given if "only_for" not in rows[name]}
    for entry, spec in specs(root, role).items():
        options = spec["options"]
        optional = {name: row for name, row in options.items() if not row.get("required")}
        # Entry points that others include may want less than the role as a whole, or have settings of their own.
        assert set(optional) == whole if entry == "main" else set(optional) <= set(given), f"{role} {entry}"
        assert not set(options) - set(optional) & set(given), "required, and yet with a default"
        for name, row in optional.items():
            assert "default" in row, f"{role} {entry} {name}"
            assert row["default"] == given[name], f"{role} {entry} {name}"
            assert type(row["default"]) is type(given[name]), f"{role} {entry} {name}"


def test_specs_have_plausible_types(root: Path, role: str) -> None:
    for spec in specs(root, role).values():
        for name, row in spec["options"].items():
            assert row["type"] in DIRECT, name
            value = row.get("default")
            if isinstance(value, str) and "{{" in value:
                continue
            if value is not None:
                assert isinstance(value, DIRECT[row["type"]]), name
                assert isinstance(value, bool) == (row["type"] == "bool"), name
            assert ("elements" in row) == (row["type"] == "list"), name
            assert not ("choices" in row and value is not None and value not in row["choices"]), name


def test_specs_do_not_show_secrets(root: Path, role: str) -> None:
    """An argument spec prints the value of an option with choices even where no_log is set."""
    for spec in specs(root, role).values():
        for name, row in spec["options"].items():
            if SECRET.search(name):
                assert row.get("no_log") is True, name
                assert "choices" not in row, name


def test_specs_describe(root: Path, role: str) -> None:
    for entry, spec in specs(root, role).items():
        assert spec["short_description"], entry
        for name, row in spec["options"].items():
            text = row["description"] if isinstance(row["description"], str) else " ".join(row["description"])
            assert len(text) >= 7, name
            assert "SPDX" not in text, f"{name}: the licence line is no description"


def test_entry_points_are_files_and_the_other_way_round(root: Path, role: str) -> None:
    folder = root / "roles" / role / "tasks"
    files = {path.stem for path in folder.glob("*.yml")}
    assert set(specs(root, role)) <= files
    # A file that another role or a playbook names is an entry point, and so has a spec.
    named = set()
    for path in [*root.glob("roles/*/tasks/*.yml"), *root.glob("playbooks/**/*.yml")]:
        text = path.read_text()
        named |= set(re.findall(rf"name: selfhosted\.trigger_dev\.{role}\n\s+tasks_from: (\w+)", text))
    assert named <= files
    assert named <= set(specs(root, role)), f"{role}: entry points without a spec"


def test_every_default_is_explained(root: Path, role: str) -> None:
    lines = (root / "roles" / role / "defaults/main.yml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z_]\w*:", line):
            above = lines[number - 1]
            assert above.startswith("# "), line
            assert "SPDX" not in above, line
            assert not re.fullmatch(r"# --- .* -+", above), f"{line}: a heading is no explanation"


def test_names_carry_the_prefix_of_the_role(root: Path, role: str) -> None:
    for name in defaults(root, role):
        assert name.startswith(f"{role}_"), name
    internal = root / "roles" / role / "vars"
    for path in internal.rglob("*.yml"):
        for name in load(path) or {}:
            assert name.startswith(f"__{role}_"), f"{path.name}: {name}"
    for file, task in tasks(root, role):
        if "register" in task:
            assert task["register"].startswith(f"__{role}_"), f"{file}: {task['register']}"


def test_public_names_do_not_hide_each_other(root: Path) -> None:
    owners: dict[str, str] = {}
    for role in ROLES:
        for name in defaults(root, role):
            assert name not in owners, f"{name} belongs to {owners[name]} and {role}"
            owners[name] = role


def test_variables_that_roles_read_exist(root: Path, role: str) -> None:
    """A name with the prefix of a role that is nobody's is a typo."""
    known: set[str] = set(load(root / "roles/trigger/vars/main/secrets.yml")["__trigger_secrets"])
    for each in ROLES:
        known |= set(defaults(root, each)) | set().union(*(spec["options"] for spec in specs(root, each).values()))
        for path in (root / "roles" / each / "vars").rglob("*.yml"):
            known |= set(load(path) or {})
        for _, task in tasks(root, each):
            known |= {task.get("register", ""), *task.get("vars", {}), *task.get("ansible.builtin.set_fact", {})}
            known.add(task.get("loop_control", {}).get("loop_var", ""))
    prefixes = "|".join(ROLES)
    # Project names, networks, volumes and the like start with a role's name too, but are no variables: only what stands
    # inside of an expression counts.
    for path in sorted((root / "roles" / role).rglob("*")):
        if path.suffix not in (".yml", ".j2") or path.name in ("argument_specs.yml", "meta/main.yml"):
            continue
        for expression in re.findall(r"(?s:\{\{(.*?)\}\})|when: (.*)|that: (.*)", path.read_text()):
            bare = re.sub(r"'[^']*'|\"[^\"]*\"|selfhosted\.trigger_dev\.\w+", "", " ".join(expression))
            for name in re.findall(rf"(?<![\w.])(?:__)?(?:{prefixes})_\w+", bare):
                assert name in known, f"{path.relative_to(root)}: {name}"


def test_main_only_includes(root: Path, role: str) -> None:
    included = {"ansible.builtin.include_tasks", "ansible.builtin.include_role", "ansible.builtin.import_tasks"}
    for row in load(root / "roles" / role / "tasks/main.yml"):
        assert included & set(row), f"{role}: {row['name']}"


def test_files_on_hosts_have_owner_group_and_mode(root: Path, role: str) -> None:
    """What is not named stays as it is found, so that no run repairs it."""
    for file, task in tasks(root, role):
        for name in ("file", "copy", "template", "lineinfile", "blockinfile", "get_url", "unarchive", "assemble"):
            given = task.get(f"ansible.builtin.{name}", {})
            if given and given.get("state") != "absent" and task.get("delegate_to") != "localhost":
                missing = [key for key in ("owner", "group", "mode") if key not in given]
                assert missing == [], f"{role} {file}: {task['name']}"


def test_systemd_reads_units_anew_whatever_this_run_has_changed(root: Path, role: str) -> None:
    """A run that ended between a unit's file and the reload would leave the old one in force."""
    for file, task in tasks(root, role):
        given = task.get("ansible.builtin.systemd_service", {})
        if "daemon_reload" in given:
            assert given["daemon_reload"] is True, f"{role} {file}: {task['name']}"
        elif given.get("state") in ("started", "restarted") and "trigger-" in str(given["name"]):
            raise AssertionError(f"{role} {file}: {task['name']} starts a unit of ours without a reload")


def test_packages_wait_for_the_lock_of_a_host_that_has_just_booted(root: Path, role: str) -> None:
    """Cloud-init and unattended-upgrades hold it for minutes, and apt waits 60 s by itself."""
    for file, task in tasks(root, role):
        given = task.get("ansible.builtin.apt")
        assert given is None or given.get("lock_timeout") == 600, f"{role} {file}: {task['name']}"


def test_nothing_is_passed_over(root: Path, role: str) -> None:
    for file, task in tasks(root, role):
        where = f"{role} {file}: {task['name']}"
        assert "ignore_errors" not in task, where
        assert "ignore_unreachable" not in task, where
        assert task.get("failed_when") not in (False, "false", []), where


def test_readers_say_so(root: Path, role: str) -> None:
    """`changed_when: false` is for tasks that only read; then check mode must run them too."""
    for file, task in tasks(root, role):
        command = next(
            (task[name] for name in task if name in ("ansible.builtin.command", "ansible.builtin.shell")), None
        )
        if command is not None:
            assert "changed_when" in task, f"{role} {file}: {task['name']}"
            if task["changed_when"] is False:
                assert task.get("check_mode") is False, f"{role} {file}: {task['name']}"


def test_secrets_are_not_looped_over_nor_put_on_command_lines(root: Path, role: str) -> None:
    for file, task in tasks(root, role):
        where = f"{role} {file}: {task['name']}"
        loop = str(task.get("loop", ""))
        assert "secret" not in loop.lower(), where
        assert "environments" not in loop or ".keys()" in loop, where
        for name in ("ansible.builtin.command", "ansible.builtin.shell"):
            if isinstance(given := task.get(name), dict):
                on_line = {key: value for key, value in given.items() if key != "stdin"}
                assert not re.search(r"secret_values|secrets\.|\.token\b", str(on_line)), where


def test_files_with_secrets_are_written_without_a_diff(root: Path) -> None:
    for role in ROLES:
        for file, task in tasks(root, role):
            for name in ("ansible.builtin.copy", "ansible.builtin.template"):
                if name in task and re.search(r"environment|secret|file\.content", str(task[name])):
                    assert task.get("diff") is False, f"{role} {file}: {task['name']}"


def test_roles_never_name_a_group(root: Path, role: str) -> None:
    """A variable does (trigger_control_group, trigger_workers_group)."""
    for path in sorted((root / "roles" / role).rglob("*")):
        if path.suffix in (".yml", ".j2") and path.name != "argument_specs.yml":
            text = path.read_text()
            if path in (root / "roles/trigger/defaults/main.yml", root / "roles/trigger/meta/settings.yml"):
                text = re.sub(r"\b(\w+_group|default): trigger_\w+\n", "\n", text)
            assert not re.search(r"\btrigger_(control|workers|registry)\b", text), path.relative_to(root)


@pytest.mark.parametrize("role", ROLES)
def test_a_variable_of_a_role_has_one_value(root: Path, role: str) -> None:
    """Ansible merges the files of vars/main in silence: of two values under one name the last one would hold."""
    files = [*root.glob(f"roles/{role}/vars/main/**/*.yml"), *root.glob(f"roles/{role}/vars/main.yml")]
    names = [name for path in files for name in re.findall(r"^(\w+):", path.read_text(), re.MULTILINE)]
    assert sorted(set(names)) == sorted(names)
