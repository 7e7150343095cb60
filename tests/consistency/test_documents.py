# SPDX-License-Identifier: MIT
"""README and the pages that lead on from it: short, plain, and true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.filter.check_table import check_table
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import KEYS, problems

from testbed import cluster, lab
from testbed.common import ROOT
from tools.settings import defaults, specs
from tools.tables import by_name

PLAIN_ROLES = (
    "docker_engine",
    "gateway",
    "registry",
    "registry_client",
    "runner_firewall",
    "task_images",
    "trigger",
    "webapp",
    "worker",
    "worker_group",
)
# Pages that newcomers read first. What is generated is not prose.
FIRST_PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))),
    *(f"roles/{name}/README.md" for name in PLAIN_ROLES),
)
LONGEST_SENTENCE = 25


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


def blocks(text: str, language: str = "") -> list[str]:
    """Give the code blocks of a language; those in lists without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def sentences(text: str) -> list[str]:
    """Give the sentences outside of code blocks, tables and comments."""
    prose = re.sub(r"^ *```.*?^ *```$|^ *\|.*?$|<!--.*?-->", "\n", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", prose)
    parts = re.split(r"\n\s*\n|^ *(?:[*#]+|\d+\.) ", prose, flags=re.MULTILINE)
    return [each for part in parts for each in re.split(r"(?<=[.:!?])\s+", part) if each.strip()]


def test_readme_is_a_landing_page(readme: str) -> None:
    assert len(readme.splitlines()) <= 150


def test_the_inventory_in_readme_is_the_example_inventory(readme: str, root: Path) -> None:
    hosts, settings = (yaml.safe_load(block) for block in blocks(readme, "yaml"))
    folder = root / "inventories/prod"
    assert hosts == yaml.safe_load((folder / "hosts.yml").read_text())
    assert settings == yaml.safe_load((folder / "group_vars/all.yml").read_text())


def test_readme_names_what_is_tested(readme: str, root: Path) -> None:
    for path in (root / "roles/trigger/vars/main/versions").glob("[0-9]*.yml"):
        (series,) = yaml.safe_load(path.read_text()).values()
        assert re.search(rf"\b{re.escape(series['tested'] or series['name'])}\b", readme), path.name
    core = re.search(r"^ansible-core==(\d+\.\d+)\.", (root / "requirements.txt").read_text(), re.MULTILINE)
    assert core
    assert f"ansible-core {core[1]}, " in readme
    # What continuous integration runs.
    assert "`make test`" in readme


def test_the_table_of_the_lab_is_what_it_prints(
    readme: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sample,) = [block for block in blocks(readme) if "hello run" in block]
    instances = re.findall(r"instance +(\w+) +heartbeat (\d+) s ago", sample)
    ended = re.search(r"hello run +(\w+) +COMPLETED on (\w+) in ([\d.]+) s", sample)
    assert ended
    monkeypatch.setattr(
        cluster.Cluster, "instances", lambda _self: [cluster.Instance(name, float(age)) for name, age in instances]
    )
    lab.table(cluster.Run(ended[1], "COMPLETED", float(ended[3]), {}, lambda: ended[2]))
    assert capsys.readouterr().out.strip("\n") == sample.strip("\n")


def test_the_table_of_checks_is_in_the_form_that_is_printed(readme: str) -> None:
    (sample,) = [block for block in blocks(readme) if block.startswith("host ")]
    found: dict[str, list[dict[str, object]]] = {}
    for line in sample.splitlines()[1:]:
        host, what, ok, detail = re.split(r" {2,}", line)
        found.setdefault(host, []).append({"what": what, "ok": ok == "yes", "detail": detail})
    assert len(found) > 1
    assert check_table(found)["lines"] == sample.splitlines()


@pytest.mark.parametrize("page", FIRST_PAGES)
def test_sentences_are_short(root: Path, page: str) -> None:
    # Behind that heading of a role's README stands what is generated.
    found = sentences((root / page).read_text().split("## Settings\n")[0])
    assert found
    assert [each for each in found if len(each.split()) > LONGEST_SENTENCE] == []


def test_sentences_are_told_apart() -> None:
    text = "# Head\n\nOne. Two\nof [them](x.md).\n\n* Three: four\n\n```\nno prose.\n```\n\n| a | b. c |\n"
    assert [" ".join(each.split()) for each in sentences(text)] == ["Head", "One.", "Two of them.", "Three:", "four"]


def anchors(text: str) -> set[str]:
    """Give the anchors of a page, made as GitHub makes them of headings."""
    heads = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()) for head in heads]
    return {head.replace(" ", "-") for head in plain}


