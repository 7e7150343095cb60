# SPDX-License-Identifier: MIT
"""What a double refuses of one variable, the role's schema refuses before anything is deployed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.environment_problems import parse_schema, requirement
from doubles import rules

from tests.schemas import SCHEMAS

ROOT = Path(__file__).parents[3]
# One of these breaks each kind of rule.
WRONG = (
    "",
    "nonsense",
    "1.5",
    "0",
    "-1",
    "999999999",
    "(",
    "http://host:port",
    "s3.example.com",
    "S3",
    "60",
    "postgresql://u:p@db/main?schema=",
    "http://ch:8123?secure=true",
)
# Refused for what it means, not for its form: roles/webapp/vars/main/rules.yml looks at these.
BY_VALUE = ("none_of", "absent", "required", "required_non_empty")
# Which options there are depends on Node's release.
FREE = ("NODE_OPTIONS",)


# The doubles follow programs that were measured.
@pytest.mark.parametrize("line", ["4.2", "4.5"])
@pytest.mark.parametrize("program", ["webapp", "supervisor"])
def test_the_schema_is_as_strict_as_the_double(program: str, line: str) -> None:
    schema = parse_schema(SCHEMAS[line])[program]
    table = rules.load(ROOT / f"testbed/images/doubles/{program}/rules.yml", line)
    for rule in table:
        if rule.effect != "exit" or rule.kind in BY_VALUE:
            continue
        for name in (name for name in rule.variables if name not in FREE):
            refused = [value for value in WRONG if rules.check(rule, name, {name: value})]
            assert refused, f"{name}: no value breaks {rule.kind}"
            # An empty value of a role's is left out of the environment.
            passed = [value for value in refused if value and not requirement(schema[name], value)]
            assert not passed, f"{name}: the schema passes {passed}, {rule.fact}"
