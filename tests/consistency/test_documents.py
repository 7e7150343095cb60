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

# Pages that newcomers read first. What is generated is not prose.
FIRST_PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))),
    *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("roles/*/README.md"))),
    "testbed/README.md",
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


def comments(text: str) -> list[str]:
    """Give the sentences of comments in YAML: not commands, and not settings that are commented out."""
    lines = [re.sub(r"^ *# ?", "", line) if re.match(r" *#", line) else "" for line in text.splitlines()]
    prose = "\n".join("" if re.match(r" +\S|[\w-]+:(?: \S+|$)", line) else line for line in lines)
    parts = re.split(r"\n\s*\n", prose)
    return [each for part in parts for each in re.split(r"(?<=[.:!?])\s+", part) if each.strip()]


@pytest.mark.parametrize("folder", ["playbooks", "inventories"])
def test_sentences_of_comments_for_operators_are_short(root: Path, folder: str) -> None:
    found = {path.relative_to(root): comments(path.read_text()) for path in (root / folder).rglob("*.yml")}
    assert sum(map(len, found.values())) > 10
    long = {path: [each for each in said if len(each.split()) > LONGEST_SENTENCE] for path, said in found.items()}
    assert {path: each for path, each in long.items() if each} == {}


def test_comments_are_told_apart() -> None:
    text = "# One. Two\n# of them:\n#   ansible-playbook x.yml\n---\n# setting: value\n- name: Three # four\n"
    assert [" ".join(each.split()) for each in comments(text)] == ["One.", "Two of them:"]


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


def test_the_page_of_words_names_every_service(root: Path) -> None:
    """And nothing else: operators meet these names in `docker ps` and in the table of `status`."""
    services = yaml.safe_load((root / "roles/webapp/vars/main/services.yml").read_text())["__webapp_services"]
    others = {"trigger-registry": "registry", "gateway": "gateway"}
    others |= dict.fromkeys(("supervisor", "docker-socket-proxy"), "supervisor")
    for name, role in others.items():
        texts = [path.read_text() for path in (root / f"roles/{role}/vars/main").glob("*.yml")]
        assert re.search(rf"^ +{name}:", "\n".join(texts), re.MULTILINE), name
    _, text = (root / "docs/concepts.md").read_text().split("## Services\n")
    rows = re.findall(r"^\| (`.+?) \|", text.split("\n## ")[0], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == {*services, *others}


def test_words_are_explained_in_the_order_of_the_alphabet(root: Path) -> None:
    _, text = (root / "docs/concepts.md").read_text().split("## Words\n")
    words = re.findall(r"^\| ([\w, -]+) \|", text, re.MULTILINE)
    assert len(words) > 10
    assert words == ["word", *sorted(words[1:], key=str.lower)]


def test_the_example_of_a_setting_can_be_followed(root: Path) -> None:
    """What follows from it, test_settings.py::test_one_row_adds_a_setting tries."""
    row, _secret, _fragment = (
        yaml.safe_load(block) for block in blocks((root / "CONTRIBUTING.md").read_text(), "yaml")
    )
    ((name, setting),) = row.items()
    assert set(setting) <= KEYS
    assert list(problems(name, setting["default"], setting)) == []


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


def test_paths_that_the_gateway_answers_itself_are_explained(root: Path) -> None:
    """A client that calls them does not reach the webapp."""
    values = [yaml.safe_load(path.read_text()) for path in root.glob("roles/trigger/vars/main/*.yml")]
    names = {name: value for each in values for name, value in (each or {}).items()}
    template = (root / "roles/gateway/templates/Caddyfile.j2").read_text()
    found = re.findall(r"^\t(?:handle|@status path) (?:(/\S+)|\{\{ (\w+) \}\})", template, re.MULTILINE)
    written = {path or names[name] for path, name in found}
    assert len(written) == 3
    page = (root / "docs/tls.md").read_text()
    assert {path for path in written if f"| `{path}` |" not in page} == set()


def test_ports_of_the_control_host_are_explained(root: Path) -> None:
    """Those that a service of this collection publishes, by any settings."""
    rows = [yaml.safe_load(path.read_text())["settings"] for path in sorted(root.glob("roles/*/meta/settings.yml"))]
    ports = {name: row["default"] for each in rows for name, row in each.items() if name.endswith("_port")}
    text = "".join((root / page).read_text() for page in ("docs/installation.md", "docs/security.md"))
    assert len(ports) > 12
    assert {name for name, port in ports.items() if not re.search(rf"\b{port}\b", text)} == {
        # Of services outside, or inside networks of the engine.
        "monitoring_smtp_port",
        "supervisor_metrics_port",
        "webapp_alert_smtp_port",
        "webapp_redis_port",
        "webapp_smtp_port",
    }


def test_an_engine_that_is_held_back_is_held_with_its_compose(root: Path) -> None:
    """Another version of Compose would recreate every container at the next deployment."""
    packages = yaml.safe_load((root / "roles/docker_engine/vars/main/main.yml").read_text())["__docker_engine_packages"]
    text = (root / "docs/scaling.md").read_text()
    held = [line.split() for line in re.findall(r"`apt-mark hold ([^`]+)`", text)]
    own, distribution = (next(words for words in held if name in words) for name in ("docker-ce", "docker.io"))
    assert set(own) == set(packages["docker"])
    assert {name for name in packages["distribution"] if "docker" in name} - {"docker-cli"} <= set(distribution)
