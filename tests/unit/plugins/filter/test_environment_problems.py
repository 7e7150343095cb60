# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.environment_problems import (
    TYPES,
    FilterModule,
    environment_problems,
    parse_schema,
    requirement,
    sources,
)

SCHEMAS = sorted((Path(__file__).parents[4] / "roles/webapp/files/schema").glob("*.tsv"))
SCHEMA = """# comment
service	name	type
webapp	SMTP_PORT	port
webapp	SMTP_HOST	text
webapp	ENCRYPTION_KEY	32 bytes
webapp	RUN_OPS_*	text
supervisor	DEBUG	boolean
"""
DEFINITIONS = """---
__webapp_mail: "{{ webapp_smtp_port | int }}"
__webapp_environments:
  webapp:
    SMTP_PORT: "{{ __webapp_mail }}"
    SMTP_HOST: "{{ webapp_smtp_host | default(trigger_origin | selfhosted.trigger_dev.url, true) }}"
    ENCRYPTION_KEY: "{{ __trigger_secret_values.encryption_key }}"
    FIXED: constant
    SMTP_PASSWORD: "{{ __webapp_passwords.smtp }}"
    REDIS: "{{ __webapp_passwords['redis'] }}"
"""
PASSWORDS = """---
__webapp_passwords:
  smtp: "{{ webapp_smtp_password }}"
  redis: "{{ webapp_redis_password }}"
"""

GOOD: dict[str, list[object]] = {
    "any": ["", "x"],
    "text": ["x"],
    "integer": ["0", "-1", 7],
    "positive integer": ["1", 250],
    "number": ["0.5", "-1", "3.", 2.5],
    "share": ["0", "1", "0.3"],
    "port": ["1", 65535],
    "boolean": ["true", "FALSE", "1", "0"],
    "path": ["/home/node/shared"],
    "url": ["tcp://docker-socket-proxy:2375", "https://a.example.com/x?y=z"],
    "origin": ["http://localhost:8030", "https://trigger.example.com"],
    "postgres url": ["postgresql://u:p%40ss@db:5432/main?schema=public", "postgres://u@db.example.com/main"],
    "migration url": ["http://u:p@ch:8123?secure=false", "https://ch:8443", "https://ch:8443/?secure=true"],
    "client url": ["http://u:p@ch:8123", "https://ch:8443"],
    "registry": ["control.example.com:5000", "ghcr.io"],
    "repository": ["trigger", "team/trigger"],
    "host:port": ["trigger-postgres:5432"],
    "regular expression": ["", "^me@example\\.com$", "(?<name>a)(?<!b)"],
    "pairs": ["A=b", "A=b,C="],
    "32 bytes": ["0" * 32],
}
BAD = {
    "text": [""],
    "integer": ["", "1.5", "abc", "'25'"],
    "positive integer": ["0", "-1", "1.5"],
    "number": ["", "abc", "1e", "."],
    "share": ["1.1", "-0.1", "x"],
    "port": ["0", "65536", "http", ""],
    "boolean": ["yes", "on", ""],
    "path": ["shared", ""],
    "url": ["example.com", "http://", "http://a b", "http://host:port"],
    "origin": ["http://host/path", "ftp://host", "host:1", "https://host/"],
    "postgres url": [
        "postgresql://u:p/w@db/main",
        "postgresql://u:p@db@x/main",
        "mysql://u:p@db/main",
        "postgresql://u:p@db",
        "postgresql://u:p@db/main?schema=",
    ],
    "migration url": ["http://ch:8123", "https://ch?secure=false", "tcp://ch:9000", "http://ch?secure=true"],
    "client url": ["http://ch:8123?secure=false", "ch:8123"],
    "registry": ["http://host:5000", "host:5000/x", ""],
    "repository": ["Team/Trigger", ""],
    "host:port": ["host", "host:port"],
    "regular expression": ["(", "[a-"],
    "pairs": ["A", "A=b=c", "=b"],
    "32 bytes": ["0" * 64, "é" * 32, ""],
}


def problems(environment: dict[str, Any], extra: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    added = {"webapp": extra} if extra else None
    return environment_problems({"webapp": environment}, SCHEMA, added, "webapp_extra_env.{service}", [DEFINITIONS])


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in GOOD.items() for value in values])
def test_a_good_value_passes(kind: str, value: object) -> None:
    assert requirement(kind, value) == ""


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in BAD.items() for value in values])
def test_a_bad_value_does_not(kind: str, value: object) -> None:
    assert requirement(kind, value) == TYPES[kind][0]


def test_every_type_is_tried() -> None:
    assert set(GOOD) == set(TYPES)
    assert set(BAD) == set(TYPES) - {"any"}


def test_a_choice_is_a_word_in_exactly_its_spelling() -> None:
    assert requirement("true|false", "true") == ""
    assert "true, false" in requirement("true|false", "True")
    assert requirement("0|1", 1) == ""
    assert requirement("0|1", "true")


def test_what_fits_is_no_problem() -> None:
    assert problems({"SMTP_PORT": 25, "SMTP_HOST": "mail", "FIXED": "x"}) == []


