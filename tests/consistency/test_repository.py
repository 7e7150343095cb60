# SPDX-License-Identifier: MIT
"""The repository as a whole: licence, names, pins, published secrets, and that the documents tell the truth."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from glob import glob
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task

from testbed import scenario
from testbed.__main__ import COMMANDS
from testbed.expected_secrets import PUBLISHED_DEFAULTS

# REUSE-IgnoreStart: no header of this file
HEADER = "SPDX-License-Identifier: MIT"
# REUSE-IgnoreEnd
# Formats that cannot hold a comment, the licence itself, and what antsibull-changelog writes.
NO_HEADER = re.compile(
    r"(^|/)(LICENSE|LICENSES/MIT\.txt|\.gitkeep|py\.typed)$|\.json$|^CHANGELOG\.md$|changelog\.yaml$"
)
DEPLOYED = ("roles/", "plugins/", "playbooks/", "inventories/", "meta/", "site.yml", "galaxy.yml")
COLLECTION = "selfhosted.trigger_dev"
KEYWORDS = {*Play.fattributes, *Block.fattributes, *Task.fattributes}
MODULE = re.compile(r"(ansible\.builtin|community\.docker|selfhosted\.trigger_dev)\.\w+")


def load(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text())


def test_the_listing_is_not_empty(files: dict[str, str]) -> None:
    """Guards every test that looks at all files."""
    assert {"galaxy.yml", "site.yml", "roles/webapp/defaults/main.yml", "README.md"} <= set(files)


def test_every_file_carries_the_licence(files: dict[str, str]) -> None:
    missing = [
        name
        for name, text in files.items()
        if not NO_HEADER.search(name) and HEADER not in "\n".join(text.split("\n")[:3])
    ]
    assert missing == []
    assert files["LICENSES/MIT.txt"] == files["LICENSE"], "REUSE and GitHub look for it under different names"


def test_no_published_secret_is_in_anything_that_is_deployed(files: dict[str, str]) -> None:
    found = [
        (name, value)
        for name, text in files.items()
        # There they are listed to be refused, or replaced.
        if name.startswith(DEPLOYED)
        and not name.startswith(("roles/trigger/vars/main/versions/", "roles/adopt/vars/main/names.yml"))
        for value in PUBLISHED_DEFAULTS
        # The header by which a supervisor shows the secret is named so too.
        if value in text.replace("x-trigger-worker-managed-secret", "")
    ]
    assert found == []


def test_no_password_is_a_default(files: dict[str, str]) -> None:
    """A variable that ends like a secret has no value in roles and inventories."""
    given = re.compile(
        r"^\s*[\w.]*_(?:secret|password|token|key): *+(?!$|\"\"|''|\"?\{\{|!vault|\d+$)(.+)$", re.MULTILINE
    )
    found = [
        (name, match.group())
        for name, text in files.items()
        if re.match(r"(roles/\w+/defaults|inventories)/", name)
        for match in given.finditer(text)
    ]
    assert found == []


def test_nothing_names_a_machine_or_a_registry_of_packages(files: dict[str, str]) -> None:
    # Written so that the pattern does not find itself.
    local = re.compile(
        r"(?<![\w.{}])/(?:work|home/\w+|Users)/[\w]|/tmp/wor[k]|\.\./share[d]/facts|artifactor[y]|nexu[s]\."
    )
    found = [
        (name, match.group())
        for name, text in files.items()
        for match in local.finditer(text)
        if "node" not in match.group()
    ]
    assert found == []


def test_errors_are_never_ignored(files: dict[str, str]) -> None:
    pattern = re.compile(r"^\s*(?:ignore_errors|ignore_unreachable|failed_when: *(?:false|no)\b)", re.MULTILINE)
    assert [name for name, text in files.items() if name.endswith(".yml") and pattern.search(text)] == []


def test_host_keys_are_always_checked(files: dict[str, str]) -> None:
    pattern = re.compile(
        r"host_key_checking *[=:] *(?:false|no|0)|StrictHostKeyChecking[= ](?:no|off)|UserKnownHostsFile=/dev/null",
        re.IGNORECASE,
    )
    assert [name for name, text in files.items() if pattern.search(text) and not name.startswith("tests/")] == []


def test_playbooks_can_be_called_by_their_full_name(root: Path) -> None:
    for path in (root / "playbooks").glob("*.yml"):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", path.stem), path.name
    assert load(root / "site.yml")[0]["ansible.builtin.import_playbook"] == "playbooks/site.yml"


def modules(rows: Any) -> list[str]:
    """Name every module that a list of plays or tasks calls."""
    found: list[str] = []
    for row in rows if isinstance(rows, list) else []:
        for key, value in row.items():
            if key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
                found += modules(value)
            elif key == "roles":
                found += [item["role"] if isinstance(item, dict) else item for item in value]
            elif key not in KEYWORDS:
                found.append(key)
    return found


def test_modules_and_roles_are_called_by_their_full_name(files: dict[str, str]) -> None:
    seen = 0
    for name, text in files.items():
        if re.match(r"roles/\w+/tasks/|playbooks/|site\.yml|molecule/[\w/]+\.yml$", name) and not name.endswith(
            "molecule.yml"
        ):
            loaded = yaml.safe_load(text)
            for module in modules(loaded):
                seen += 1
                assert MODULE.fullmatch(module), f"{name}: {module}"
    assert seen > 50


def test_every_task_has_a_name(files: dict[str, str]) -> None:
    for name, text in files.items():
        if re.match(r"roles/\w+/tasks/|playbooks/", name):
            for row in yaml.safe_load(text):
                assert re.match("[A-Z]", row["name"]), f"{name}: {row['name']}"


def test_the_version_stands_in_one_place(root: Path, files: dict[str, str]) -> None:
    version = load(root / "galaxy.yml")["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    pattern = re.compile(rf"\bversion[\"']?\s*[=:]\s*[\"']?{re.escape(version)}\b", re.IGNORECASE)
    assert [name for name, text in files.items() if pattern.search(text)] == ["galaxy.yml"]


def test_the_default_release_is_pinned(root: Path) -> None:
    assert re.fullmatch(r"v\d+\.\d+\.\d+", load(root / "roles/trigger/defaults/main.yml")["trigger_version"])


def test_the_collection_names_what_it_needs(root: Path) -> None:
    galaxy = load(root / "galaxy.yml")
    assert (galaxy["namespace"], galaxy["name"]) == ("selfhosted", "trigger_dev")
    assert set(galaxy["dependencies"]) == {"community.docker"}
    assert (root / galaxy["readme"]).is_file()
    requires = load(root / "meta/runtime.yml")["requires_ansible"]
    minimum = re.fullmatch(r">=(\d+\.\d+)\.\d+", requires)
    assert minimum
    for meta in root.glob("roles/*/meta/main.yml"):
        assert load(meta)["galaxy_info"]["min_ansible_version"] == minimum[1], meta.parents[1].name
    readme = (root / "README.md").read_text()
    assert f"ansible-core ≥ {minimum[1]}" in readme


# What an operator has beside our files.
STRANGERS = [
    "inventories/mine/hosts.yml",
    "inventories/mine/group_vars/all.yml",
    "inventories/prod/group_vars/vault.yml",
    "vault.yml",
    "secrets.json",
    ".env",
    ".venv/lib/site.yml",
    "host_vars/control.example.com.yml",
]
# For work on the collection, not with it.
WORKSHOP = re.compile(
    r"\.|(tests|molecule|testbed|tools|collections|inventories/lab|LICENSES|changelogs/fragments)/"
    r"|(Makefile|galaxy\.yml|pyproject\.toml|requirements-test\.txt|REUSE\.toml|renovate\.json|changelogs/config\.yaml)$"
)


def test_the_archive_holds_what_is_ours_and_nothing_of_the_operator(
    root: Path, files: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "checkout"
    for name, text in [*files.items(), *((name, "password: hunter2") for name in STRANGERS)]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
    pictures = {path.relative_to(root).as_posix() for path in (root / "docs").rglob("*.png")}
    shutil.copytree(root / "docs/pictures", copy / "docs/pictures")
    (copy / "roles/webapp/tasks/__pycache__").mkdir()
    (copy / "roles/webapp/tasks/__pycache__/x.pyc").touch()
    galaxy = str(Path(sys.executable).with_name("ansible-galaxy"))
    build = [galaxy, "collection", "build", "--output-path", str(tmp_path)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {one.name for one in packed if one.isfile()}
        manifest = json.load(packed.extractfile("MANIFEST.json"))["collection_info"]  # type: ignore[arg-type]
    assert names - {"FILES.json", "MANIFEST.json"} == pictures | {name for name in files if not WORKSHOP.match(name)}
    for key in ("documentation", "homepage", "issues", "repository"):
        assert manifest[key].startswith("https://github.com/selfhosted/trigger_dev"), key
    # Galaxy shows the pages: what they link to must be there. CONTRIBUTING is about a clone.
    for name in names:
        if name.endswith(".md") and name != "CONTRIBUTING.md":
            for link in re.findall(r"\]\(([^)#:\s]+)\)", files[name]):
                target = (copy / name).parent.joinpath(link).resolve().relative_to(copy.resolve()).as_posix()
                assert any(one == target or one.startswith(f"{target}/") for one in names), f"{name}: {link}"


@pytest.mark.parametrize("name", STRANGERS[:2])
def test_git_does_not_take_inventories_of_the_operator(root: Path, name: str) -> None:
    """Those of the collection are named."""
    assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=root, check=False).returncode == 0
    assert (
        subprocess.run(["git", "check-ignore", "-q", "inventories/prod/x.yml"], cwd=root, check=False).returncode == 1
    )


def test_changes_are_fragments(root: Path) -> None:
    """antsibull-changelog writes CHANGELOG.md of them at a release; until then two changes never touch one file."""
    folder = root / "changelogs"
    sections = {name for name, _ in load(folder / "config.yaml")["sections"]} | {"trivial"}
    paths = sorted(folder.glob("fragments/*"))
    assert {path.suffix for path in paths} <= {".yml"}
    for path in paths:
        changes = load(path)
        assert set(changes) <= sections | {"release_summary"}, path.name
        assert isinstance(changes.pop("release_summary", ""), str), path.name
        for name, entries in changes.items():
            assert entries, f"{path.name}: {name}"
            assert all(isinstance(entry, str) for entry in entries), f"{path.name}: {name} has an entry that is no text"
            # The markup is reStructuredText.
            assert not any(re.search(r"(?<!`)`[^`]|\]\(", entry) for entry in entries), (
                f"{path.name}: ``code``, no links"
            )
    written = re.findall(r"^[*-] ", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert not written or (folder / "changelog.yaml").is_file(), (
        "CHANGELOG.md is generated: add a file to changelogs/fragments"
    )


def test_galaxy_requirements_are_those_of_the_collection(root: Path) -> None:
    asked = {row["name"]: row.get("version") for row in load(root / "requirements.yml")["collections"]}
    assert set(asked) == set(load(root / "galaxy.yml")["dependencies"])


def test_python_requirements_are_pinned(root: Path) -> None:
    for path in root.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith(("#", "-r", "    ", "--hash")):
                assert re.match(r"[\w.\[\]-]+==\S+", line), f"{path.name}: {line}"


def test_the_link_makes_the_full_name_work_from_a_checkout(root: Path) -> None:
    link = root / "collections/ansible_collections/selfhosted/trigger_dev"
    assert link.is_symlink()
    assert link.resolve() == root


def scenarios(root: Path) -> list[str]:
    """Ask the Makefile for the scenarios that `make test` runs."""
    listed = subprocess.run(["make", "--silent", "scenarios"], cwd=root, capture_output=True, text=True, check=True)
    names: list[str] = json.loads(listed.stdout)
    return names


def test_every_folder_of_molecule_is_a_scenario_of_the_tests(root: Path) -> None:
    """Each once, but the hosts of `make lab`, which no test uses."""
    folders = sorted(path.parent.name for path in root.glob("molecule/*/molecule.yml"))
    (nightly,) = re.findall(r"^NIGHTLY := (.*)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert sorted([*scenarios(root), *nightly.split(), "lab"]) == folders == list(scenario.SCENARIOS)
    for name in nightly.split():
        assert f"soak-{name}" in COMMANDS
        for path in root.glob(f"molecule/{name}/tests/test_*.py"):
            assert f"\npytestmark = {scenario.SOAK}\n" in path.read_text(), path.name
    assert {f"test-{name}" for name in scenarios(root)} <= set(COMMANDS)


def targets(root: Path) -> set[str]:
    """Name the targets of the Makefile; a pattern stands for itself."""
    text = (root / "Makefile").read_text()
    plain = set(re.findall(r"^([a-z][a-z-]*):(?!=)", text, re.MULTILINE))
    steps = ("molecule", "converge", "verify", "destroy")
    return plain | {f"{step}-{name}" for step in steps for name in scenarios(root)}


def test_documents_name_commands_that_exist(root: Path, files: dict[str, str]) -> None:
    known = targets(root)
    assert {"lab", "lab-down", "test"} <= known
    for name, text in files.items():
        if name.endswith(".md") or name.startswith((".ci/", ".github/")):
            used = set(re.findall(r"(?:^|[`\s])make ([a-z][a-z-]*)(?=$|[\s`])", text, re.MULTILINE))
            prose = {"it", "sure", "that", "the", "a", "them", "this", "changes"}
            assert used - prose <= known, name


def test_documents_name_files_that_exist(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        if name.endswith(".md"):
            for link in re.findall(r"\]\(([^)#:\s]+)\)", text):
                assert (root / name).parent.joinpath(link).exists(), f"{name}: {link}"
            for inventory in re.findall(r"-i (inventories/\w+)", text):
                assert inventory == "inventories/mine" or (root / inventory / "hosts.yml").is_file(), (
                    f"{name}: {inventory}"
                )


def options(path: Path) -> set[str]:
    """Name the variables of a role, the required ones too."""
    return set().union(*(spec["options"] for spec in load(path)["argument_specs"].values()))


def test_documents_name_variables_that_exist(root: Path, files: dict[str, str]) -> None:
    known = set().union(*(options(path) for path in root.glob("roles/*/meta/argument_specs.yml")))
    prefixes = "|".join(path.name for path in (root / "roles").iterdir())
    # Labels of Docker objects, groups and volumes share the prefix.
    other = {"trigger_control", "trigger_workers", "trigger_registry", "trigger_developers", "trigger_dev"}
    other |= set(load(root / "roles/trigger/vars/main/secrets.yml")["__trigger_secrets"])
    for name, text in files.items():
        if name in ("README.md",) or re.match(r"roles/\w+/README\.md|docs/|inventories/.*\.yml", name):
            for word in re.findall(rf"(?<![\w./])(?:{prefixes})_[a-z_]+(?!\w|[./])", text):
                is_volume = re.fullmatch(r"trigger_\w+_(data|logs)", word)
                is_playbook = (root / "playbooks" / f"{word}.yml").is_file()
                is_plugin = any((root / "plugins" / kind / f"{word}.py").is_file() for kind in ("modules", "filter"))
                is_name = is_volume or is_playbook or is_plugin or (root / "roles" / word).is_dir()
                assert word in known | other or is_name, f"{name}: {word}"


def test_switches_are_written_as_they_are_accepted(files: dict[str, str]) -> None:
    """`-e name=true` gives a text, which is refused: on the command line a switch needs JSON."""
    told = re.compile(r"(?:roles|playbooks|docs)/|README\.md")
    assert [name for name, text in files.items() if told.match(name) and re.search(r"\w+_enabled=", text)] == []


def test_examples_of_plugins_name_variables_that_exist(root: Path, files: dict[str, str]) -> None:
    known = set().union(*(load(path) or {} for path in root.glob("roles/*/defaults/main.yml")))
    prefixes = "|".join(path.name for path in (root / "roles").iterdir())
    seen = 0
    for name, text in files.items():
        for examples in re.findall(
            r"^EXAMPLES(?: = r\"\"\"|: \|)\n(.*?)(?:^\"\"\"|^[A-Z]+:|\Z)", text, re.DOTALL | re.MULTILINE
        ):
            if name.startswith("plugins/"):
                seen += 1
                for expression in re.findall(r"\{\{(.*?)\}\}", examples, re.DOTALL):
                    bare = re.sub(r"'[^']*'|selfhosted\.trigger_dev\.\w+", "", expression)
                    for word in re.findall(rf"(?<![\w.])(?:{prefixes})_\w+", bare):
                        assert word in known, f"{name}: {word}"
                for word in re.findall(rf"(?:Set|Unset|set) ((?:{prefixes})_\w+)", examples):
                    assert word in known, f"{name}: {word}"
    assert seen > 30


def test_the_workflow_runs_every_part_by_the_one_script(root: Path) -> None:
    assert 'exec make "${@:-test}" < /dev/null' in (root / ".ci/run").read_text(), "all parts, unless some are named"
    jobs = load(root / ".github/workflows/ci.yml")["jobs"]
    assert jobs["scenarios"]["outputs"] == {"names": "${{ steps.list.outputs.names }}"}
    (listing,) = (step for step in jobs.pop("scenarios")["steps"] if step.get("id") == "list")
    assert listing["run"] == 'echo "names=$(make scenarios)" >> "$GITHUB_OUTPUT"'
    night = jobs.pop("soak")
    assert night["if"] == "github.event_name == 'schedule'"
    assert [step["run"] for step in night["steps"] if "run" in step] == ["sudo .ci/run soak"]
    matrix = jobs["scenario"]["strategy"]["matrix"]
    assert matrix == {"scenario": "${{ fromJSON(needs.scenarios.outputs.names) }}"}
    run = [
        step["run"].replace("${{ matrix.scenario }}", name)
        for job in jobs.values()
        for step in job["steps"]
        if "run" in step
        for name in (scenarios(root) if "strategy" in job else [""])
    ]
    assert [line for line in run if ".ci/run " not in line] == []
    makefile = (root / "Makefile").read_text()
    parts = re.search(r"^PARTS := (.+?) \$\(", makefile, re.MULTILINE)
    assert parts
    wanted = {*parts[1].split(), *(f"molecule-{name}" for name in scenarios(root))}
    assert {word for line in run for word in line.split(".ci/run ")[1].split()} == wanted


def test_inventories_set_variables_that_exist(root: Path) -> None:
    known = set().union(*(load(path) or {} for path in root.glob("roles/*/defaults/main.yml")))
    own = {"lab_directory", "testbed_archives"}
    for path in [*root.glob("inventories/*/group_vars/*.yml"), *root.glob("molecule/**/group_vars/*.yml")]:
        for name in load(path) or {}:
            assert name in known | own or name.startswith("ansible_"), f"{path.relative_to(root)}: {name}"


@pytest.mark.parametrize("inventory", ["lab", "local", "prod"])
def test_inventories_have_both_groups(root: Path, inventory: str) -> None:
    children = load(root / "inventories" / inventory / "hosts.yml")["all"]["children"]
    assert len(children["trigger_control"]["hosts"]) == 1
    assert len(children["trigger_workers"]["hosts"]) >= 1


def load_documentation(path: Path) -> dict[str, Any]:
    """Read the DOCUMENTATION of a module."""
    found = re.search(r'^DOCUMENTATION = r?"""(.*?)"""', path.read_text(), re.MULTILINE | re.DOTALL)
    assert found, path.name
    document: dict[str, Any] = yaml.safe_load(found[1])
    return document


def test_plugins_are_documented_and_tested(root: Path) -> None:
    modules_found = sorted((root / "plugins/modules").glob("[!_]*.py"))
    assert modules_found
    for path in modules_found:
        text = path.read_text()
        for part in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            assert re.search(rf"^{part} = r?\"\"\"", text, re.MULTILINE), f"{path.name}: {part}"
        document = load_documentation(path)
        shared = set(document["extends_documentation_fragment"])
        own = {name for name, said in document.get("attributes", {}).items() if "support" in said}
        if f"{COLLECTION}.attributes.info" not in shared:
            assert f"{COLLECTION}.attributes" in shared, path.name
            assert {"check_mode", "diff_mode"} <= own, path.name
        assert document["module"] == path.stem
        # A read-only twin may be tested beside the module that it is the twin of.
        tests = {f"test_{stem}.py" for stem in (path.stem, path.stem.removesuffix("_info"))}
        assert any((root / "tests/unit/plugins/modules" / name).is_file() for name in tests), path.name
    for path in sorted((root / "plugins/filter").glob("[!_]*.py")):
        assert path.with_suffix(".yml").is_file(), path.name
        assert (root / f"tests/unit/plugins/filter/test_{path.stem}.py").is_file(), path.name


def test_every_module_is_in_its_action_groups(root: Path) -> None:
    """`module_defaults` knows modules by their group alone; one that is missing there would go without the defaults."""
    groups = load(root / "meta/runtime.yml")["action_groups"]
    fragments = {
        path.stem: load_documentation(path).get("extends_documentation_fragment", [])
        for path in (root / "plugins/modules").glob("[!_]*.py")
    }
    assert len(fragments) > 20
    assert groups["all"] == sorted(fragments)
    fragment = "selfhosted.trigger_dev.database"
    assert groups["database"] == sorted(name for name, used in fragments.items() if fragment in used)
    assert groups["database"]


def test_lint_passes_over_nothing(root: Path) -> None:
    config = load(root / ".ansible-lint") if (root / ".ansible-lint").is_file() else load(root / ".ansible-lint.yml")
    assert config["profile"] == "production"
    assert not config.get("skip_list")
    assert not config.get("warn_list")


def verified(root: Path, name: str) -> list[str]:
    """List the files of tests that the verifier of a scenario runs."""
    verifier = load(root / ".config/molecule/config.yml")["verifier"]
    verifier |= load(root / "molecule" / name / "molecule.yml").get("verifier", {})
    patterns = ["test_*.py", *verifier["additional_files_or_dirs"]]
    folder = root / "molecule" / name / verifier["directory"]
    return [
        path
        for pattern in patterns
        for path in glob(pattern.replace("${MOLECULE_SCENARIO_NAME}", name), root_dir=folder)
    ]


def test_scenarios_run_the_whole_sequence(root: Path) -> None:
    shared = load(root / ".config/molecule/config.yml")
    steps = [step for step in shared["scenario"]["test_sequence"] if step not in ("dependency", "destroy")]
    assert steps == ["create", "prepare", "check", "converge", "verify"]
    assert shared["scenario"]["test_sequence"][-1] == "destroy"
    assert shared["verifier"]["name"] == "testinfra"
    for name in ("default", "cluster", "external_services"):
        text = (root / "molecule" / name / "molecule.yml").read_text()
        assert "test_sequence" not in text, "a scenario with a sequence of its own"
        assert "SYS_RESOURCE" not in re.sub(r"#.*", "", text)
        own = yaml.safe_load(text)
        assert not any(platform.get("privileged") for platform in own["platforms"])
        # Stands for the steps `idempotence` and a second `check`.
        assert "test_playbook.py" in {Path(path).name for path in verified(root, name)}, name


def test_json_files_can_be_read(files: dict[str, str]) -> None:
    for name, text in files.items():
        if name.endswith(".json"):
            json.loads(text)
