# SPDX-License-Identifier: MIT
"""Filter xml_problem: what is wrong with an XML text."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree


def xml_problem(text: str, root: str) -> str:
    """Say what is wrong, without any of the text; nothing is wrong with an empty one."""
    if not text:
        return ""
    try:
        found = ElementTree.fromstring(text).tag
    except ElementTree.ParseError as error:
        line, column = error.position
        return f"is no XML: {str(error).partition(':')[0]} in line {line}, column {column + 1}"
    return "" if found == root else f"must be <{root}>...</{root}>, and is <{found}>"


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"xml_problem": xml_problem}