@pytest.mark.parametrize("value", [None, ""])
def test_what_is_left_out_is_no_problem(value: str | None) -> None:
    assert problems({"SMTP_PORT": value}) == []


def test_the_message_names_the_variables_that_the_value_is_made_of() -> None:
    (port,) = problems({"SMTP_PORT": "abc"})
    assert port["message"] == "SMTP_PORT of webapp must be a port, 1 to 65535. Set webapp_smtp_port."
    assert (port["kind"], port["variables"]) == ("error", ["webapp_smtp_port"])
    (key,) = problems({"ENCRYPTION_KEY": "short"})
    assert key["variables"] == ["trigger_secrets.encryption_key"]


def test_values_stand_in_no_problem() -> None:
    found = problems({"ENCRYPTION_KEY": "hunter2"}, {"SMTP_PORT": "hunter2", "SMTP_HOTS": "hunter2", "SMTP_HOST": ""})
    assert len(found) == 4
    assert "hunter2" not in str(found)


def test_what_the_role_sets_is_not_for_extra_environment() -> None:
    (known,) = problems({"SMTP_PORT": None}, {"SMTP_PORT": "25"})
    assert known["kind"] == "error"
    assert known["message"].startswith("webapp_extra_env.webapp.SMTP_PORT: ")
    assert known["message"].endswith("Set webapp_smtp_port.")
    (fixed,) = problems({"FIXED": "x"}, {"FIXED": "y"})
    assert "decided by this role" in fixed["message"]


def test_extra_environment_is_checked_as_well() -> None:
    (port,) = problems({}, {"SMTP_PORT": "abc"})
    assert port["message"].endswith("Set webapp_extra_env.webapp.SMTP_PORT.")
    (empty,) = problems({}, {"SMTP_HOST": ""})
    assert empty["kind"] == "error"


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    (typo,) = problems({}, {"SMTP_PROT": "25"})
    assert (typo["kind"], typo["nearest"]) == ("unknown", "SMTP_PORT")
    assert typo["message"].endswith("did you mean SMTP_PORT?")
    (far,) = problems({}, {"ENTIRELY_DIFFERENT": "25"})
    assert (far["kind"], far["nearest"]) == ("unknown", "")


def test_a_star_stands_for_anything() -> None:
    assert problems({}, {"RUN_OPS_URL": "x"}) == []
    assert problems({}, {"RUN_OPS_URL": ""})[0]["kind"] == "error"


def test_services_without_a_schema_are_asked_for_collisions_only() -> None:
    added = {"electric": {"A": "c", "X": "y"}}
    found = environment_problems({"electric": {"A": "b"}}, SCHEMA, added, "extra.{service}")
    assert [problem["name"] for problem in found] == ["A"]


def test_sources_are_found_through_what_is_defined_beside_them() -> None:
    assert sources([DEFINITIONS, PASSWORDS])["webapp"] == {
        "SMTP_PORT": ["webapp_smtp_port"],
        "SMTP_HOST": ["webapp_smtp_host", "trigger_origin"],
        "ENCRYPTION_KEY": ["trigger_secrets.encryption_key"],
        "FIXED": [],
        "SMTP_PASSWORD": ["webapp_smtp_password"],
        "REDIS": ["webapp_redis_password"],
    }


def test_definitions_that_go_in_circles_end() -> None:
    circle = [
        '__webapp_a: "{{ __webapp_b }} {{ webapp_x }}"',
        '__webapp_b: "{{ __webapp_a }}"',
        "e: {webapp: {A: __webapp_a}}",
    ]
    assert sources(circle)["webapp"]["A"] == ["webapp_x"]


@pytest.mark.parametrize("text", ["service\tname\ttype\nwebapp\tA", "service\tname\ttype\nwebapp\tA\tno such type"])
def test_a_broken_schema_is_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="cannot be read"):
        parse_schema(text)


@pytest.mark.parametrize(("environments", "extra"), [(["webapp"], None), ({}, ["webapp"])])
def test_anything_but_dictionaries_is_refused(environments: Any, extra: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="must be dictionaries"):
        environment_problems(environments, SCHEMA, extra)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_the_schemas_of_the_role_can_be_read(path: Path) -> None:
    schema = parse_schema(path.read_text())
    assert {"webapp", "supervisor"} <= set(schema)
    assert schema["webapp"]["ENCRYPTION_KEY"] == "32 bytes"


def test_a_newer_schema_knows_what_is_new_and_has_forgotten_what_is_gone() -> None:
    old, new = (parse_schema(path.read_text())["webapp"] for path in SCHEMAS)
    assert {"AUTH_GOOGLE_CLIENT_ID", "INTERNAL_API_ORIGIN", "OBJECT_STORE_BUCKET"} <= set(new) - set(old)
    assert {"PROVIDER_SECRET", "WORKER_CONCURRENCY"} <= set(old) - set(new)


def test_it_is_registered() -> None:
    assert FilterModule().filters() == {"environment_problems": environment_problems}
