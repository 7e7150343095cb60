# SPDX-License-Identifier: MIT
"""The table of images against the folders that it describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from doubles import rules

IMAGES = Path(rules.__file__).parents[1]
TABLE: list[dict[str, Any]] = yaml.safe_load((IMAGES / "images.yml").read_text())["images"]
ROLES = ("webapp", "registry", "gateway", "supervisor", "monitoring")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row["key"]))
def test_what_an_image_copies_exists_in_its_context(row: dict[str, Any]) -> None:
    folder = IMAGES / "doubles" / row["key"] if row.get("double") else IMAGES / row["key"]
    text = (folder / "Dockerfile").read_text()
    context = IMAGES if row.get("double") else folder
    assert "FROM ${BASE}" in text
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in line.split():
            if source.startswith(".wheels/"):
                assert row["wheels"]
            else:
                assert (context / source).exists(), source


def test_every_dockerfile_has_a_row() -> None:
    assert {row["key"] for row in TABLE} == {path.parent.name for path in IMAGES.rglob("Dockerfile")}


def repository(reference: str) -> str:
    """Give an image without its registry and tag."""
    return reference.rsplit(":", 1)[0].split("/", 1)[1]


def test_an_archive_has_the_images_that_a_role_deploys_or_one_other() -> None:
    archives: dict[str, set[str]] = {}
    for row in TABLE:
        if "archive" in row:
            archives.setdefault(row["archive"], set()).add(repository(row["reference"]))
    # What a role deploys only if it is asked to has an archive of its own.
    alone = set().union(*(images for images in archives.values() if len(images) == 1))
    of_roles = {f"{role}.tar" for role in ROLES}
    assert [name for name, images in archives.items() if len(images) > 1 and name not in of_roles] == []
    for role in ROLES:
        settings = yaml.safe_load((IMAGES.parents[1] / f"roles/{role}/meta/settings.yml").read_text())["settings"]
        images = {repository(row["default"]) for name, row in settings.items() if name.endswith("_image")}
        assert archives[f"{role}.tar"] <= images, role
        assert images - archives[f"{role}.tar"] <= alone, role


def test_doubles_share_their_first_layer() -> None:
    """An equal first instruction is built and shipped once."""
    first = {
        re.findall(r"FROM \$\{BASE\}(?: AS \w+)?\n(RUN .*?)\n(?=[A-Z\n])", (folder / "Dockerfile").read_text(), re.S)[0]
        for folder in (IMAGES / "clickhouse", *(path.parent for path in IMAGES.glob("doubles/*/Dockerfile")))
    }
    assert len(first) == 1


@pytest.mark.parametrize("tool", ["wget", "curl"])
def test_the_webapp_has_neither_wget_nor_curl(tool: str) -> None:
    packages = re.findall(r"apt-get install.*?&&", (IMAGES / "doubles/webapp/Dockerfile").read_text(), re.S)
    assert packages
    assert not any(re.search(rf"\b({tool}|busybox)\b", text) for text in packages)
