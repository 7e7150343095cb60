# SPDX-License-Identifier: MIT
"""Jinja is for values: a long expression gets names for its parts, or becomes a filter with a unit test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import nodes

LONGEST_EXPRESSION = 120
ROLES = sorted(path.name for path in (Path(__file__).parents[2] / "roles").iterdir())
TESTS = {"match", "search", "regex"}
FILTERS = {"regex_search", "regex_findall", "regex_replace"}
# Ansible gives what these make in another order each time: messages, lists of hosts and files would differ by run.
UNORDERED = {"difference", "intersect", "symmetric_difference", "union"}
# Their first arguments name what they apply: map('regex_search', ...), selectattr('value', 'match', ...).
APPLY = {"map": 0, "select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}


class Plain(yaml.SafeLoader):
    """YAML with tags of Ansible, which make no difference here."""


Plain.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))


def long_expressions(text: str) -> list[str]:
    """Give the expressions of a text that are too long on one line."""
    found = (" ".join(each.split()) for each in re.findall(r"\{\{.*?\}\}", text, flags=re.DOTALL))
    return [each for each in found if len(each) > LONGEST_EXPRESSION]


@pytest.mark.parametrize("role", ROLES)
def test_expressions_are_short(root: Path, role: str) -> None:
    paths = sorted((root / "roles" / role).rglob("*.yml"))
    assert paths
    found = {path.relative_to(root).as_posix(): long_expressions(path.read_text()) for path in paths}
    assert {path: expressions for path, expressions in found.items() if expressions} == {}


def test_a_long_expression_is_found_over_several_lines() -> None:
    name = "n" * (LONGEST_EXPRESSION - len("{{  }}"))
    assert long_expressions(f"a: >-\n  {{{{ {name}\n  }}}}\nb: '{{{{ c }}}} {{{{ d }}}}'\n") == []
    assert long_expressions(f"a: >-\n  {{{{ n{name}\n  }}}}\n") == [f"{{{{ n{name} }}}}"]


def parsed(text: str) -> nodes.Template | None:
    """Parse a template. A text without braces may be a condition, or no expression at all."""
    try:
        return jinja2.Environment(extensions=["jinja2.ext.do"]).parse(text if "{" in text else f"{{{{ {text} }}}}")
    except jinja2.TemplateSyntaxError:
        return None


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Give every text with the nearest key above it."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, name)


def regexes(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Give what is read as a regular expression."""
    for node in tree.find_all((nodes.Test, nodes.Filter)):
        assert isinstance(node, (nodes.Test, nodes.Filter))
        name, given = node.name, list(node.args or [])
        place = APPLY.get(name, len(given)) if isinstance(node, nodes.Filter) else len(given)
        if place < len(given):
            applied = given[place]
            name, given = applied.value if isinstance(applied, nodes.Const) else "", given[place + 1 :]
        if name.removeprefix("ansible.builtin.") in TESTS | FILTERS:
            yield from given[:1]


def is_safe(node: nodes.Node) -> bool:
    """Whether no variable can change the meaning: it is escaped, or named as a pattern, which is looked at itself."""
    if isinstance(node, nodes.Name):
        return node.name.endswith("_pattern")
    if isinstance(node, nodes.Filter) and node.name == "map":
        return node.args[0] == nodes.Const("regex_escape")
    if isinstance(node, nodes.Filter) and node.name == "join" and node.node:
        return is_safe(node.node)
    if isinstance(node, nodes.Concat):
        return all(is_safe(part) for part in node.nodes)
    return isinstance(node, nodes.Const) or (isinstance(node, nodes.Filter) and node.name == "regex_escape")


def unescaped(value: Any) -> list[str]:
    """Give the texts in which a variable stands in a regular expression as it is."""
    found = list(texts(value))
    trees = [(name, text, tree) for name, text in found if "{" in text or " is " in text if (tree := parsed(text))]
    given = [regex for _, _, tree in trees for regex in regexes(tree)]
    names = [each for regex in given for each in (regex, *regex.find_all(nodes.Name))]
    used = {each.name for each in names if isinstance(each, nodes.Name)}
    wrong = [text for _, text, tree in trees if not all(map(is_safe, regexes(tree)))]
    patterns = [(text, tree) for name, text, tree in trees if name in used and name.endswith("_pattern")]
    return wrong + [
        text
        for text, tree in patterns
        for output in tree.find_all(nodes.Output)
        if not all(isinstance(part, nodes.TemplateData) or is_safe(part) for part in output.nodes)
    ]


def documents(root: Path) -> list[Any]:
    """Give what roles and playbooks say to Ansible, and the texts of the templates."""
    paths = [path for part in ("roles", "playbooks") for path in sorted((root / part).rglob("*.yml"))]
    templates = [path.read_text() for path in sorted((root / "roles").glob("*/templates/**/*.j2"))]
    every = [yaml.load(path.read_text(), Loader=Plain) for path in paths if "/files/" not in path.as_posix()]
    assert len(every) > 100
    return [*every, templates]


def test_variables_in_regular_expressions_are_escaped(root: Path) -> None:
    """A folder such as /opt/trigger+prod is no pattern that fits itself."""
    assert unescaped(documents(root)) == []


def unordered(value: Any) -> list[str]:
    """Give the texts with a filter that keeps no order."""
    trees = [
        (text, tree) for _, text in texts(value) if any(name in text for name in UNORDERED) if (tree := parsed(text))
    ]
    filters = [(text, node.name) for text, tree in trees for node in tree.find_all(nodes.Filter)]
    return [text for text, name in filters if name.removeprefix("ansible.builtin.") in UNORDERED]


def test_results_have_an_order(root: Path) -> None:
    """Use select('in', ...), reject('in', ...) and unique, which keep that of what they get."""
    assert unordered(documents(root)) == []


@pytest.mark.parametrize("text", ["a | difference(b) | length > 0", "{{ a | ansible.builtin.union(b) | join(', ') }}"])
def test_a_filter_without_order_is_found(text: str) -> None:
    assert unordered({"when": [text]}) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "a is match(folder ~ '/')",
        "{{ a is not search('^' ~ folder) }}",
        "{{ a | select('match', folder) | list }}",
        "{{ a | rejectattr('value', 'search', folder ~ '$') | list }}",
        "{{ a | regex_replace('^' ~ folder) }}",
        "{{ a | map('ansible.builtin.regex_search', folder) | list }}",
        "{{ a is match(b_pattern ~ folder) }}",
    ],
)
def test_a_variable_as_it_is_gets_found(text: str) -> None:
    assert unescaped({"name": text}) == [text]


def test_a_pattern_is_looked_at_where_it_stands() -> None:
    use = {"when": "a is match(b_pattern)"}
    assert unescaped([use, {"b_pattern": "^{{ folder }}$"}]) == ["^{{ folder }}$"]
    assert unescaped([use, {"b_pattern": "^{{ folder | regex_escape }}$"}, {"c_pattern": "{{ folder }}"}]) == []
    assert unescaped([use, {"b_pattern": "{{ folders | map('regex_escape') | join('|') }}"}]) == []
    assert unescaped({"when": "a is match(folder | regex_escape ~ '/')"}) == []