def test_links_lead_to_headings_that_exist(root: Path, files: dict[str, str]) -> None:
    seen = 0
    for name, text in files.items():
        if name.endswith(".md"):
            for path, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", text):
                seen += 1
                page = (root / name).parent / path if path else root / name
                assert anchor in anchors(page.read_text()), f"{name}: {path}#{anchor}"
    assert seen > 10


def test_documents_call_playbooks_that_exist(root: Path, files: dict[str, str]) -> None:
    seen = 0
    for name, text in files.items():
        if name.endswith(".md"):
            for path in re.findall(r"ansible-playbook ((?:playbooks/)?\w+\.yml)", text):
                seen += 1
                assert (root / path).is_file(), f"{name}: {path}"
            for playbook in re.findall(r"ansible-playbook selfhosted\.trigger_dev\.([a-z_]+)", text):
                seen += 1
                assert (root / f"playbooks/{playbook}.yml").is_file(), f"{name}: {playbook}"
    assert seen > 10


def test_every_page_is_reached_from_readme(root: Path, readme: str) -> None:
    pages = [path.relative_to(root).as_posix() for path in (root / "docs").glob("*.md")]
    assert len(pages) > 5
    assert [page for page in pages if f"]({page})" not in readme] == []


def test_every_role_with_settings_is_reached_from_readme(root: Path, readme: str) -> None:
    documents = {
        path.parents[1].name: yaml.safe_load(path.read_text()) for path in root.glob("roles/*/meta/settings.yml")
    }
    public = [name for name, document in documents.items() if not document.get("internal")]
    assert len(public) > 5
    assert [name for name in public if f"[{name}](roles/{name})" not in readme] == []


def test_every_playbook_that_is_called_by_name_is_explained(root: Path) -> None:
    text = (root / "docs/operations.md").read_text()
    # What others import says no command in its first lines.
    called = [
        path.stem
        for path in (root / "playbooks").glob("*.yml")
        if f"ansible-playbook playbooks/{path.name}" in path.read_text()
    ]
    assert len(called) > 5
    assert [name for name in called if f"`{name}`" not in text] == []


def test_the_example_of_a_setting_can_be_followed(root: Path) -> None:
    row, variable, _fragment = (
        yaml.safe_load(block) for block in blocks((root / "CONTRIBUTING.md").read_text(), "yaml")
    )
    ((name, setting),) = row.items()
    assert set(setting) <= KEYS
    assert list(problems(name, setting["default"], setting)) == []
    document = {"entry_points": {"main": {"short_description": "Do it"}}, "settings": row}
    assert f"{name}: {setting['default']}\n" in defaults(document)
    assert f"{name}:\n" in specs(document)
    ((upstream, value),) = variable.items()
    assert value == f"{{{{ {name} }}}}"
    assert f"| `{upstream}` | `{name}` |" in by_name({"webapp": document}, supervisor=False)


def test_contributing_names_files_that_exist(root: Path) -> None:
    text = (root / "CONTRIBUTING.md").read_text()
    words = re.findall(r"`([\w.-]+/[\w./-]*)`", text)
    assert len(words) > 20
    # The environment of the tests is made by the first command.
    assert [word for word in words if not word.startswith(".cache/") and not (root / word).exists()] == []


def test_the_cli_of_the_documents_is_that_of_the_example_inventory(root: Path, files: dict[str, str]) -> None:
    version = yaml.safe_load((root / "inventories/prod/group_vars/all.yml").read_text())["trigger_version"]
    pages = [text for name, text in files.items() if name.startswith("docs/")]
    found = {release for text in pages for release in re.findall(r"npx trigger\.dev@([0-9.]+)", text)}
    assert found == {version.removeprefix("v")}
