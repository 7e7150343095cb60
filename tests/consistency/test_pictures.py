# SPDX-License-Identifier: MIT
"""Pictures in documents show the page of today, are small, and can be read to those who do not see them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.pictures import CASES, FOLDER, THEMES, digest, pages, picture, shown

MOST_KIB = 150
# Of a tag of HTML and of a picture in Markdown: text for those who do not see it, and address.
TAG = re.compile(r"<(?:img|source)\b[^>]*>")
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
MARKDOWN = re.compile(r"!\[([^]]*)\]\(([^)#\s]+)\)")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("case", CASES)
def test_a_picture_shows_the_page_of_today(root: Path, case: str, theme: str) -> None:
    content = (root / picture(case, theme)).read_bytes()
    assert len(content) <= MOST_KIB * 1024
    assert shown(content) == digest(pages()[case]), "make pictures"


def pictures(text: str) -> list[tuple[str, str | None]]:
    """Give the address of each picture of a document with its text; that of another theme has the text of its image."""
    tags = [dict(ATTRIBUTE.findall(tag)) for tag in TAG.findall(text)]
    found: list[tuple[str, str | None]] = [(tag["srcset"], None) for tag in tags if "srcset" in tag]
    found += [(tag["src"], tag.get("alt", "")) for tag in tags if "src" in tag]
    return found + [(address, alt) for alt, address in MARKDOWN.findall(text)]


def test_documents_name_pictures_that_are_there_and_say_what_they_show(root: Path, files: dict[str, str]) -> None:
    named = set()
    for name, text in files.items():
        for address, alt in pictures(text) if name.endswith(".md") else ():
            assert alt != "", f"{name}: {address} has no text"
            if not address.startswith("https://"):
                target = (root / name).parent / address
                assert target.is_file(), f"{name}: {address}"
                named.add(target.resolve().relative_to(root.resolve()))
    kept = {path.relative_to(root) for path in (root / FOLDER).iterdir()}
    assert kept == {path for path in named if path.parent == FOLDER} == {picture(*each) for each in each_picture()}


def each_picture() -> list[tuple[str, str]]:
    return [(case, theme) for case in CASES for theme in THEMES]
